//! Where each leader epoch of a log begins, as Kafka's `LeaderEpochFileCache` (KIP-101, KIP-279): it answers where an
//! epoch ended, which is how a reader finds out that what it read is gone (KIP-320). It does not know who leads, nor
//! what is in the log.
//!
//! | asked for an epoch that is                 | answer: epoch, end offset                    |
//! |--------------------------------------------|----------------------------------------------|
//! | the latest                                 | itself, the log's end                        |
//! | newer than the latest, or -1               | none: undefined                              |
//! | between two known ones, or a known one     | the greatest known not above it, where the next begins |
//! | older than the oldest known                | itself, where the oldest known begins        |

/// Epochs in rising order, each with the offset of its first record; offsets rise too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochs {
    starts: Vec<(i32, i64)>,
}

impl LeaderEpochs {
    /// A leader of this epoch writes from `start_offset` on. Epochs that turn out to have written nothing are forgotten.
    pub(crate) fn assign(&mut self, epoch: i32, start_offset: i64) {
        if epoch < 0 || self.latest() == Some(epoch) {
            return;
        }
        let kept = self.starts.partition_point(|&(e, start)| e < epoch && start < start_offset);
        self.starts.truncate(kept);
        self.starts.push((epoch, start_offset));
    }

    fn latest(&self) -> Option<i32> {
        self.starts.last().map(|&(epoch, _)| epoch)
    }

    /// The oldest epoch known, and where it begins.
    pub(crate) fn earliest(&self) -> Option<(i32, i64)> {
        self.starts.first().copied()
    }

    /// See the table in the module's docs.
    pub(crate) fn end_of(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        if epoch < 0 {
            return None;
        }
        if self.latest() == Some(epoch) {
            return Some((epoch, log_end));
        }
        let next = self.starts.partition_point(|&(known, _)| known <= epoch);
        let &(_, end) = self.starts.get(next)?;
        let floor = next.checked_sub(1).and_then(|at| self.starts.get(at));
        Some((floor.map_or(epoch, |&(known, _)| known), end))
    }

    /// The log now ends at `end`.
    pub(crate) fn truncate_from_end(&mut self, end: i64) {
        self.starts.retain(|&(_, start)| start < end);
    }

    /// The log now starts at `start`: the epoch that holds it begins there.
    pub(crate) fn truncate_from_start(&mut self, start: i64) {
        let older = self.starts.partition_point(|&(_, begins)| begins <= start);
        self.starts.drain(..older.saturating_sub(1));
        if let Some((_, begins)) = self.starts.first_mut() {
            *begins = (*begins).max(start);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(starts: &[(i32, i64)]) -> LeaderEpochs {
        LeaderEpochs { starts: starts.to_vec() }
    }

    #[test]
    fn ends_are_those_of_the_table() {
        let epochs = known(&[(2, 10), (4, 30), (5, 40)]);
        for (epoch, expected) in [
            (-1, None),
            (0, Some((0, 10))),
            (2, Some((2, 30))),
            (3, Some((2, 30))),
            (4, Some((4, 40))),
            (5, Some((5, 99))),
            (6, None),
        ] {
            assert_eq!(epochs.end_of(epoch, 99), expected, "epoch {epoch}");
        }
        assert_eq!(LeaderEpochs::default().end_of(0, 99), None);
    }

    #[test]
    fn an_epoch_that_wrote_nothing_is_forgotten() {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start) in [(0, 0), (1, 5), (2, 5), (2, 9), (4, 9)] {
            epochs.assign(epoch, start);
        }
        assert_eq!(epochs, known(&[(0, 0), (2, 5), (4, 9)]));
        epochs.assign(3, 7);
        assert_eq!(epochs, known(&[(0, 0), (2, 5), (3, 7)]), "what is not in order goes");
        epochs.assign(-1, 8);
        assert_eq!(epochs, known(&[(0, 0), (2, 5), (3, 7)]));
    }

    #[test]
    fn truncation_moves_either_end() {
        let mut epochs = known(&[(0, 0), (2, 5), (4, 9)]);
        epochs.truncate_from_start(6);
        assert_eq!(epochs, known(&[(2, 6), (4, 9)]));
        epochs.truncate_from_end(9);
        assert_eq!(epochs, known(&[(2, 6)]));
        epochs.truncate_from_start(20);
        assert_eq!(epochs, known(&[(2, 20)]), "the last epoch stays known");
        epochs.truncate_from_end(0);
        assert_eq!(epochs.earliest(), None);
    }

    /// Against a log that says of each offset in which epoch it was written.
    #[test]
    fn random_histories_agree_with_the_epochs_of_each_record() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut epochs, mut log): (LeaderEpochs, Vec<i32>) = Default::default();
            let (mut start, mut leader) = (0, 0);
            epochs.assign(0, 0);
            for _ in 0..40 {
                match rng.u8(0..5) {
                    0 => {
                        leader += rng.i32(1..3);
                        epochs.assign(leader, log.len() as i64);
                    }
                    1 => {
                        log.truncate(rng.usize(start..=log.len()));
                        epochs.truncate_from_end(log.len() as i64);
                        leader += 1;
                        epochs.assign(leader, log.len() as i64);
                    }
                    2 => {
                        start = rng.usize(start..=log.len());
                        epochs.truncate_from_start(start as i64);
                    }
                    _ => log.extend(std::iter::repeat_n(leader, rng.usize(1..4))),
                }
                let end = log.len() as i64;
                assert_eq!(epochs.end_of(leader, end), Some((leader, end)), "seed {seed}");
                assert_eq!(epochs.end_of(leader + 1, end), None, "seed {seed}");
                for asked in 0..leader {
                    let written = |&(_, &epoch): &(usize, &i32)| epoch > asked;
                    let after = log.iter().enumerate().skip(start).find(written);
                    let expected = after.map_or(end, |(offset, _)| offset as i64);
                    let (found, ended) = epochs.end_of(asked, end).unwrap();
                    assert!(found <= asked, "seed {seed}");
                    assert_eq!(
                        ended, expected,
                        "seed {seed}: epoch {asked} in {log:?} from {start}"
                    );
                }
            }
        }
    }
}
