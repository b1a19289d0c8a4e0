use super::*;

/// A "batch" of `len` bytes whose length field and payload can be told apart.
fn batch(len: usize, count: i32, max_timestamp: i64) -> NewBatch {
    let mut bytes = vec![0xAA; len];
    bytes[8..12].copy_from_slice(&(len as i32 - 12).to_be_bytes());
    NewBatch { bytes: bytes.into(), count, max_timestamp }
}

fn up_to(max_bytes: usize) -> ReadLimit {
    ReadLimit { before: i64::MAX, max_bytes, at_least_one: true }
}

fn base_offset(bytes: &[u8]) -> i64 {
    i64::from_be_bytes(bytes[..8].try_into().unwrap())
}

/// Offsets 0..=2 and 3..=3 in epoch 0, 4..=8 in epoch 2.
fn three_batches() -> Log {
    let mut log = Log::default();
    assert_eq!(log.append(batch(100, 3, 10), 0), 0);
    assert_eq!(log.append(batch(70, 1, 30), 0), 3);
    assert_eq!(log.append(batch(90, 5, 20), 2), 4);
    log
}

#[test]
fn offsets_follow_the_counts() {
    let log = three_batches();
    assert_eq!((log.start_offset(), log.end_offset(), log.bytes()), (0, 9, 260));
}

#[test]
fn a_read_patches_offset_and_epoch_and_nothing_else() {
    let log = three_batches();
    let read = log.read(4, up_to(1000)).unwrap();
    assert_eq!(read.len(), 90);
    assert_eq!(base_offset(&read), 4);
    assert_eq!(read[8..12], 78_i32.to_be_bytes());
    assert_eq!(read[12..16], 2_i32.to_be_bytes());
    assert!(read[16..].iter().all(|&byte| byte == 0xAA));
    assert_eq!(log.batches().nth(2).unwrap().to_bytes(), read);
}

#[test]
fn a_read_from_inside_a_batch_starts_with_that_batch() {
    let log = three_batches();
    for (from, expected) in [(0, 0), (2, 0), (3, 3), (4, 4), (8, 4)] {
        assert_eq!(base_offset(&log.read(from, up_to(1)).unwrap()), expected, "from {from}");
    }
}

#[test]
fn reads_outside_the_log_are_out_of_range() {
    let mut log = three_batches();
    assert_eq!(log.read(10, up_to(1)), Err(OffsetOutOfRange));
    assert_eq!(log.read(-1, up_to(1)), Err(OffsetOutOfRange));
    assert_eq!(log.read(9, up_to(1)), Ok(Bytes::new()));
    log.delete_before(4);
    assert_eq!(log.read(3, up_to(1)), Err(OffsetOutOfRange));
}

#[test]
fn max_bytes_cuts_the_last_batch_and_the_first_only_when_it_may() {
    let log = three_batches();
    let one = |max_bytes| ReadLimit { at_least_one: false, ..up_to(max_bytes) };
    assert_eq!(log.read(0, up_to(10)).unwrap().len(), 100, "the first batch, whole");
    assert_eq!(log.read(0, one(10)).unwrap().len(), 0, "not even a part of the first batch");
    assert_eq!(log.read(0, up_to(100)).unwrap().len(), 100);
    assert_eq!(log.read(0, one(105)).unwrap().len(), 105, "five bytes of the second");
    assert_eq!(log.read(0, one(130)).unwrap().len(), 130, "thirty bytes of the second");
    assert_eq!(log.read(0, one(1000)).unwrap().len(), 260);
}

#[test]
fn nothing_at_or_after_the_bound_is_read() {
    let log = three_batches();
    let before = |before| ReadLimit { before, ..up_to(1000) };
    assert_eq!(log.read(0, before(4)).unwrap().len(), 170);
    assert_eq!(
        log.read(0, before(5)).unwrap().len(),
        170,
        "a batch counts when all of it may be read"
    );
    assert_eq!(log.read(4, before(4)).unwrap().len(), 0);
    assert_eq!(log.readable_bytes(0, 4, usize::MAX), 170);
    assert_eq!(log.readable_bytes(0, 4, 150), 150);
}

#[test]
fn deleting_records_moves_the_start_and_drops_whole_batches() {
    let mut log = three_batches();
    log.delete_before(2);
    assert_eq!((log.start_offset(), log.bytes()), (2, 260));
    log.delete_before(1);
    assert_eq!(log.start_offset(), 2, "never backwards");
    log.delete_before(3);
    assert_eq!((log.start_offset(), log.bytes()), (3, 160));
    log.delete_before(100);
    assert_eq!((log.start_offset(), log.end_offset(), log.bytes()), (9, 9, 0));
    assert_eq!(log.append(batch(61, 1, 0), 2), 9);
}

#[test]
fn retention_drops_the_oldest_but_keeps_the_newest() {
    let mut log = three_batches();
    log.retain_bytes(200);
    assert_eq!((log.start_offset(), log.bytes()), (3, 160));
    log.retain_bytes(0);
    assert_eq!((log.start_offset(), log.bytes()), (4, 90));
}

#[test]
fn epochs_end_where_the_next_begins() {
    let mut log = three_batches();
    assert_eq!(log.end_of_epoch(0), Some((0, 4)));
    assert_eq!(log.end_of_epoch(1), Some((0, 4)), "epoch 1 wrote nothing");
    assert_eq!(log.end_of_epoch(2), Some((2, 9)));
    log.begin_epoch(5);
    assert_eq!(log.end_of_epoch(5), Some((5, 9)));
    assert_eq!(log.earliest_epoch(), Some(0));
    log.delete_before(5);
    assert_eq!(log.earliest_epoch(), Some(2));
    assert_eq!(log.end_of_epoch(1), Some((1, 5)), "it ended before what is kept");
}

#[test]
fn truncation_drops_whole_batches_and_their_epochs() {
    let mut log = three_batches();
    assert_eq!(log.truncate_to(100), 9, "nothing is there to be cut");
    assert_eq!(log.truncate_to(6), 4, "the batch of 4 to 8 goes");
    assert_eq!((log.start_offset(), log.end_offset(), log.bytes()), (0, 4, 170));
    assert_eq!(log.end_of_epoch(0), Some((0, 4)));
    assert_eq!(log.end_of_epoch(2), None);
    assert_eq!(log.append(batch(61, 1, 0), 3), 4);
    log.delete_before(2);
    assert_eq!(log.truncate_to(0), 2, "the log's start stays");
    assert_eq!((log.start_offset(), log.end_offset(), log.bytes()), (2, 2, 0));
}

#[test]
fn the_batch_of_the_greatest_timestamp_is_found() {
    let mut log = three_batches();
    assert_eq!(log.batch_of_max_timestamp().unwrap().base_offset, 3);
    log.append(batch(61, 1, 30), 2);
    assert_eq!(log.batch_of_max_timestamp().unwrap().base_offset, 3, "the first of equals");
    assert!(Log::default().batch_of_max_timestamp().is_none());
}
