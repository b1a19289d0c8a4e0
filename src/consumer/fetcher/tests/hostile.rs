//! Answers that no broker should give: each is ignored or becomes an error, none moves a position
//! past what was not delivered, and none panics.

use super::*;
use crate::protocol::messages::fetch::FetchLeaderIdAndEpoch;
use crate::record::RecordError;

fn invalid(error: ConsumerError) -> (i64, Option<i64>, String) {
    match error {
        ConsumerError::InvalidBatch { partition, first, last, cause } => {
            assert_eq!(partition, tp(0));
            (first, last, cause.to_string())
        }
        other => panic!("an invalid batch was expected, and this came: {other}"),
    }
}

fn corrupt(batch: &Bytes) -> Bytes {
    let mut bytes = batch.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    bytes.into()
}

#[test]
fn a_wrong_crc_is_an_error_after_the_batches_before_it_and_is_fetched_again() {
    let mut bench = Bench::one();
    let good = batch(0, &[b"a"], Compression::None);
    let bad = batch(1, &[b"b", b"c"], Compression::None);
    let after = batch(3, &[b"d"], Compression::None);
    bench.deliver(join(&[good, corrupt(&bad), after.clone()]));
    let ahead = bench.fetch();
    assert_eq!(ahead.partition(0).unwrap().fetch_offset, 4);

    assert_eq!(bench.collected(), [(0, b"a".to_vec())]);
    let (first, last, cause) = invalid(bench.error());
    assert_eq!((first, last), (1, Some(2)));
    assert!(cause.contains("CRC"), "{cause}");
    assert_eq!(bench.position(0), Some(1));

    // What was asked for from behind the bad batch is of no interest any more.
    bench.answer(&ahead, refused(0, ErrorCode::OFFSET_OUT_OF_RANGE));
    assert!(bench.collect().is_none());
    bench.now += MS(20);
    let wanted = bench.fetch();
    assert_eq!(wanted.partition(0).unwrap().fetch_offset, 1);
    bench.serve(&wanted, &[(0, join(&[bad, after]))]);
    assert_eq!(bench.collected().len(), 3, "it was damaged on the way only");
}

#[test]
fn a_batch_that_stays_corrupt_is_fetched_ever_more_rarely() {
    let mut bench = Bench::one();
    let good = batch(0, &[b"a"], Compression::None);
    let mut waits = Vec::new();
    for _ in 0..4 {
        bench.deliver(corrupt(&good));
        // Behind it there is nothing, which does not make it any better.
        bench.deliver_at(1, Bytes::new());
        invalid(bench.error());
        assert!(bench.fetches().is_empty());
        let retry_at = bench.fetcher.lock().next_deadline().unwrap();
        waits.push(retry_at - bench.now);
        bench.now = retry_at;
    }
    // 10, 20, 40 and 80 ms, give or take a fifth.
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]) && waits[3] >= MS(64), "{waits:?}");

    bench.deliver(join(&[good, corrupt(&batch(1, &[b"b"], Compression::None))]));
    assert_eq!(bench.collected().len(), 1);
    invalid(bench.error());
    assert!(bench.fetches().is_empty());
    let retry_at = bench.fetcher.lock().next_deadline().unwrap();
    assert!(retry_at - bench.now <= MS(12), "there was progress");
}

#[test]
fn a_seek_leaves_a_bad_batch_out() {
    let bench = Bench::one();
    let bad = corrupt(&batch(0, &[b"a", b"b"], Compression::Snappy));
    let good = batch(2, &[b"c"], Compression::None);
    bench.deliver(join(&[bad, good.clone()]));
    let (_, last, _) = invalid(bench.error());
    bench.fetcher.lock().seek(&tp(0), StartAt::Offset(last.unwrap() + 1));
    bench.deliver(good);
    assert_eq!(bench.collected(), [(2, b"c".to_vec())]);
}

#[test]
fn check_crcs_can_be_turned_off() {
    let checks = Checks { crcs: false, max_decompressed: 1 << 20 };
    let bench = Bench::new(FetchConfig { checks, ..config() }, &[(0, StartAt::Offset(0))]);
    let mut bytes = batch(0, &[b"a"], Compression::None).to_vec();
    bytes[17] ^= 1; // of the CRC
    bench.deliver(bytes.into());
    assert_eq!(bench.collected(), [(0, b"a".to_vec())]);
}

#[test]
fn a_bomb_is_refused_at_the_ceiling() {
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let checks = Checks { crcs: true, max_decompressed: 100_000 };
        let bench = Bench::new(FetchConfig { checks, ..config() }, &[(0, StartAt::Offset(0))]);
        bench.deliver(batch(0, &[&vec![0; 100_001]], compression));
        let (first, last, cause) = invalid(bench.error());
        assert_eq!((first, last), (0, Some(0)));
        assert!(cause.contains("100000 bytes allowed"), "{cause}");
        assert_eq!(bench.position(0), Some(0));
    }
}

#[test]
fn records_do_not_keep_a_frame_that_is_mostly_something_else() {
    for (times, kept) in [(1, true), (2, true), (3, false), (1_000, false)] {
        let bench = Bench::one();
        let bytes = batch(0, &[b"a"], Compression::None);
        bench.answer_in(&bench.fetch(), served(&[(0, bytes.clone())]), times * bytes.len());
        let shared = match &bench.fetcher.lock().queue[0].content {
            Content::Batches(completed) => completed.starts_at() == bytes.as_ptr(),
            other => panic!("{other:?}"),
        };
        assert_eq!(shared, kept, "{times} times as large");
        assert_eq!(bench.collected(), [(0, b"a".to_vec())]);
    }
}

#[test]
fn a_poll_ends_although_nothing_that_it_decodes_is_new() {
    let config = FetchConfig { partition_max_bytes: 10 << 20, max_bytes: 10 << 20, ..config() };
    let bench = Bench::new(config, &[(0, StartAt::Offset(1))]);
    let value = vec![0; 400 * 1024];
    // Each ends one offset after the one before, and has a record at the first offset only.
    let batches: Vec<_> = (1..=9).map(|last| compacted(0, last, &[(0, &value)])).collect();
    bench.deliver(join(&batches));
    let mut positions = Vec::new();
    while let Some(records) = bench.collect() {
        assert!(records.unwrap().is_empty());
        positions.push(bench.position(0).unwrap());
    }
    assert_eq!(positions, [4, 7, 10], "about 1 MiB is decoded at a time");
}

#[test]
fn old_and_unknown_formats_are_named() {
    for (magic, word) in [(0, "v0"), (1, "v1"), (9, "magic byte is 9")] {
        let bench = Bench::one();
        let mut bytes = batch(0, &[b"a"], Compression::None).to_vec();
        bytes[16] = magic;
        bench.deliver(bytes.into());
        assert!(bench.fetches().is_empty(), "nothing is fetched behind it");
        let (first, last, cause) = invalid(bench.error());
        assert_eq!((first, last), (0, None));
        assert!(cause.contains(word), "{cause}");
    }
}

#[test]
fn a_batch_that_is_cut_off_with_none_before_it_is_an_error() {
    let bench = Bench::new(config(), &[(0, StartAt::Offset(6))]);
    let bytes = batch(6, &[b"a"], Compression::None);
    bench.deliver(bytes.slice(..bytes.len() - 1));
    let (first, last, cause) = invalid(bench.error());
    assert_eq!((first, last), (6, None));
    assert_eq!(cause, RecordError::Truncated { part: "first batch" }.to_string());
}

#[test]
fn offsets_from_before_the_position_are_not_delivered_and_not_asked_for_in_a_circle() {
    let mut bench = Bench::new(config(), &[(0, StartAt::Offset(10))]);
    bench.deliver(batch(3, &[b"a", b"b"], Compression::None));
    assert!(bench.collect().is_none());
    assert_eq!(bench.position(0), Some(10));
    assert!(bench.fetches().is_empty(), "only after a back-off");
    bench.now += MS(20);
    assert_eq!(bench.fetch().partition(0).unwrap().fetch_offset, 10);
}

#[test]
fn batches_that_overlap_or_go_back_deliver_no_offset_twice() {
    let bench = Bench::one();
    bench.deliver(join(&[
        batch(0, &[b"a", b"b", b"c"], Compression::None),
        batch(1, &[b"B", b"C", b"d"], Compression::None),
        batch(0, &[b"A"], Compression::None),
        batch(4, &[b"e"], Compression::None),
    ]));
    let offsets: Vec<_> = bench.collected().into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
}

#[test]
fn records_out_of_order_within_a_batch_are_an_error() {
    let bench = Bench::one();
    bench.deliver(compacted(0, 9, &[(5, b"a"), (5, b"b")]));
    let (first, last, cause) = invalid(bench.error());
    assert_eq!((first, last), (0, Some(9)));
    assert_eq!(cause, "offset 5 follows offset 5 in one batch");
    assert_eq!(bench.position(0), Some(0));
}

#[test]
fn partitions_that_were_not_asked_for_and_repetitions_are_ignored() {
    let bench = Bench::one();
    let wanted = bench.fetch();
    let bytes = batch(0, &[b"a"], Compression::None);
    let mut answer = served(&[
        (9, bytes.clone()),
        (-1, bytes.clone()),
        (0, bytes.clone()),
        (0, batch(0, &[b"again"], Compression::None)),
    ]);
    let mut strange = answer.responses[0].clone();
    strange.topic_id = TopicId([9; 16]);
    answer.responses.insert(0, strange);
    bench.answer(&wanted, answer);
    assert_eq!(bench.collected(), [(0, b"a".to_vec())]);
    // Nor is an answer to nothing.
    bench.serve(&wanted, &[(0, bytes.clone())]);
    bench.fetcher.lock().handle_offsets(
        wanted.token,
        Ok(listed(0, ErrorCode::NONE, 77)),
        bench.now,
    );
    assert_eq!(bench.collected(), []);
    assert_eq!(bench.position(0), Some(1));
}

#[test]
fn a_partition_that_the_answer_leaves_out_is_asked_for_again_later() {
    let mut bench = Bench::one();
    bench.answer(&bench.fetch(), FetchResponse::default());
    assert!(bench.fetches().is_empty());
    bench.now += MS(20);
    bench.deliver(batch(0, &[b"a"], Compression::None));
    assert_eq!(bench.collected().len(), 1);
}

#[test]
fn an_error_for_the_whole_answer_is_tried_again_or_told() {
    let mut bench = Bench::one();
    let code = |error_code| FetchResponse { error_code, ..FetchResponse::default() };
    bench.answer(&bench.fetch(), code(ErrorCode::UNKNOWN_SERVER_ERROR));
    assert!(bench.collect().is_none());
    bench.now += MS(20);
    bench.answer(&bench.fetch(), code(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    assert!(bench.collect().is_none());
    bench.now += MS(50);
    bench.answer(&bench.fetch(), code(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
    assert_eq!(bench.error().code(), Some(ErrorCode::CLUSTER_AUTHORIZATION_FAILED));
}

#[test]
fn a_lookup_that_names_no_offset_is_repeated() {
    let mut bench = Bench::new(config(), &[(0, StartAt::Earliest)]);
    for (code, offset) in [
        (ErrorCode::NONE, -1),
        (ErrorCode::NONE, i64::MIN),
        (ErrorCode::LEADER_NOT_AVAILABLE, 5),
        (ErrorCode::UNKNOWN_SERVER_ERROR, 5),
    ] {
        let token = match bench.poll().pop() {
            Some(Action::ListOffsets { token, .. }) => token,
            other => panic!("a lookup was expected, and this came: {other:?}"),
        };
        let answer = listed(0, code, offset);
        bench.fetcher.lock().handle_offsets(token, Ok(answer), bench.now);
        assert_eq!(bench.position(0), None);
        assert!(bench.collect().is_none());
        bench.now += MS(200);
        bench.fetcher.lock().actions.clear();
    }
}

#[test]
fn a_hint_at_no_leader_is_no_hint() {
    let bench = Bench::one();
    for (leader_id, leader_epoch) in [(-1, 4), (2, -1)] {
        let mut answer = refused(0, ErrorCode::NOT_LEADER_OR_FOLLOWER);
        answer.responses[0].partitions[0].current_leader =
            FetchLeaderIdAndEpoch { leader_id, leader_epoch };
        let mut bench = Bench { fetcher: Mutex::new(Fetcher::new(config(), 1)), ..bench };
        bench.fetcher.lock().replace([(tp(0), StartAt::Offset(0))], |_| led_by(1));
        bench.now += MS(1);
        bench.answer(&bench.fetch(), answer);
        assert!(matches!(bench.poll()[..], [Action::RefreshMetadata]));
    }
}

/// Random damage anywhere in an answer's bytes, CRC not checked: whatever comes of it, offsets never
/// go back, and the position is past what was delivered.
#[test]
fn random_damage_never_panics_and_never_goes_back() {
    let whole = join(&[
        batch(0, &[b"a", b"b"], Compression::None),
        compacted(2, 6, &[(3, b"c"), (6, b"d")]),
        batch(7, &[b"e", b"f"], Compression::Zstd),
        marker(9),
        batch(10, &[b"g"], Compression::Lz4),
    ]);
    let checks = Checks { crcs: false, max_decompressed: 1 << 16 };
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..5_000 {
        let mut bytes = whole.to_vec();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.truncate(random.usize(bytes.len() / 2..=bytes.len()));
        let config = FetchConfig { checks, ..config() };
        let bench = Bench::new(config, &[(0, StartAt::Offset(0))]);
        bench.deliver(bytes.into());
        let mut next = 0;
        while let Some(collected) = bench.collect() {
            let Ok(records) = collected else { break };
            for record in &records {
                assert!(record.offset >= next);
                next = record.offset + 1;
            }
            assert!(bench.position(0).unwrap() >= next);
        }
    }
}
