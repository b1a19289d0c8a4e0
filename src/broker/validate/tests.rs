use super::*;
use crate::broker::testing::{NOW, batch, build, forged, sequenced};
use crate::record::BatchHeader;
use crate::types::ProducerIdentity;

const PRODUCER: ProducerIdentity = ProducerIdentity { id: 4, epoch: 1 };

fn judge_by(config: &TopicConfig, records: Bytes) -> Result<ValidBatch, Rejected> {
    validate(
        Some(records),
        Rules { config, version: 9, now: NOW, records: true, transactional: false },
    )
}

fn judge(records: Bytes) -> Result<ValidBatch, Rejected> {
    judge_by(&TopicConfig::default(), records)
}

fn code(result: Result<ValidBatch, Rejected>) -> ErrorCode {
    result.unwrap_err().code
}

#[test]
fn a_good_batch_passes_as_it_is() {
    let bytes = sequenced(&["a", "b", "c"], PRODUCER, 5);
    let valid = judge(bytes.clone()).unwrap();
    assert_eq!(valid.batch.bytes.as_ptr(), bytes.as_ptr(), "not copied");
    assert_eq!((valid.batch.count, valid.batch.max_timestamp), (3, NOW));
    assert_eq!(
        valid.sequenced,
        Some(Sequenced { producer: PRODUCER, sequence: 5, count: 3, transactional: false })
    );
    assert_eq!(valid.log_append_time, -1);
    assert_eq!(judge(batch(&["a"])).unwrap().sequenced, None);
}

#[test]
fn every_codec_passes() {
    for compression in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        let bytes = build(&[(NOW, None, "a"), (NOW - 9, None, "b")], compression, |_| {});
        assert_eq!(judge(bytes).unwrap().batch.max_timestamp, NOW, "{compression}");
    }
}

#[test]
fn batches_that_kafka_refuses_are_refused() {
    let good = sequenced(&["a", "b"], PRODUCER, 0);
    let two = [good.clone(), good.clone()].concat().into();
    let old = forged(&good, 16, &[1], false);
    type Row = (&'static str, Bytes, ErrorCode);
    let rows: [Row; 15] = [
        ("no batch", Bytes::new(), ErrorCode::INVALID_RECORD),
        ("half a batch", good.slice(..70), ErrorCode::INVALID_RECORD),
        ("two batches", two, ErrorCode::INVALID_RECORD),
        ("magic 1", old, ErrorCode::INVALID_RECORD),
        ("magic 9", forged(&good, 16, &[9], false), ErrorCode::CORRUPT_MESSAGE),
        ("a length of 0", forged(&good, 8, &[0; 4], false), ErrorCode::CORRUPT_MESSAGE),
        ("a flipped bit", forged(&good, 66, &[0xFF], false), ErrorCode::CORRUPT_MESSAGE),
        ("an offset", forged(&good, 7, &[1], false), ErrorCode::INVALID_RECORD),
        ("no records", forged(&good, 57, &[0; 4], true), ErrorCode::INVALID_RECORD),
        ("-1 records", forged(&good, 57, &[0xFF; 4], true), ErrorCode::INVALID_RECORD),
        ("3 of 2 records", forged(&good, 60, &[3], true), ErrorCode::INVALID_RECORD),
        ("a control batch", forged(&good, 22, &[0x20], true), ErrorCode::INVALID_RECORD),
        ("no sequence", forged(&good, 53, &[0xFF; 4], true), ErrorCode::INVALID_RECORD),
        ("codec 7", forged(&good, 22, &[7], true), ErrorCode::CORRUPT_MESSAGE),
        ("a bad gzip", forged(&good, 22, &[1], true), ErrorCode::CORRUPT_MESSAGE),
    ];
    for (what, bytes, expected) in rows {
        assert_eq!(code(judge(bytes)), expected, "{what}");
    }
    let transactional = build(&[(NOW, None, "a")], Compression::None, |batch| {
        batch.stamp(PRODUCER, 0, true);
    });
    assert_eq!(code(judge(transactional)), ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    assert_eq!(code(validate(None, rules(&TopicConfig::default()))), ErrorCode::INVALID_RECORD);
}

fn rules(config: &TopicConfig) -> Rules<'_> {
    Rules { config, version: 9, now: NOW, records: true, transactional: false }
}

#[test]
fn records_that_do_not_add_up_are_refused_only_when_looked_at() {
    let good = batch(&["a", "b"]);
    // The count and the last offset delta agree with each other but not with the records.
    let three = forged(&forged(&good, 60, &[3], false), 26, &[2], true);
    let record_length = forged(&good, 61, &[0x7E], true);
    let second_offset = forged(&good, good.len() - 5, &[0], true);
    for (what, bytes) in [("count", three), ("length", record_length), ("offset", second_offset)] {
        assert_eq!(code(judge(bytes.clone())), ErrorCode::INVALID_RECORD, "{what}");
        let config = TopicConfig::default();
        let unseen = Rules { records: false, ..rules(&config) };
        assert!(validate(Some(bytes), unseen).is_ok(), "{what}");
    }
}

#[test]
fn an_incomplete_batch_behind_the_first_is_cut_off() {
    let good = batch(&["a"]);
    let with_rest = [&good[..], &good[..20]].concat().into();
    assert_eq!(judge(with_rest).unwrap().batch.bytes, good);
}

#[test]
fn size_is_limited_by_the_topic() {
    let bytes = batch(&["a"]);
    let config = |max_message_bytes| TopicConfig { max_message_bytes, ..TopicConfig::default() };
    assert!(judge_by(&config(bytes.len()), bytes.clone()).is_ok());
    let too_large = judge_by(&config(bytes.len() - 1), bytes);
    assert_eq!(code(too_large), ErrorCode::MESSAGE_TOO_LARGE);
}

#[test]
fn zstd_needs_version_7() {
    let bytes = build(&[(NOW, None, "a")], Compression::Zstd, |_| {});
    let config = TopicConfig::default();
    let by = |version| validate(Some(bytes.clone()), Rules { version, ..rules(&config) });
    assert_eq!(code(by(6)), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    assert!(by(7).is_ok());
}

#[test]
fn timestamps_must_be_near_the_clock() {
    let config = TopicConfig {
        timestamp_before_max_ms: 1000,
        timestamp_after_max_ms: 100,
        ..TopicConfig::default()
    };
    let at = |time| {
        judge_by(&config, build(&[(NOW, None, "a"), (time, None, "b")], Compression::None, |_| {}))
    };
    for good in [NOW - 1000, NOW + 100, -1] {
        assert!(at(good).is_ok(), "{good}");
    }
    for bad in [NOW - 1001, NOW + 101, i64::MAX, i64::MIN] {
        let rejected = at(bad).unwrap_err();
        assert_eq!(rejected.code, ErrorCode::INVALID_TIMESTAMP, "{bad}");
        assert_eq!(rejected.records.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1]);
    }
}

#[test]
fn log_append_time_replaces_the_timestamps() {
    let config = TopicConfig {
        timestamp_type: TimestampType::LogAppendTime,
        timestamp_after_max_ms: 0,
        ..TopicConfig::default()
    };
    let future = build(&[(NOW + 50, None, "a")], Compression::None, |_| {});
    let valid = judge_by(&config, future).unwrap();
    assert_eq!((valid.log_append_time, valid.batch.max_timestamp), (NOW, NOW));
    let parsed = record::batches(valid.batch.bytes).next().unwrap().unwrap();
    parsed.verify_crc().unwrap();
    assert_eq!(parsed.header().max_timestamp, NOW);
    assert_eq!(parsed.header().attributes.timestamp_type(), TimestampType::LogAppendTime);
}

#[test]
fn a_wrong_max_timestamp_is_corrected() {
    let bytes = batch(&["a"]);
    let wrong = forged(&bytes, 35, &(NOW + 7).to_be_bytes(), true);
    let valid = judge(wrong).unwrap();
    assert_eq!(valid.batch.max_timestamp, NOW);
    assert_eq!(BatchHeader::parse(&valid.batch.bytes).unwrap().max_timestamp, NOW);
    assert_eq!(valid.batch.bytes, bytes);
}

#[test]
fn compacted_topics_need_keys() {
    let config = TopicConfig { compacted: true, ..TopicConfig::default() };
    let records = [(NOW, Some("k"), "a"), (NOW, None, "b"), (i64::MAX, Some("k"), "c")];
    let rejected = judge_by(&config, build(&records, Compression::None, |_| {})).unwrap_err();
    assert_eq!(rejected.code, ErrorCode::INVALID_RECORD);
    assert_eq!(rejected.records.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2]);
    assert!(judge_by(&config, build(&records[..1], Compression::None, |_| {})).is_ok());
}
