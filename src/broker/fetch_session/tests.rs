use bytes::Bytes;

use super::*;
use crate::protocol::messages::fetch::{EpochEndOffset, FetchTopic, ForgottenTopic};

fn request(id: i32, epoch: i32, partitions: &[(i32, i64)]) -> FetchRequest {
    let fetch = |&(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition,
        fetch_offset,
        ..Default::default()
    };
    let partitions: Vec<_> = partitions.iter().map(fetch).collect();
    let topic = FetchTopic { topic: "t".to_owned(), partitions, ..Default::default() };
    FetchRequest { session_id: id, session_epoch: epoch, topics: vec![topic], ..Default::default() }
}

fn forgetting(id: i32, epoch: i32, partitions: &[i32]) -> FetchRequest {
    let (topic, partitions) = ("t".to_owned(), partitions.to_vec());
    let forgotten = ForgottenTopic { topic, partitions, ..Default::default() };
    FetchRequest { forgotten_topics_data: vec![forgotten], ..request(id, epoch, &[]) }
}

fn data(high_watermark: i64) -> FetchPartitionData {
    FetchPartitionData {
        high_watermark,
        log_start_offset: 0,
        records: Some(Bytes::new()),
        ..Default::default()
    }
}

fn with_records(high_watermark: i64) -> FetchPartitionData {
    FetchPartitionData { records: Some(Bytes::from_static(b"records")), ..data(high_watermark) }
}

fn sessions(slots: usize) -> FetchSessions {
    FetchSessions::new(slots, 1)
}

/// One fetch from begin to finish: the session and the partitions that were told of.
fn fetch(
    sessions: &mut FetchSessions,
    request: &FetchRequest,
    now: i64,
    mut data: impl FnMut(i32) -> FetchPartitionData,
) -> Result<(i32, Vec<i32>), ErrorCode> {
    let (kind, asked) = sessions.begin(request, false, now)?;
    let answer = asked.into_iter().map(|asked| {
        let data = data(asked.key.partition);
        (asked, data)
    });
    let (id, told) = sessions.finish(kind, answer.collect(), now)?;
    Ok((id, told.into_iter().map(|(key, _)| key.partition).collect()))
}

#[test]
fn only_news_is_told() {
    let mut all = sessions(10);
    let (id, told) = fetch(&mut all, &request(0, 0, &[(0, 0), (1, 0)]), 0, |_| data(5)).unwrap();
    assert!(id > 0);
    assert_eq!(told, [0, 1], "the first answer is in full");
    let mut epoch = 0;
    let mut next = |data: &dyn Fn(i32) -> FetchPartitionData| {
        epoch += 1;
        fetch(&mut all, &request(id, epoch, &[]), 0, data).unwrap().1
    };
    let nothing: [i32; 0] = [];
    assert_eq!(next(&|_| data(5)), nothing);
    assert_eq!(next(&|p| data(if p == 1 { 6 } else { 5 })), [1], "the high watermark");
    assert_eq!(next(&|p| data(if p == 1 { 6 } else { 5 })), nothing, "once");
    let old = |p| data(if p == 1 { 6 } else { 5 });
    let start = |p| FetchPartitionData { log_start_offset: i64::from(p == 0), ..old(p) };
    assert_eq!(next(&start), [0], "the log's start");
    assert_eq!(next(&start), nothing);
    let replica =
        |p| FetchPartitionData { preferred_read_replica: if p == 0 { 3 } else { -1 }, ..start(p) };
    assert_eq!((next(&replica), next(&replica)), (vec![0], vec![0]), "each time");
    let error = |p| FetchPartitionData {
        error_code: if p == 0 { ErrorCode::NOT_LEADER_OR_FOLLOWER } else { ErrorCode::NONE },
        ..start(p)
    };
    assert_eq!((next(&error), next(&error)), (vec![0], vec![0]), "each time");
    assert_eq!((next(&start), next(&start)), (vec![0], vec![]), "that it is over");
    let diverging_epoch = EpochEndOffset { epoch: 1, end_offset: 4 };
    let diverging = |p| match p {
        0 => FetchPartitionData { diverging_epoch: diverging_epoch.clone(), ..start(p) },
        _ => start(p),
    };
    assert_eq!((next(&diverging), next(&start)), (vec![0], vec![]));
}

#[test]
fn partitions_come_change_and_go() {
    let mut all = sessions(10);
    let (id, _) = fetch(&mut all, &request(0, 0, &[(0, 0), (1, 0)]), 0, |_| data(5)).unwrap();
    let (_, asked) = all.begin(&request(id, 1, &[(1, 7), (2, 9)]), false, 0).unwrap();
    let asked: Vec<_> = asked.iter().map(|a| (a.key.partition, a.fetch.fetch_offset)).collect();
    assert_eq!(asked, [(0, 0), (1, 7), (2, 9)]);
    let (_, asked) = all.begin(&forgetting(id, 2, &[0, 1, 8]), false, 0).unwrap();
    assert_eq!(asked.len(), 1);
    let (kind, _) = all.begin(&forgetting(id, 3, &[2]), false, 0).unwrap();
    assert_eq!(kind, Kind::Sessionless, "an empty session ends");
    let gone = all.begin(&request(id, 4, &[]), false, 0).unwrap_err();
    assert_eq!(gone, ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
}

#[test]
fn what_does_not_fit_the_session_is_refused() {
    let mut all = sessions(10);
    let (id, _) = fetch(&mut all, &request(0, 0, &[(0, 0)]), 0, |_| data(5)).unwrap();
    let mut refused = |id, epoch, by_id| all.begin(&request(id, epoch, &[]), by_id, 0).unwrap_err();
    assert_eq!(refused(id + 1, 1, false), ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
    assert_eq!(refused(id, 2, false), ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    assert_eq!(refused(id, 1, true), ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
    let (first, asked) = all.begin(&request(id, 1, &[]), false, 0).unwrap();
    assert_eq!(
        all.begin(&request(id, 1, &[]), false, 0).unwrap_err(),
        ErrorCode::INVALID_FETCH_SESSION_EPOCH
    );
    all.begin(&request(id, 2, &[]), false, 0).unwrap();
    let answer = asked.into_iter().map(|asked| (asked, data(5))).collect();
    let overtaken = all.finish(first, answer, 0).unwrap_err();
    assert_eq!(overtaken, ErrorCode::INVALID_FETCH_SESSION_EPOCH);
    let (closed, told) = fetch(&mut all, &request(id, -1, &[(0, 0)]), 0, |_| data(5)).unwrap();
    assert_eq!((closed, told), (0, vec![0]));
    assert!(all.begin(&request(id, 3, &[]), false, 0).is_err(), "closed");
    let (old, _) = fetch(&mut all, &request(0, 0, &[(0, 0)]), 0, |_| data(5)).unwrap();
    let (new, _) = fetch(&mut all, &request(old, 0, &[(0, 0)]), 0, |_| data(5)).unwrap();
    assert!(new != old && all.begin(&request(old, 1, &[]), false, 0).is_err(), "made anew");
    all.clear();
    assert!(all.begin(&request(new, 1, &[]), false, 0).is_err());
}

#[test]
fn who_had_records_is_answered_last_the_next_time() {
    let mut all = sessions(10);
    let three = request(0, 0, &[(0, 0), (1, 0), (2, 0)]);
    let (id, _) = fetch(&mut all, &three, 0, |_| data(5)).unwrap();
    let mut order = |epoch, full: i32| {
        let mut asked = Vec::new();
        let data = |partition| {
            asked.push(partition);
            if partition == full { with_records(5) } else { data(5) }
        };
        assert_eq!(fetch(&mut all, &request(id, epoch, &[]), 0, data).unwrap().1, [full]);
        asked
    };
    assert_eq!(order(1, 0), [0, 1, 2]);
    assert_eq!(order(2, 1), [1, 2, 0]);
    assert_eq!(order(3, 1), [2, 0, 1]);
}

#[test]
fn room_is_made_in_place_of_the_idle_and_of_the_small_that_are_not_new() {
    let mut all = sessions(2);
    let open = |all: &mut FetchSessions, partitions: usize, now| {
        let partitions: Vec<_> = (0..partitions as i32).map(|p| (p, 0)).collect();
        fetch(all, &request(0, 0, &partitions), now, |_| data(0)).unwrap().0
    };
    let used = |all: &mut FetchSessions, id, epoch, now| {
        fetch(all, &request(id, epoch, &[]), now, |_| data(0)).is_ok()
    };
    let small = open(&mut all, 1, 0);
    let large = open(&mut all, 3, 0);
    assert_eq!(open(&mut all, 9, 0), 0, "both are new");
    assert!(used(&mut all, small, 1, EVICTION_MS) && used(&mut all, large, 1, EVICTION_MS));
    assert_eq!(open(&mut all, 9, EVICTION_MS), 0, "still new");
    let later = EVICTION_MS + 1;
    assert!(used(&mut all, small, 2, later) && used(&mut all, large, 2, later));
    assert_eq!(open(&mut all, 1, later), 0, "not larger than the smallest");
    let larger = open(&mut all, 2, later);
    assert!(larger > 0 && !used(&mut all, small, 3, later));
    assert!(used(&mut all, large, 3, later));
    let idle = later + EVICTION_MS + 1;
    assert!(used(&mut all, large, 4, idle));
    assert!(open(&mut all, 1, idle) > 0, "in place of the idle one, whatever its size");
    assert!(used(&mut all, large, 5, idle) && !used(&mut all, larger, 1, idle));
    assert_eq!(open(&mut sessions(0), 1, 0), 0);
}

#[test]
fn epochs_begin_again_at_1() {
    assert_eq!([next_epoch(0), next_epoch(7), next_epoch(i32::MAX)], [1, 8, 1]);
}

/// A client that does as it should knows of each of its partitions what a full answer would tell.
#[test]
fn random_clients_know_what_a_full_answer_would_tell() {
    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut all = sessions(1);
        let mut truth = [0_i64; 6];
        let mut mine: BTreeMap<i32, i64> = BTreeMap::new();
        let (mut id, mut epoch) = (0, 0);
        for now in 0..60 {
            truth[rng.usize(0..6)] += rng.i64(0..3);
            let (mut added, mut forgotten) = (Vec::new(), Vec::new());
            for partition in 0..6 {
                match (mine.contains_key(&partition), rng.u8(0..6)) {
                    (true, 0) => forgotten.push(partition),
                    (false, 0..3) => added.push((partition, 0)),
                    _ => {}
                }
            }
            mine.retain(|partition, _| !forgotten.contains(partition));
            mine.extend(added.iter().map(|&(partition, _)| (partition, -1)));
            if epoch == 0 {
                added = mine.keys().map(|&partition| (partition, 0)).collect();
                forgotten.clear();
            }
            if rng.u8(0..15) == 0 {
                all.clear();
            }
            let request = FetchRequest {
                forgotten_topics_data: forgetting(id, epoch, &forgotten).forgotten_topics_data,
                ..request(id, epoch, &added)
            };
            let answer = |partition: i32| data(truth[partition as usize]);
            match fetch(&mut all, &request, now, answer) {
                Ok((session, told)) => {
                    assert!(
                        told.iter().all(|partition| mine.contains_key(partition)),
                        "seed {seed}"
                    );
                    mine.extend(told.into_iter().map(|p| (p, truth[p as usize])));
                    (id, epoch) = if session == 0 { (0, 0) } else { (session, epoch + 1) };
                    for (&partition, &known) in &mine {
                        assert_eq!(known, truth[partition as usize], "seed {seed}");
                    }
                }
                Err(code) => {
                    assert_eq!(code, ErrorCode::FETCH_SESSION_ID_NOT_FOUND, "seed {seed}");
                    (id, epoch) = (0, 0);
                }
            }
        }
    }
}
