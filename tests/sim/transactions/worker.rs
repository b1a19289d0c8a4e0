//! The lives of a worker, one after the other with one transactional id. Each writes in transactions, records of its own or
//! copies of the input, until it dies, leaves, or is told to stop; or it only seems dead, and comes back as a zombie.

use std::collections::BTreeMap;
use std::time::Duration;

use milena::{
    Consumer, ErrorCode, OffsetAndMetadata, ProducerRecord, Records, StartAt, TopicPartition,
    Transaction, TransactionError, TransactionOutcome, TransactionalProducer,
};
use tokio::time::timeout;

use super::ledger::{Ledger, Told, Value};
use super::lifeline::Lifeline;
use super::setting::{INPUT, OUTPUT, Setting};
use super::{FATAL_ONLY_WHEN_FENCED, NOTHING_IS_STUCK};
use crate::harness::{Client, SimClock};
use crate::history::now;

const MS: fn(u64) -> Duration = Duration::from_millis;
const CLOSE: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Worker {
    client: Client,
    setting: Setting,
    ledger: Ledger,
    dice: fastrand::Rng,
    slot: usize,
    life: u32,
    /// Whether a request of its to take over may still arrive.
    may_be_late: bool,
    /// Whether a commit was asked for last.
    committing: bool,
}

/// One life.
struct Life {
    who: String,
    line: Lifeline,
    producer: TransactionalProducer,
    consumer: Option<Consumer>,
    /// Until when it is well.
    until: Duration,
}

/// What a transaction came to, for the life.
enum Next {
    Again,
    /// Back to what is committed.
    Rewind,
    End,
}

impl Worker {
    pub(super) fn new(client: Client, setting: Setting, ledger: Ledger, slot: usize) -> Self {
        let dice = fastrand::Rng::with_seed(client.seed ^ (0x7A_0000 + slot as u64));
        Self { client, setting, ledger, dice, slot, life: 0, may_be_late: false, committing: false }
    }

    /// Lives until it is told to stop, and then until a life has left in order: with that, what earlier ones left open is
    /// ended, too.
    pub(super) async fn live(mut self) {
        let mut in_order = false;
        while !(self.ledger.is_over() && in_order) {
            tokio::time::sleep(MS(self.dice.u64(0..100))).await;
            in_order = match self.begin().await {
                Some(life) => self.spend(life).await,
                None => false,
            };
            self.life += 1;
        }
        self.ledger.is_gone();
    }

    fn note(&self, what: impl std::fmt::Display) {
        self.client.history.journal.note(what);
    }

    fn is_healed(&self) -> bool {
        now() >= self.client.heals_at
    }

    async fn begin(&mut self) -> Option<Life> {
        let began = now();
        let who = format!("worker-{}.{}", self.slot, self.life);
        let line = Lifeline::default();
        let init = TransactionalProducer::builder(self.setting.producer(self.slot))
            .connector(line.connector(&self.client.wire))
            .clock(SimClock)
            .seed(self.dice.u64(..))
            .init();
        let result = init.await;
        self.may_be_late |= result.is_err() || now() - began >= self.setting.request_timeout;
        let producer = match result {
            Ok(producer) => producer,
            Err(error) => {
                self.note(format_args!("{who} cannot begin: {error}"));
                self.judge_fatal(&who, &error);
                return None;
            }
        };
        self.note(format_args!("{who} begins"));
        let consumer = self.setting.copies.then(|| {
            let mut consumer = Consumer::builder(self.setting.consumer(&who))
                .connector(line.connector(&self.client.wire))
                .seed(self.dice.u64(..))
                .build();
            consumer.subscribe([INPUT]).expect("it has a group");
            consumer
        });
        let until = if self.is_healed() {
            Duration::MAX
        } else {
            now() + MS(self.dice.u64(0..self.setting.calm * 2))
        };
        Some(Life { who, line, producer, consumer, until })
    }

    /// Whether it ended by leaving in order.
    async fn spend(&mut self, mut life: Life) -> bool {
        loop {
            if self.ledger.is_over() {
                return self.leave(life).await;
            }
            if now() >= life.until && !self.is_healed() {
                match self.dice.u8(0..3) {
                    0 => return self.leave(life).await,
                    1 => self.die(&life),
                    _ => self.sleep_on(life),
                }
                return false;
            }
            let next = match self.records(&mut life).await {
                Ok(records) => self.transact(&mut life, &records).await,
                Err(next) => next,
            };
            match next {
                Next::Again => {}
                Next::Rewind => {
                    if !self.rewind(&mut life).await {
                        self.die(&life);
                        return false;
                    }
                }
                Next::End => {
                    self.die(&life);
                    return false;
                }
            }
        }
    }

    /// Its power is cut, with whatever is under way.
    fn die(&self, life: &Life) {
        self.note(format_args!("{} dies", life.who));
        life.line.kill();
    }

    async fn leave(&self, life: Life) -> bool {
        self.note(format_args!("{} leaves", life.who));
        if let Some(consumer) = life.consumer {
            consumer.close(CLOSE).await;
        }
        let began = now();
        // What it could not end within the time, the next one with its id ends.
        let closed = life.producer.close(CLOSE).await;
        let took = now() - began;
        if took > CLOSE + MS(10) {
            self.client.history.broken(NOTHING_IS_STUCK, format!("a close took {took:?}"));
        }
        closed.is_ok()
    }

    /// It begins a transaction, is thought dead, and goes on when another has taken its place.
    fn sleep_on(&mut self, mut life: Life) {
        let (ledger, history) = (self.ledger.clone(), self.client.history.clone());
        let (partition, nap) =
            (self.dice.i32(0..self.setting.outputs as i32), self.dice.u64(0..3_000));
        self.note(format_args!("{} falls asleep", life.who));
        tokio::task::spawn_local(async move {
            let zombie = async {
                let transaction = life.producer.begin().await.ok()?;
                let number = ledger.begin(&life.who);
                for record in 0..2 {
                    let value = Value { transaction: number, number: record, from: (-1, -1) };
                    let bytes = value.to_bytes();
                    let record = ProducerRecord::new(OUTPUT, &bytes).partition(partition);
                    match transaction.send(&record).await {
                        Ok(_) => ledger.accepted(partition, value),
                        Err(_) => ledger.lacks(number),
                    }
                    tokio::time::sleep(MS(nap)).await;
                }
                let told = match transaction.commit().await {
                    Ok(()) => Told::Committed,
                    Err(TransactionError::Abortable(_)) => Told::Aborted,
                    Err(_) => Told::Unknown,
                };
                history.journal.note(format_args!("the zombie {} is told {told:?}", life.who));
                ledger.told(number, told);
                Some(())
            };
            zombie.await;
            life.line.kill();
        });
    }

    /// What the next transaction copies: nothing, if it has records of its own.
    async fn records(&mut self, life: &mut Life) -> Result<Records, Next> {
        let Some(consumer) = &mut life.consumer else {
            tokio::time::sleep(MS(self.dice.u64(0..30))).await;
            return Ok(Records::default());
        };
        match consumer.poll(MS(200)).await {
            Ok(records) if records.is_empty() => Err(Next::Again),
            Ok(records) => Ok(records),
            Err(error) => {
                self.client.history.journal.note(format_args!("{}: {error}", life.who));
                Err(Next::Again)
            }
        }
    }

    async fn transact(&mut self, life: &mut Life, records: &Records) -> Next {
        let (who, is_healed) = (life.who.clone(), self.is_healed());
        let transaction = match life.producer.begin().await {
            Ok(transaction) => {
                self.committing = false;
                transaction
            }
            Err(TransactionError::InDoubt) => {
                // The last attempt to learn it took too long.
                return match life.producer.settle().await {
                    Ok(_) => Next::Rewind,
                    Err(error) => self.after(&who, &error),
                };
            }
            Err(error) => return self.after(&who, &error),
        };
        let number = self.ledger.begin(&who);
        let sent = if life.consumer.is_some() {
            self.copy(&transaction, number, records).await
        } else {
            self.write(&transaction, number).await
        };
        let offsets = match &life.consumer {
            Some(consumer) => self.send_offsets(&transaction, consumer, records).await,
            None => Ok(()),
        };
        if let Err(error) = &offsets {
            self.note(format_args!("{who}, transaction {number}: offsets: {error}"));
            self.judge_fatal(&who, error);
        }
        let sound = sent && offsets.is_ok();
        let told = self.finish(transaction, number, sound).await;
        let told = match told {
            Ok(told) => told,
            Err(next) => match self.settle(life, number).await {
                Some(told) => told,
                None => return next,
            },
        };
        self.ledger.told(number, told);
        self.note(format_args!("{who}, transaction {number}: {told:?}"));
        if is_healed && told == Told::Committed {
            self.ledger.is_done(self.slot);
        }
        if told == Told::Committed || life.consumer.is_none() { Next::Again } else { Next::Rewind }
    }

    /// Writes records of its own; whether all were accepted.
    async fn write(&mut self, transaction: &Transaction<'_>, number: u64) -> bool {
        let mut all = true;
        let count = self.dice.u64(0..=self.setting.longest_transaction);
        for record in 0..count {
            let partition = self.dice.i32(0..self.setting.outputs as i32);
            let value = Value { transaction: number, number: record, from: (-1, -1) };
            all &= self.send(transaction, partition, value).await;
            match self.dice.u8(0..20) {
                0 => transaction.flush().await,
                1 => tokio::time::sleep(MS(self.dice.u64(0..100))).await,
                _ => {}
            }
        }
        all
    }

    async fn copy(&mut self, transaction: &Transaction<'_>, number: u64, from: &Records) -> bool {
        let mut all = true;
        for (record, input) in (0..).zip(from) {
            let partition = input.partition % self.setting.outputs as i32;
            let from = (input.partition, input.offset);
            let value = Value { transaction: number, number: record, from };
            all &= self.send(transaction, partition, value).await;
        }
        all
    }

    async fn send(&self, transaction: &Transaction<'_>, partition: i32, value: Value) -> bool {
        let bytes = value.to_bytes();
        let record = ProducerRecord::new(OUTPUT, &bytes).partition(partition);
        let accepted = transaction.send(&record).await.is_ok();
        if accepted {
            self.ledger.accepted(partition, value);
        } else {
            self.ledger.lacks(value.transaction);
        }
        accepted
    }

    async fn send_offsets(
        &self,
        transaction: &Transaction<'_>,
        consumer: &Consumer,
        records: &Records,
    ) -> Result<(), TransactionError> {
        let group = consumer.group_metadata().ok_or(TransactionError::NoGroup)?;
        let next = |part: &milena::PartitionRecords| {
            (part.partition().clone(), OffsetAndMetadata::new(part.next_offset()))
        };
        transaction.send_offsets(&group, records.partitions().map(next)).await
    }

    /// Ends the transaction in one of the ways; what was told, or that it has to be asked for.
    async fn finish(
        &mut self,
        transaction: Transaction<'_>,
        number: u64,
        sound: bool,
    ) -> Result<Told, Next> {
        let healed = self.is_healed();
        let way = if healed { 0 } else { self.dice.u8(0..12) };
        let who = format!("transaction {number}");
        if way == 11 {
            // Dropped: aborted in the background.
            drop(transaction);
            return Err(Next::Rewind);
        }
        let commit = way < 9 && (sound || self.dice.bool());
        self.committing = commit;
        let patience = if way == 8 { MS(self.dice.u64(0..40)) } else { Duration::from_secs(3_600) };
        let ended = if commit {
            timeout(patience, transaction.commit()).await
        } else {
            timeout(patience, transaction.abort()).await
        };
        match ended {
            Ok(Ok(())) => Ok(if commit { Told::Committed } else { Told::Aborted }),
            Ok(Err(TransactionError::Abortable(error))) => {
                self.note(format_args!("{who}: {error}"));
                Ok(Told::Aborted)
            }
            Ok(Err(error)) => Err(self.after(&who, &error)),
            // Nobody waits for it any more.
            Err(_) => Err(Next::Rewind),
        }
    }

    /// Learns how the last transaction ended.
    async fn settle(&mut self, life: &mut Life, number: u64) -> Option<Told> {
        for _ in 0..200 {
            match life.producer.settle().await {
                Ok(Some(TransactionOutcome::Committed)) => return Some(Told::Committed),
                Ok(Some(TransactionOutcome::Aborted)) => return Some(Told::Aborted),
                Ok(None) => {
                    let what = format!("transaction {number} is not known to have been");
                    self.client.history.broken(NOTHING_IS_STUCK, what);
                    return None;
                }
                Err(TransactionError::TimedOut(_)) if now() < life.until => {}
                Err(error) => {
                    self.judge_fatal(&life.who.clone(), &error);
                    return None;
                }
            }
        }
        None
    }

    fn after(&mut self, who: &str, error: &TransactionError) -> Next {
        self.note(format_args!("{who}: {error}"));
        self.judge_fatal(who, error);
        if error.is_fatal() { Next::End } else { Next::Rewind }
    }

    /// A producer that nobody replaced is not told that somebody did.
    fn judge_fatal(&self, who: &str, error: &TransactionError) {
        let TransactionError::Fatal(fatal) = error else { return };
        let fenced = [ErrorCode::PRODUCER_FENCED, ErrorCode::INVALID_PRODUCER_EPOCH];
        // With version 1 a life asks for a higher epoch in its midst, too, and that may be carried out after its end.
        let raised_late = self.setting.raises_epochs() && self.life > 0;
        let replaced = self.may_be_late || raised_late || self.setting.expires();
        // So a commit is refused that comes after the coordinator's time-out, with version 2.
        // Or after a late request of an earlier life to take over.
        let ended = self.setting.expires() || self.may_be_late;
        let expired = fatal.code == ErrorCode::INVALID_TXN_STATE && ended;
        // So a commit that may have been carried out does not end as an abort.
        let in_doubt = fatal.code == ErrorCode::TRANSACTION_ABORTABLE && self.committing;
        if !(fenced.contains(&fatal.code) && replaced || expired || in_doubt) {
            self.client.history.broken(FATAL_ONLY_WHEN_FENCED, format!("{who}: {error}"));
        }
    }

    /// Goes back to what the group has committed; whether that could be learnt.
    async fn rewind(&self, life: &mut Life) -> bool {
        let Some(consumer) = &life.consumer else { return true };
        let assigned: Vec<TopicPartition> = consumer.assignment();
        let committed: BTreeMap<_, _> = match consumer.committed(assigned).await {
            Ok(committed) => committed,
            Err(error) => {
                self.note(format_args!("{}: committed: {error}", life.who));
                return false;
            }
        };
        for (partition, at) in committed {
            let start = at.map_or(StartAt::Earliest, |at| StartAt::Offset(at.offset));
            // One that was taken away meanwhile is another's.
            let _ = consumer.seek(&partition, start);
        }
        true
    }
}
