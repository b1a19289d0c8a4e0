//! The life of a member of the group: it reads, commits, and now and then it stalls, leaves, crashes and comes back. When
//! the faults are over it stays until all is read.

use std::collections::BTreeSet;
use std::time::Duration;

use milena::{
    Consumer, ConsumerError, GroupError, LeaveMode, StartAt, SubscriptionPattern, TopicPartition,
};

use super::ledger::{Event, Ledger, Listener, Offsets, Who, commit};
use super::setting::{PATTERN, Setting, TOPICS};
use super::{CLOSES_IN_TIME, POLLS};
use crate::harness::Client;
use crate::history::now;

const MS: fn(u64) -> Duration = Duration::from_millis;
const CLOSE: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Member {
    client: Client,
    setting: Setting,
    ledger: Ledger,
    dice: fastrand::Rng,
    who: Who,
    /// When it does something odd.
    odd_at: Duration,
    /// Whether its subscription is the one for the end.
    settles: bool,
}

/// Why it is no member any more.
#[derive(Debug, Clone, Copy)]
enum End {
    Crashed,
    Closed,
    Fenced,
    Over,
}

impl Member {
    pub(super) fn new(client: Client, setting: Setting, ledger: Ledger, slot: usize) -> Self {
        let dice = fastrand::Rng::with_seed(client.seed ^ (0x6709 + slot as u64));
        let who = Who { slot, turn: 0 };
        Self { client, setting, ledger, dice, who, odd_at: Duration::ZERO, settles: false }
    }

    pub(super) async fn live(mut self) {
        let mut pause = MS(self.dice.u64(0..600));
        while !self.ledger.is_over() {
            tokio::time::sleep(pause).await;
            let end = self.turn().await;
            self.ledger.tell(self.who, Event::Ended(end.name()));
            self.ledger.show(self.who, None);
            self.who.turn += 1;
            let longest = if self.is_healed() { 200 } else { self.setting.calm };
            pause = MS(self.dice.u64(0..longest));
        }
    }

    fn is_healed(&self) -> bool {
        now() >= self.client.heals_at
    }

    async fn turn(&mut self) -> End {
        let config = self.setting.config(self.who.slot, self.who.to_string());
        let mut consumer = Consumer::builder(config)
            .connector(self.client.wire.connector())
            .seed(self.dice.u64(..))
            .build();
        self.settles = self.is_healed();
        self.subscribe(&mut consumer);
        self.plan_ahead();
        loop {
            if self.ledger.is_over() {
                self.close(consumer, LeaveMode::Default).await;
                return End::Over;
            }
            if self.is_healed() && !self.settles {
                self.settles = true;
                self.subscribe(&mut consumer);
                let paused = consumer.paused();
                consumer.resume(&paused).expect("all are assigned");
            }
            if !self.settles && now() >= self.odd_at {
                match self.odd(consumer).await {
                    Ok(goes_on) => consumer = goes_on,
                    Err(end) => return end,
                }
                self.plan_ahead();
            }
            if let Some(end) = self.step(&mut consumer).await {
                return end;
            }
        }
    }

    fn plan_ahead(&mut self) {
        self.odd_at = now() + MS(self.dice.u64(50..self.setting.calm * 2));
    }

    fn subscribe(&mut self, consumer: &mut Consumer) {
        let mut topics = BTreeSet::from(TOPICS);
        if !self.settles && self.setting.resubscribes {
            topics.retain(|_| self.dice.u8(0..3) > 0);
        }
        let takes = MS(if self.dice.u8(0..4) == 0 { self.dice.u64(0..300) } else { 0 });
        let commits = !self.setting.auto_commit && self.dice.u8(0..4) > 0;
        let (ledger, who) = (self.ledger.clone(), self.who);
        let listener = Listener { ledger, who, commits, takes };
        let subscribed = if self.setting.by_pattern {
            let pattern = SubscriptionPattern::new(PATTERN).expect("a pattern");
            consumer.subscribe_pattern(&pattern, listener)
        } else {
            consumer.subscribe_with(topics, listener)
        };
        subscribed.expect("a sound subscription");
    }

    /// What a member does all the time.
    async fn step(&mut self, consumer: &mut Consumer) -> Option<End> {
        let pause = MS(self.dice.u64(0..self.setting.longest_pause));
        match self.dice.u8(0..100) {
            0..10 if !self.settles => tokio::time::sleep(pause).await,
            10..25 if !self.setting.auto_commit => self.commit(consumer).await,
            25..27 if !self.settles => {
                // A poll that is given up.
                self.ledger.tell(self.who, Event::Done);
                let poll = tokio::time::timeout(pause / 2, consumer.poll(pause));
                if let Ok(polled) = poll.await {
                    return self.polled(consumer, polled);
                }
            }
            27..29 if !self.settles && self.setting.seeks => self.seek(consumer),
            29..31 if !self.settles => self.pause(consumer),
            31..34 => {
                let paused = consumer.paused();
                consumer.resume(&paused).expect("all are assigned");
            }
            _ => {
                self.ledger.tell(self.who, Event::Done);
                let polled = consumer.poll(pause).await;
                return self.polled(consumer, polled);
            }
        }
        None
    }

    fn polled(
        &mut self,
        consumer: &Consumer,
        polled: Result<milena::Records, ConsumerError>,
    ) -> Option<End> {
        let mut end = None;
        match polled {
            Ok(records) => {
                let handed: Vec<_> = records.iter().map(read).collect();
                if !handed.is_empty() {
                    self.ledger.tell(self.who, Event::Handed(handed));
                }
            }
            Err(error) => {
                self.client.history.journal.note(format_args!("{}: {error}", self.who));
                let fenced = matches!(
                    error,
                    ConsumerError::Group(
                        GroupError::FencedInstanceId { .. }
                            | GroupError::UnreleasedInstanceId { .. }
                    )
                );
                if fenced && self.setting.is_static {
                    // A predecessor's request came late, or its place is kept for it.
                    end = Some(End::Fenced);
                } else if !is_for_now(&error) {
                    self.client.history.broken(POLLS, error);
                }
            }
        }
        let at = |name: TopicPartition| (name.clone(), consumer.position(&name));
        let view: super::ledger::View = consumer.assignment().into_iter().map(at).collect();
        let known = view.iter().filter_map(|(name, at)| Some((name.clone(), (*at)?)));
        self.ledger.tell(self.who, Event::Positions(known.collect()));
        self.ledger.show(self.who, Some(view));
        end
    }

    async fn commit(&mut self, consumer: &Consumer) {
        self.ledger.tell(self.who, Event::Done);
        if self.dice.bool() || self.settles {
            return commit(&self.ledger, self.who, consumer).await;
        }
        let mut all = consumer.positions();
        if self.dice.bool() {
            all.retain(|_, _| self.dice.bool());
        }
        let offsets: Offsets = all.iter().map(|(name, at)| (name.clone(), at.offset)).collect();
        let (ledger, who, begun) = (self.ledger.clone(), self.who, self.ledger.count());
        consumer.commit_offsets_async(all, move |result| {
            let fate = ledger.fate(who, result);
            ledger.tell(who, Event::Committed { begun, offsets, fate });
        });
    }

    /// Goes back, at most to the beginning.
    fn seek(&mut self, consumer: &Consumer) {
        let positions: Vec<_> = consumer.positions().into_iter().collect();
        let Some((partition, at)) = self.dice.choice(&positions) else { return };
        let offset = self.dice.i64(0..=at.offset);
        let start = if offset == 0 { StartAt::Earliest } else { StartAt::Offset(offset) };
        consumer.seek(partition, start).expect("it is assigned");
        self.ledger.tell(self.who, Event::Sought(partition.clone(), offset));
    }

    fn pause(&mut self, consumer: &Consumer) {
        let mut some = consumer.assignment();
        some.retain(|_| self.dice.bool());
        consumer.pause(&some).expect("all are assigned");
    }

    /// What a member does now and then.
    async fn odd(&mut self, mut consumer: Consumer) -> Result<Consumer, End> {
        match self.dice.u8(0..10) {
            0..2 => return Err(End::Crashed),
            2..5 => {
                let modes = [LeaveMode::Default, LeaveMode::Leave, LeaveMode::Remain];
                let mode = *self.dice.choice(&modes).expect("modes");
                self.ledger.tell(self.who, Event::Done);
                self.close(consumer, mode).await;
                return Err(End::Closed);
            }
            5..7 => {
                let over = MS(self.dice.u64(0..1_500));
                self.client.history.journal.note(format_args!("{} stalls", self.who));
                tokio::time::sleep(self.setting.max_poll_interval + over).await;
                if over > MS(5) {
                    self.ledger.tell(self.who, Event::Stalled);
                }
            }
            7 => {
                self.ledger.tell(self.who, Event::Done);
                consumer.unsubscribe().await;
                tokio::time::sleep(MS(self.dice.u64(0..500))).await;
                self.subscribe(&mut consumer);
            }
            8 => consumer.enforce_rebalance("for a change"),
            _ => self.subscribe(&mut consumer),
        }
        Ok(consumer)
    }

    async fn close(&mut self, consumer: Consumer, mode: LeaveMode) {
        let began = now();
        let done = consumer.close_with(CLOSE, mode).await;
        let took = now() - began;
        let what = format!("{} is closed ({mode:?}) after {took:?}, all done: {done}", self.who);
        self.client.history.journal.note(&what);
        // The network counts in milliseconds.
        if took > CLOSE + MS(10) {
            self.client.history.broken(CLOSES_IN_TIME, what);
        }
    }
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Crashed => "crashes",
            Self::Closed => "closes",
            Self::Fenced => "is fenced",
            Self::Over => "is done",
        }
    }
}

/// Whether the next polls may succeed although nobody changes anything.
fn is_for_now(error: &ConsumerError) -> bool {
    match error {
        ConsumerError::Group(error) => error.is_retriable(),
        ConsumerError::Committed { cause, .. } => cause.is_retriable(),
        error => error.is_retriable(),
    }
}

fn read(record: milena::ConsumerRecord<'_>) -> (TopicPartition, i64, u64) {
    let value = record.value.and_then(|value| value.first_chunk::<8>());
    let value = u64::from_be_bytes(*value.expect("eight bytes"));
    (TopicPartition::new(record.topic, record.partition), record.offset, value)
}
