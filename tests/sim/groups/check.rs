//! What must hold of a group: the ledger is gone through from the beginning, and each event judged by those before it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::time::Duration;

use milena::TopicPartition;

use super::ledger::{Event, Fate, Offsets, Who};
use super::setting::Setting;
use super::{
    COMMITS_ARE_STORED, COMMITS_ITS_OWN, COMMITS_RISE, GOES_FORWARD, NOTHING_MADE_UP,
    NOTHING_SKIPPED, ONE_OWNER, POLLS_IN_TIME, STARTS_AT_COMMITTED, STORED_IS_DONE,
};
use crate::invariants::{Tally, Violation};

/// What is in the logs at the end: the value at each offset of each partition.
pub(super) type Logs = BTreeMap<TopicPartition, Vec<u64>>;

/// A partition as long as a consumer has it.
#[derive(Debug)]
struct Tenure {
    /// As of which event.
    since: usize,
    /// The next offset to be handed out, as soon as that is known.
    next: Option<i64>,
    /// Whether the consumer has found it out too.
    known: bool,
    /// What the next commit may not be below.
    sent: i64,
    /// Whether it has to be lost, since its consumer did not poll.
    overdue: bool,
}

/// A consumer.
#[derive(Default)]
struct Reader {
    tenures: BTreeMap<TopicPartition, Tenure>,
    in_hand: Vec<(TopicPartition, i64)>,
    /// The newest generation that it was seen in.
    generation: i32,
    /// What it had in each of its generations.
    had: Vec<(i32, BTreeSet<TopicPartition>)>,
}

/// See the module.
pub(super) struct Judge<'a> {
    setting: &'a Setting,
    logs: &'a Logs,
    readers: BTreeMap<Who, Reader>,
    /// Who owned a partition in a generation; of static members, of whom another may take the place, the slot counts.
    owners: HashMap<(i32, TopicPartition), Who>,
    /// What was stored for each partition, each as of which event.
    stored: BTreeMap<TopicPartition, Vec<(usize, i64)>>,
    generations: BTreeMap<TopicPartition, i32>,
    done: BTreeMap<TopicPartition, BTreeSet<i64>>,
    pub(super) tally: Tally,
    pub(super) violations: Vec<Violation>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(setting: &'a Setting, logs: &'a Logs) -> Self {
        Self {
            setting,
            logs,
            readers: BTreeMap::new(),
            owners: HashMap::new(),
            stored: BTreeMap::new(),
            generations: BTreeMap::new(),
            done: BTreeMap::new(),
            tally: Tally::new(),
            violations: Vec::new(),
        }
    }

    pub(super) fn judge(&mut self, events: &[(Duration, Option<Who>, Event)]) {
        for (at, (time, who, event)) in events.iter().enumerate() {
            let before = self.violations.len();
            match (who, event) {
                (Some(who), event) => self.of_reader(at, *who, event),
                (None, Event::Stored { generation, partition, offset }) => {
                    self.stored(at, *generation, partition, *offset);
                }
                (None, _) => {}
            }
            for (_, detail) in &mut self.violations[before..] {
                let who = who.map_or_else(|| "the group".to_owned(), |who| who.to_string());
                *detail = format!("{who}, at {time:?}: {detail}");
            }
        }
        for (partition, log) in self.logs {
            let done = self.done.entry(partition.clone()).or_default();
            let skipped = (0..log.len() as i64).find(|offset| !done.contains(offset));
            if let Some(offset) = skipped {
                self.broken(NOTHING_SKIPPED, format!("{offset} of {partition}"));
            }
        }
    }

    fn broken(&mut self, invariant: &'static str, detail: String) {
        self.violations.push((invariant, detail));
    }

    fn count(&mut self, what: &'static str, times: usize) {
        *self.tally.entry(what).or_default() += times;
    }

    fn of_reader(&mut self, at: usize, who: Who, event: &Event) {
        match event {
            Event::Assigned { generation, added, all } => {
                self.count("assignments", 1);
                self.assigned(at, who, (*generation, added, all));
            }
            Event::GivesUp { lost, partitions } => {
                self.count(if *lost { "partitions lost" } else { "partitions revoked" }, 1);
                let reader = self.readers.entry(who).or_default();
                reader.tenures.retain(|name, _| !partitions.contains(name));
            }
            Event::Handed(records) => {
                self.count("records", records.len());
                records.iter().for_each(|record| self.handed(at, who, record));
            }
            Event::Done => {
                for (partition, offset) in
                    std::mem::take(&mut self.readers.entry(who).or_default().in_hand)
                {
                    self.done.entry(partition).or_default().insert(offset);
                }
            }
            Event::Sought(partition, offset) => {
                self.count("seeks", 1);
                let reader = self.readers.entry(who).or_default();
                if let Some(tenure) = reader.tenures.get_mut(partition) {
                    (tenure.next, tenure.known, tenure.sent) = (Some(*offset), false, 0);
                }
            }
            Event::Positions(positions) => self.positions(who, positions),
            Event::Committed { begun, offsets, fate } => self.committed(*begun..at, offsets, *fate),
            Event::Sent { generation, offsets } => self.sent(who, *generation, offsets),
            Event::Beat { generation } => self.in_generation(who, *generation),
            Event::Stalled => {
                self.count("stalls", 1);
                let reader = self.readers.entry(who).or_default();
                reader.tenures.values_mut().for_each(|tenure| tenure.overdue = true);
            }
            Event::Ended(how) => {
                self.count(how, 1);
                self.readers.remove(&who);
            }
            Event::Stored { .. } => {}
        }
    }

    fn assigned(
        &mut self,
        at: usize,
        who: Who,
        (generation, added, all): (i32, &[TopicPartition], &BTreeSet<TopicPartition>),
    ) {
        let reader = self.readers.entry(who).or_default();
        reader.tenures.retain(|name, _| all.contains(name));
        for partition in added {
            let tenure = Tenure { since: at, next: None, known: false, sent: 0, overdue: false };
            reader.tenures.insert(partition.clone(), tenure);
        }
        reader.had.push((generation, all.clone()));
        self.in_generation(who, generation);
        // It may have been fenced since.
        if generation < 0 {
            return;
        }
        for partition in all {
            let owner = self.owners.entry((generation, partition.clone())).or_insert(who);
            if owner.slot != who.slot || (!self.setting.is_static && owner.turn != who.turn) {
                let detail =
                    format!("{partition} in generation {generation}, which {owner} has too");
                self.violations.push((ONE_OWNER, detail));
            }
        }
    }

    /// Also while the listener of one of them is still to be told, a partition is not another's.
    fn in_generation(&mut self, who: Who, generation: i32) {
        let reader = self.readers.entry(who).or_default();
        reader.generation = generation;
        if generation <= 0 {
            return;
        }
        let mut wrong = Vec::new();
        for (other, rival) in self.readers.iter().filter(|(other, _)| **other != who) {
            let mut both = self.readers[&who].tenures.keys();
            if rival.generation == generation
                && let Some(both) = both.find(|name| rival.tenures.contains_key(*name))
            {
                let detail = format!("{both} in generation {generation}, as long as {other}");
                wrong.push((ONE_OWNER, detail));
            }
        }
        self.violations.extend(wrong);
    }

    fn handed(&mut self, at: usize, who: Who, record: &(TopicPartition, i64, u64)) {
        let (partition, offset, value) = record;
        let written = usize::try_from(*offset).ok().and_then(|at| self.logs[partition].get(at));
        if written != Some(value) {
            self.broken(NOTHING_MADE_UP, format!("{value} at {offset} of {partition}"));
        }
        if self.done.get(partition).is_some_and(|done| done.contains(offset)) {
            self.count("records again", 1);
        }
        let reader = self.readers.entry(who).or_default();
        reader.in_hand.push((partition.clone(), *offset));
        let Some(tenure) = reader.tenures.get_mut(partition) else {
            return self.broken(ONE_OWNER, format!("{offset} of {partition}, which is not its"));
        };
        tenure.known = true;
        if tenure.overdue {
            let detail = format!("{offset} of {partition}");
            self.violations.push((POLLS_IN_TIME, detail));
        }
        let (since, expected) = (tenure.since, tenure.next.replace(offset + 1));
        match expected {
            Some(expected) if expected != *offset => {
                let detail = format!("{offset} of {partition} in place of {expected}");
                self.broken(GOES_FORWARD, detail);
            }
            Some(_) => {}
            None => {
                let starts = self.stored_between(partition, since, at);
                if !starts.contains(offset) {
                    let detail = format!("{offset} of {partition}, committed were {starts:?}");
                    self.broken(STARTS_AT_COMMITTED, detail);
                }
            }
        }
    }

    /// What was stored for a partition at any time from an event to another; 0 if it was nothing.
    fn stored_between(&self, partition: &TopicPartition, from: usize, to: usize) -> Vec<i64> {
        let stored = self.stored.get(partition).map_or(&[][..], Vec::as_slice);
        let first = stored.iter().rfind(|(at, _)| *at < from).map_or(0, |(_, offset)| *offset);
        let later = stored.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, o)| *o);
        std::iter::once(first).chain(later).collect()
    }

    fn positions(&mut self, who: Who, positions: &Offsets) {
        let reader = self.readers.entry(who).or_default();
        let mut wrong = Vec::new();
        for (partition, tenure) in &reader.tenures {
            let told = positions.get(partition);
            if let Some(next) = tenure.next
                && told.map_or(tenure.known, |told| *told != next)
            {
                wrong.push(format!("{partition} at {told:?}, where {next} is next"));
            }
        }
        wrong.into_iter().for_each(|detail| self.broken(GOES_FORWARD, detail));
    }

    /// A commit that the user was told the end of.
    fn committed(&mut self, during: Range<usize>, offsets: &Offsets, fate: Fate) {
        match fate {
            Fate::Committed => self.count("commits", 1),
            Fate::Not => return self.count("commits refused", 1),
            Fate::Unknown => return self.count("commits left open", 1),
        }
        // One that goes back may be overtaken by what it takes back.
        if self.setting.seeks {
            return;
        }
        for (partition, offset) in offsets {
            let stored = self.stored_between(partition, during.start, during.end);
            if stored.iter().all(|stored| stored < offset) {
                let detail = format!("{offset} of {partition}, stored was {stored:?}");
                self.broken(COMMITS_ARE_STORED, detail);
            }
        }
    }

    /// An OffsetCommit left a client.
    fn sent(&mut self, who: Who, generation: i32, offsets: &Offsets) {
        let reader = self.readers.entry(who).or_default();
        let known = reader.had.iter().rev().skip_while(|(had_in, _)| *had_in > generation);
        // While the newest assignment is with the listener, commits are of the one before.
        let had: Vec<_> = known.take(2).map(|(_, had)| had).collect();
        let mut wrong = Vec::new();
        for (partition, offset) in offsets {
            if had.iter().all(|had| !had.contains(partition)) {
                let detail = format!("{partition} in generation {generation}, had {had:?}");
                wrong.push((COMMITS_ITS_OWN, detail));
            }
            let Some(tenure) = reader.tenures.get_mut(partition) else { continue };
            // One that was begun before a seek may come after it.
            if *offset < tenure.sent && !self.setting.seeks {
                let detail = format!("{offset} of {partition} after {}", tenure.sent);
                wrong.push((COMMITS_RISE, detail));
            }
            tenure.sent = *offset;
        }
        self.violations.extend(wrong);
    }

    /// The group's offset is another.
    fn stored(&mut self, at: usize, generation: i32, partition: &TopicPartition, offset: i64) {
        self.count("offsets stored", 1);
        let history = self.stored.entry(partition.clone()).or_default();
        let before = history.last().map_or(0, |(_, offset)| *offset);
        history.push((at, offset));
        let since = self.generations.insert(partition.clone(), generation);
        // In one generation a request that was held up may do that.
        let is_new = since.is_some_and(|since| since != generation);
        if offset < before && is_new && !self.setting.seeks && !self.setting.modern {
            let detail = format!("{partition} from {before} of generation {since:?} to {offset}");
            self.broken(COMMITS_RISE, detail);
        }
        let done = self.done.get(partition);
        let done = |offset: &i64| done.is_some_and(|done| done.contains(offset));
        if let Some(missing) = (0..offset).find(|offset| !done(offset)) {
            let detail = format!("{offset} of {partition}, where nobody is done with {missing}");
            self.broken(STORED_IS_DONE, detail);
        }
    }
}
