use crate::broker::testing::{RawClient, build, in_memory, one_node};
use crate::broker::{Cluster, NewRecord};
use crate::record;
use crate::types::{Compression, ProducerIdentity};

/// Offset, key and value of what is left.
fn left(cluster: &Cluster) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let records = cluster.records("t", 0).into_iter();
    records.map(|r| (r.offset, r.key.map(text).unwrap_or_default(), r.value.map(text))).collect()
}

/// Base offset, last offset and number of records of each batch; each is sound.
fn batches(cluster: &Cluster) -> Vec<(i64, i64, i32)> {
    let one = |batch: crate::broker::StoredBatch| {
        let parsed = record::batches(batch.bytes).next().unwrap().unwrap();
        parsed.verify_crc().unwrap();
        let header = parsed.header();
        assert_eq!(
            (header.base_offset, header.last_offset()),
            (batch.base_offset, batch.last_offset)
        );
        (batch.base_offset, batch.last_offset, header.count)
    };
    cluster.batches("t", 0).into_iter().map(one).collect()
}

#[tokio::test]
async fn the_last_record_of_each_key_stays_where_it_is() {
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let cluster = in_memory().start().await.unwrap();
        cluster.create_topic("t").unwrap();
        let mut writer = cluster.writer().compression(compression);
        writer.write("t", 0, [("a", "1"), ("b", "1"), ("c", "1")]).unwrap();
        writer.write("t", 0, [("a", "2"), ("a", "3")]).unwrap();
        writer.write("t", 0, [NewRecord::tombstone("c"), "no key".into()]).unwrap();
        writer.write("t", 0, [("a", "4")]).unwrap();
        writer.write("t", 0, [("b", "2")]).unwrap();
        cluster.compact("t").unwrap();
        let expected =
            [(1, "b", Some("1")), (5, "c", None), (7, "a", Some("4")), (8, "b", Some("2"))];
        let expected = expected.map(|(at, k, v)| (at, k.to_owned(), v.map(str::to_owned)));
        assert_eq!(left(&cluster), expected, "the newest batch takes no part: b stays twice");
        assert_eq!(batches(&cluster), [(0, 2, 1), (5, 6, 1), (7, 7, 1), (8, 8, 1)]);
        assert_eq!(cluster.offsets("t", 0), Some(0..9));
        let codec = record::BatchHeader::parse(&cluster.batches("t", 0)[0].bytes).unwrap();
        assert_eq!(codec.attributes.compression(), Ok(compression));
        cluster.compact("t").unwrap();
        assert_eq!(left(&cluster), expected, "nothing is left to do");
        assert!(cluster.compact("u").is_err());
    }
}

#[tokio::test]
async fn a_producers_last_batch_stays_empty_so_that_its_sequence_is_known() {
    let (cluster, mut client) = one_node().await;
    let producer = ProducerIdentity { id: 77, epoch: 0 };
    let batch = |sequence| {
        build(&[(crate::broker::testing::NOW, Some("k"), "v")], Compression::Gzip, |batch| {
            batch.stamp(producer, sequence, false);
        })
    };
    client.produce(batch(0)).await.unwrap();
    client.produce(batch(1)).await.unwrap();
    let mut writer = cluster.writer();
    writer.write("t", 0, [("k", "newer")]).unwrap();
    writer.write("t", 0, [("z", "newest")]).unwrap();
    cluster.compact("t").unwrap();
    assert_eq!(batches(&cluster), [(1, 1, 0), (2, 2, 1), (3, 3, 1)]);
    let kept = record::BatchHeader::parse(&cluster.batches("t", 0)[0].bytes).unwrap();
    assert_eq!((kept.producer, kept.base_sequence), (producer, 1));
    cluster.elect_uncleanly("t", 0, 4).unwrap();
    assert_eq!(client.produce(batch(1)).await, Ok(1), "known from the empty batch");
    assert_eq!(client.produce(batch(2)).await, Ok(4));
}

#[tokio::test]
async fn aborted_records_go_their_markers_and_what_is_open_stay() {
    let (cluster, mut client) = one_node().await;
    let (mut aborting, mut committing, mut open) =
        (cluster.writer(), cluster.writer(), cluster.writer());
    aborting.begin().unwrap();
    committing.begin().unwrap();
    committing.write("t", 0, [("k", "committed"), ("l", "committed")]).unwrap();
    aborting.write("t", 0, [("k", "aborted")]).unwrap();
    aborting.abort().unwrap();
    committing.commit().unwrap();
    open.begin().unwrap();
    open.write("t", 0, [("k", "open")]).unwrap();
    aborting.write("t", 0, [("l", "behind")]).unwrap();
    cluster.compact("t").unwrap();
    let values: Vec<_> =
        left(&cluster).into_iter().filter_map(|(at, _, v)| Some((at, v?))).collect();
    let expected = [(0, "committed"), (1, "committed"), (5, "open"), (6, "behind")];
    assert_eq!(values, expected.map(|(at, v)| (at, v.to_owned())), "aborted ones hide nothing");
    assert_eq!(cluster.batches("t", 0).iter().filter(|batch| batch.control).count(), 2);
    let mut reader = RawClient::connect(&cluster, 1);
    assert_eq!(client.produce(crate::broker::testing::batch(&["x"])).await, Ok(7));
    let request = crate::protocol::messages::fetch::FetchRequest {
        min_bytes: 1,
        topics: vec![crate::protocol::messages::fetch::FetchTopic {
            topic: "t".to_owned(),
            partitions: vec![crate::protocol::messages::fetch::FetchPartition {
                fetch_offset: 2,
                partition_max_bytes: 1 << 20,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = reader.call(&request, 12).await;
    let records = response.responses[0].partitions[0].records.clone().unwrap();
    let first = record::batches(records).next().unwrap().unwrap();
    assert_eq!(first.header().base_offset, 3, "a read from inside a gap begins behind it");
}
