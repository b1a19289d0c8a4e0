//! What the members of a group, ours and Java's, owned at which time and were given, and whether that was right: each
//! partition has one owner at a time, and each record is given to somebody, once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use milena::TopicPartition;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, timeout_at};

use crate::members::Event;

/// Above what a group needs to find out that a member has crashed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Of one group.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pages: Mutex<Pages>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Pages {
    members: BTreeMap<String, Member>,
    /// Who owned what in the past.
    spans: Vec<Span>,
    partitions: BTreeMap<TopicPartition, Vec<Entry>>,
    /// Members that ended by themselves, and why.
    failed: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
struct Member {
    left: bool,
    /// Since when, in milliseconds since 1970.
    owned: BTreeMap<TopicPartition, u64>,
    /// How often partitions were assigned to it, revoked or lost.
    moves: usize,
}

/// From one time up to another a member owned a partition.
#[derive(Debug)]
struct Span {
    partition: TopicPartition,
    member: String,
    from: u64,
    to: u64,
}

/// What happened to a partition, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Assigned,
    Given(i64),
    /// A commit of this offset began.
    Committing(i64),
    /// It was confirmed.
    Committed(i64),
}

impl Pages {
    fn note(&mut self, name: &str, event: Event) -> Result<(), String> {
        let member = self.members.get_mut(name).ok_or("it is not known")?;
        match event {
            Event::Assigned(time, partitions) => {
                member.moves += 1;
                for partition in partitions {
                    self.partitions.entry(partition.clone()).or_default().push(Entry::Assigned);
                    if member.owned.insert(partition.clone(), time).is_some() {
                        return Err(format!("it was assigned {partition}, which it had"));
                    }
                }
            }
            // One that has lost them did not know until then, and others may have had them before.
            Event::Lost(_, partitions) => {
                member.moves += 1;
                member.owned.retain(|partition, _| !partitions.contains(partition));
            }
            Event::Revoked(to, partitions) => {
                member.moves += 1;
                for partition in partitions {
                    let from = member.owned.remove(&partition);
                    let from = from.ok_or_else(|| format!("it never had {partition}"))?;
                    self.spans.push(Span { partition, member: name.to_owned(), from, to });
                }
            }
            Event::Records(partition, offsets) => {
                if !member.owned.contains_key(&partition) {
                    return Err(format!("it was given of {partition}, which it does not own"));
                }
                let entries = self.partitions.entry(partition).or_default();
                entries.extend(offsets.into_iter().map(Entry::Given));
            }
            Event::Failed(why) => return Err(why),
            Event::Stopped => member.left = true,
        }
        Ok(())
    }

    fn fail(&mut self, name: &str, why: String) {
        if let Some(member) = self.members.get_mut(name) {
            member.left = true;
        }
        self.failed.insert(name.to_owned(), why);
    }
}

/// Milliseconds since 1970, as Java members tell the time.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis().try_into().unwrap()
}

impl Books {
    /// A member that is to have a share from now on.
    pub(crate) fn join(&self, name: &str) {
        let before = self.pages.lock().members.insert(name.to_owned(), Member::default());
        assert!(before.is_none(), "there is a member {name} already");
    }

    /// Writes down what a member told. What cannot be counts as its failure: whoever tells is nobody's to panic.
    pub(crate) fn note(&self, name: &str, event: Event) {
        let mut pages = self.pages.lock();
        if let Err(wrong) = pages.note(name, event) {
            pages.fail(name, wrong);
        }
        self.changed.send_replace(());
    }

    /// A member has crashed: it is not heard of any more.
    pub(crate) fn crashed(&self, name: &str) {
        let mut pages = self.pages.lock();
        let member = pages.members.get_mut(name).unwrap();
        member.left = true;
        member.owned.clear();
        self.changed.send_replace(());
    }

    /// One of our members begins to commit.
    pub(crate) fn committing<'a>(
        &self,
        offsets: impl IntoIterator<Item = (&'a TopicPartition, i64)>,
    ) {
        self.enter(offsets, Entry::Committing);
    }

    /// The commit was confirmed.
    pub(crate) fn committed<'a>(
        &self,
        offsets: impl IntoIterator<Item = (&'a TopicPartition, i64)>,
    ) {
        self.enter(offsets, Entry::Committed);
    }

    fn enter<'a>(
        &self,
        offsets: impl IntoIterator<Item = (&'a TopicPartition, i64)>,
        entry: fn(i64) -> Entry,
    ) {
        let mut pages = self.pages.lock();
        for (partition, offset) in offsets {
            pages.partitions.entry(partition.clone()).or_default().push(entry(offset));
        }
    }

    /// Waits until each of these partitions has one owner, no other has one, and each member has a share.
    pub(crate) async fn until_complete(&self, partitions: &BTreeSet<TopicPartition>) {
        let complete = |pages: &Pages| {
            let members = || pages.members.values().filter(|member| !member.left);
            let mut owned = members().flat_map(|member| member.owned.keys());
            let mut seen = BTreeSet::new();
            members().all(|member| !member.owned.is_empty())
                && owned.all(|partition| partitions.contains(partition) && seen.insert(partition))
                && seen.len() == partitions.len()
        };
        self.until("a complete and disjoint assignment", complete).await;
    }

    /// Waits until a member owns exactly these.
    pub(crate) async fn until_owned(&self, name: &str, partitions: &BTreeSet<TopicPartition>) {
        let owned = |pages: &Pages| pages.members[name].owned.keys().eq(partitions);
        self.until("what a member owned before", owned).await;
    }

    /// Waits until a member has left, or failed.
    pub(crate) async fn until_left(&self, name: &str) {
        self.wait("the end of a member", |pages| pages.members[name].left).await;
    }

    /// Waits until every record up to these ends was given to a member, at least once.
    pub(crate) async fn until_given(&self, ends: &BTreeMap<TopicPartition, i64>) {
        let given = |pages: &Pages| {
            ends.iter().all(|(partition, end)| {
                let entries = pages.partitions.get(partition).map_or(&[][..], Vec::as_slice);
                given(entries).collect::<BTreeSet<_>>().into_iter().eq(0..*end)
            })
        };
        self.until("all records", given).await;
    }

    /// Waits until records at or after these offsets have been given, of each partition.
    pub(crate) async fn until_beyond(&self, offsets: &BTreeMap<TopicPartition, i64>) {
        let beyond = |pages: &Pages| {
            offsets.iter().all(|(partition, offset)| {
                let entries = pages.partitions.get(partition).map_or(&[][..], Vec::as_slice);
                given(entries).any(|given| given >= *offset)
            })
        };
        self.until("records of each partition", beyond).await;
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Pages) -> bool) {
        self.wait(what, |pages| {
            assert!(pages.failed.is_empty(), "while waiting for {what}: {:?}", pages.failed);
            wanted(pages)
        })
        .await;
    }

    async fn wait(&self, what: &str, wanted: impl Fn(&Pages) -> bool) {
        let mut changed = self.changed.subscribe();
        let deadline = Instant::now() + PATIENCE;
        while !wanted(&self.pages.lock()) {
            if timeout_at(deadline, changed.changed()).await.is_err() {
                let pages = self.pages.lock();
                let partitions = pages.partitions.iter();
                let given: BTreeMap<_, _> = partitions
                    .map(|(partition, all)| (partition.to_string(), summary(all)))
                    .collect();
                panic!("no {what} in {PATIENCE:?}: {:?}, given {given:?}", pages.members);
            }
        }
    }

    /// What a member owns.
    pub(crate) fn owned(&self, name: &str) -> BTreeSet<TopicPartition> {
        self.pages.lock().members[name].owned.keys().cloned().collect()
    }

    /// How often a member's partitions have moved.
    pub(crate) fn moves(&self, name: &str) -> usize {
        self.pages.lock().members[name].moves
    }

    /// Why a member ended by itself; from then on that is no failure of the test.
    pub(crate) fn take_failure(&self, name: &str) -> Option<String> {
        let mut pages = self.pages.lock();
        pages.members.get_mut(name)?.owned.clear();
        pages.failed.remove(name)
    }

    /// The offsets that were given of a partition, in their order.
    pub(crate) fn given(&self, partition: &TopicPartition) -> Vec<i64> {
        self.pages.lock().partitions.get(partition).into_iter().flat_map(|all| given(all)).collect()
    }

    /// At no time did two members own a partition, as far as milliseconds tell.
    pub(crate) fn audit_owners(&self) {
        let pages = self.pages.lock();
        let mut spans: Vec<&Span> = pages.spans.iter().collect();
        spans.sort_by_key(|span| (&span.partition, span.from, span.to));
        for two in spans.windows(2) {
            let apart = two[0].partition != two[1].partition || two[0].to <= two[1].from;
            let members = [&two[0].member, &two[1].member];
            assert!(apart, "{members:?} at one time: {two:?}");
        }
        assert!(!spans.is_empty(), "nobody ever gave anything up");
    }

    /// Each record was given exactly once, in order.
    pub(crate) fn audit_once(&self, ends: &BTreeMap<TopicPartition, i64>) {
        let pages = self.pages.lock();
        assert!(pages.failed.is_empty(), "{:?}", pages.failed);
        for (partition, end) in ends {
            assert!(*end > 0, "nothing was ever written to {partition}");
            let given = given(&pages.partitions[partition]).collect::<Vec<_>>();
            let at = given.iter().zip(0..).find(|(given, expected)| *given != expected);
            assert!(
                at.is_none() && given.len() == usize::try_from(*end).unwrap(),
                "{partition}: {} of {end} were given, the first that is wrong is {at:?}",
                given.len()
            );
        }
    }

    /// In a group of ours alone, of a log without gaps: whoever goes on with a partition does so at what was committed
    /// last, nothing is left out from there, and in the end everything was given. How many were given again.
    pub(crate) fn audit_resumptions(&self, ends: &BTreeMap<TopicPartition, i64>) -> usize {
        let pages = self.pages.lock();
        let mut again = 0;
        for (partition, end) in ends {
            let entries = &pages.partitions[partition];
            let mut next = None;
            // What must be committed, and what may be, at most.
            let (mut committed, mut committing, mut floor) = (0, 0, 0);
            let mut seen = 0;
            for (index, entry) in entries.iter().enumerate() {
                match *entry {
                    Entry::Assigned => (next, floor) = (None, committed),
                    Entry::Committing(offset) => committing = committing.max(offset),
                    Entry::Committed(offset) => committed = committed.max(offset),
                    Entry::Given(offset) => {
                        let good = next.map_or_else(
                            || (floor..=committing).contains(&offset),
                            |next| offset == next,
                        );
                        assert!(
                            good,
                            "{partition}: {offset} was given where {next:?} was due, or {floor} to {committing}: {:?}",
                            &entries[index.saturating_sub(20)..=index]
                        );
                        again += usize::from(offset < seen);
                        seen = seen.max(offset + 1);
                        next = Some(offset + 1);
                    }
                }
            }
            assert_eq!(seen, *end, "{partition}");
        }
        again
    }
}

/// The last offset that was given, the first that was left out, and what happened before that was noticed.
fn summary(entries: &[Entry]) -> String {
    let all: BTreeSet<i64> = given(entries).collect();
    let Some(last) = all.last() else { return "nothing".to_owned() };
    let Some(left_out) = (0..*last).find(|offset| !all.contains(offset)) else {
        return format!("all up to {last}");
    };
    let beyond = |entry: &Entry| matches!(entry, Entry::Given(offset) if *offset > left_out);
    let at = entries.iter().position(beyond).unwrap_or(entries.len());
    let count = usize::try_from(*last).unwrap() + 1 - all.len();
    let before = &entries[at.saturating_sub(8)..at];
    format!("up to {last} without {count}, the first being {left_out}, after {before:?}")
}

fn given(entries: &[Entry]) -> impl Iterator<Item = i64> {
    entries.iter().filter_map(|entry| match entry {
        Entry::Given(offset) => Some(*offset),
        _ => None,
    })
}
