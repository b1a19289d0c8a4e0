//! Topic names to their queues, for every record that is sent: a look-up takes no lock, writes to no memory that threads
//! share, and gives a plain reference.
//!
//! That works because nothing is ever taken out: a topic's entry, and what it was before it grew, stay for as long as
//! the producer. The entries form a trie over the hash of the name, two bits a level, each set once. Who may add is the
//! caller's matter.

use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;

use crate::producer::accumulator::PartitionQueue;
use crate::producer::partitioner::TopicPartitioner;

/// The children of an entry, by two bits of the hash.
const FANOUT: usize = 4;
const BITS: u32 = 2;

/// All topics that records were sent to.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    root: OnceLock<Box<Entry>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    name: Arc<str>,
    queues: TopicQueues,
    children: [OnceLock<Box<Entry>>; FANOUT],
}

/// The queues of one topic's partitions, as many as it had at the time.
#[derive(Debug)]
pub(crate) struct TopicQueues {
    pub(crate) partitions: Vec<Arc<PartitionQueue>>,
    pub(crate) partitioner: Arc<TopicPartitioner>,
    /// What it became when the topic got more partitions.
    grown: OnceLock<Box<TopicQueues>>,
}

impl TopicQueues {
    pub(crate) fn new(
        partitions: Vec<Arc<PartitionQueue>>,
        partitioner: Arc<TopicPartitioner>,
    ) -> Self {
        Self { partitions, partitioner, grown: OnceLock::new() }
    }

    fn latest(&self) -> &Self {
        let mut latest = self;
        while let Some(grown) = latest.grown.get() {
            latest = grown;
        }
        latest
    }
}

impl Topics {
    /// The topic's queues, if it has any.
    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<&TopicQueues> {
        let hash = self.hasher.hash_one(name);
        let entry = self.find(hash, name).get()?;
        Some(entry.queues.latest())
    }

    /// Puts `queues` in the place of what is known of the topic. Of two callers at a time one may go unheard.
    pub(crate) fn set(&self, name: &Arc<str>, queues: TopicQueues) {
        let hash = self.hasher.hash_one(&**name);
        let place = self.find(hash, name);
        let boxed = match place.get() {
            Some(entry) => return drop(entry.queues.latest().grown.set(Box::new(queues))),
            None => Box::new(Entry {
                hash,
                name: Arc::clone(name),
                queues,
                children: Default::default(),
            }),
        };
        drop(place.set(boxed));
    }

    /// Where the topic's entry is or would be.
    #[inline]
    fn find(&self, hash: u64, name: &str) -> &OnceLock<Box<Entry>> {
        let mut place = &self.root;
        let mut rest = hash;
        while let Some(entry) = place.get() {
            if entry.hash == hash && *entry.name == *name {
                break;
            }
            let [a, b, c, d] = &entry.children;
            place = match rest % FANOUT as u64 {
                0 => a,
                1 => b,
                2 => c,
                _ => d,
            };
            // Names of the same hash, past its last bit, form a list.
            rest >>= BITS;
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::producer::accumulator::fill::Fill;
    use crate::types::Compression;

    fn queues(name: &Arc<str>, count: i32) -> TopicQueues {
        let fill = Arc::new(Fill::new(Compression::None, 1, 1));
        let queue = |at| PartitionQueue::new(Arc::clone(name), at, Arc::clone(&fill));
        let partitions = (0..count).map(|at| Arc::new(queue(at)));
        TopicQueues::new(
            partitions.collect(),
            Arc::new(TopicPartitioner::new(1, true, Arc::default(), 1)),
        )
    }

    #[test]
    fn finds_each_of_many_and_nothing_else() {
        let topics = Topics::default();
        assert!(topics.get("t0").is_none());
        for n in 0..5_000 {
            let name = Arc::from(format!("t{n}"));
            topics.set(&name, queues(&name, n % 5));
        }
        for n in 0..5_000 {
            let found = topics.get(&format!("t{n}")).unwrap();
            assert_eq!(found.partitions.len(), n % 5);
            assert!(found.partitions.iter().all(|queue| *queue.topic == format!("t{n}")));
        }
        assert!(topics.get("t5000").is_none() && topics.get("").is_none());
    }

    #[test]
    fn a_topic_that_grew_is_found_as_it_is_now_and_stays_as_it_was_for_those_who_hold_it() {
        let topics = Topics::default();
        let name = Arc::from("t");
        topics.set(&name, queues(&name, 1));
        let before = topics.get("t").unwrap();
        for count in [3, 6] {
            topics.set(&name, queues(&name, count));
            assert_eq!(topics.get("t").unwrap().partitions.len(), count as usize);
        }
        assert_eq!(before.partitions.len(), 1);
    }

    #[test]
    fn names_of_one_hash_are_kept_apart() {
        let topics = Topics::default();
        for name in ["a", "b", "c"] {
            let name: Arc<str> = Arc::from(name);
            let place = topics.find(7, &name);
            let (queues, children) = (queues(&name, 1), Default::default());
            place.set(Box::new(Entry { hash: 7, name, queues, children })).unwrap();
        }
        for name in ["a", "b", "c"] {
            assert_eq!(*topics.find(7, name).get().unwrap().name, *name);
        }
        assert!(topics.find(7, "d").get().is_none());
    }
}
