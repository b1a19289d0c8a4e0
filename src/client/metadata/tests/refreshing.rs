//! When metadata is fetched next and for which topics: by age, by request, for new topics and after
//! failures; and when the known brokers are given up.

use super::*;
use crate::client::metadata::refresh::{Refresh, Times};
use crate::time::Backoff;

const MS: fn(u64) -> Duration = Duration::from_millis;
/// The middle of the jitter.
const HALF: f64 = 0.5;

fn times() -> Times {
    Times {
        max_age: MS(300_000),
        max_idle: MS(300_000),
        backoff: Backoff::new(MS(100), MS(1000)),
        rebootstrap_trigger: MS(300_000),
    }
}

/// After a first fetch, at the time when the back-off is over.
fn fetched() -> (Refresh, Instant) {
    let now = Instant::now();
    let mut refresh = Refresh::new(times());
    let plan = refresh.begin(now);
    refresh.succeeded(&plan, true, true, now, HALF);
    (refresh, now)
}

#[test]
fn the_first_fetch_is_due_at_once_and_the_next_after_its_age() {
    let now = Instant::now();
    let mut refresh = Refresh::new(times());
    assert_eq!(refresh.due(now), Some(now));
    let plan = refresh.begin(now);
    assert_eq!(refresh.due(now), None);
    refresh.succeeded(&plan, true, true, now, HALF);
    assert_eq!(refresh.due(now), Some(now + MS(300_000)));
}

#[test]
fn a_request_is_served_after_the_back_off() {
    let (mut refresh, now) = fetched();
    refresh.request();
    assert_eq!(refresh.due(now), Some(now + MS(100)));
    assert_eq!(refresh.due(now + MS(500)), Some(now + MS(500)));
}

#[test]
fn a_request_during_a_fetch_is_another_fetch() {
    let (mut refresh, now) = fetched();
    refresh.request();
    let plan = refresh.begin(now);
    refresh.request();
    refresh.succeeded(&plan, true, true, now, HALF);
    assert_eq!(refresh.due(now), Some(now + MS(100)));
}

#[test]
fn a_new_topic_does_not_wait_and_is_asked_for_alone() {
    let (mut refresh, now) = fetched();
    refresh.track("a", now);
    assert_eq!(refresh.due(now), Some(now));
    let plan = refresh.begin(now);
    assert_eq!(plan.topics.keys().map(|name| &**name).collect::<Vec<_>>(), ["a"]);
    // One that comes while a fetch runs does not wait either.
    refresh.track("b", now);
    refresh.succeeded(&plan, true, true, now, HALF);
    assert_eq!(refresh.due(now), Some(now));
    let plan = refresh.begin(now);
    assert_eq!(plan.topics.keys().map(|name| &**name).collect::<Vec<_>>(), ["b"]);
    refresh.succeeded(&plan, true, true, now, HALF);
    // A fetch of a part does not make the rest younger.
    let due = refresh.due(now).unwrap();
    assert_eq!(due, now + MS(300_000));
    assert_eq!(refresh.begin(due - MS(1)).topics.len(), 2);
}

#[test]
fn failures_back_off_and_a_success_starts_anew() {
    let (mut refresh, mut now) = fetched();
    refresh.request();
    let mut waits = Vec::new();
    for _ in 0..6 {
        let plan = refresh.begin(now);
        refresh.failed(&plan, now, now, HALF);
        let due = refresh.due(now).unwrap();
        waits.push((due - now).as_millis());
        now = due;
    }
    assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    // New topics do not help a cluster that cannot be reached.
    let plan = refresh.begin(now);
    refresh.failed(&plan, now, now, HALF);
    refresh.track("a", now);
    assert_eq!(refresh.due(now), Some(now + MS(1000)));
    let plan = refresh.begin(now);
    assert_eq!(plan.topics.len(), 1);
    refresh.succeeded(&plan, true, true, now, HALF);
    refresh.request();
    assert_eq!(refresh.due(now), Some(now + MS(100)));
}

#[test]
fn what_is_left_open_is_asked_for_again_ever_more_slowly() {
    let (mut refresh, mut now) = fetched();
    refresh.track("a", now);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let plan = refresh.begin(now);
        refresh.succeeded(&plan, false, waits.is_empty(), now, HALF);
        let due = refresh.due(now).unwrap();
        waits.push((due - now).as_millis());
        now = due;
    }
    assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
    let plan = refresh.begin(now);
    refresh.succeeded(&plan, true, true, now, HALF);
    assert_eq!(refresh.due(now), Some(now + MS(300_000)));
}

#[test]
fn topics_that_are_not_used_are_forgotten() {
    let (mut refresh, start) = fetched();
    refresh.track("used", start);
    refresh.track("asked", start);
    refresh.track("idle", start);
    let plan = refresh.begin(start);
    refresh.succeeded(&plan, true, true, start, HALF);
    plan.topics["used"].note();
    refresh.track("asked", start + MS(200_000));
    let now = start + MS(300_000);
    let plan = refresh.begin(now);
    assert_eq!(plan.topics.keys().map(|name| &**name).collect::<Vec<_>>(), ["asked", "used"]);
    assert!(!refresh.is_tracked("idle"));
    refresh.succeeded(&plan, true, true, now, HALF);
    // A use counts once.
    let plan = refresh.begin(now + MS(300_000));
    assert!(plan.topics.is_empty());
}

#[test]
fn all_topics_come_and_go_with_the_cluster() {
    let (mut refresh, start) = fetched();
    refresh.track("named", start);
    refresh.follow_all(true);
    let plan = refresh.begin(start);
    assert!(plan.all);
    let found = refresh.discovered(["a", "b"].into_iter(), start);
    assert_eq!(found.keys().map(|name| &**name).collect::<Vec<_>>(), ["a", "b", "named"]);
    refresh.succeeded(&plan, true, true, start, HALF);
    // They do not have to be used to stay, but they have to exist.
    let now = start + MS(300_000);
    refresh.track("named", now);
    assert!(refresh.begin(now).all && refresh.is_tracked("a"));
    refresh.discovered(["b"].into_iter(), now);
    assert!(!refresh.is_tracked("a"));
    // What somebody has named stays without the others.
    refresh.track("b", now);
    refresh.discovered(["c"].into_iter(), now);
    refresh.follow_all(false);
    assert!(refresh.is_tracked("b") && refresh.is_tracked("named"));
    assert!(!refresh.is_tracked("c"));
}

#[test]
fn hope_ends_after_failing_for_long_enough() {
    let (mut refresh, start) = fetched();
    let mut now = start + MS(1000);
    for _ in 0..3 {
        assert!(!refresh.is_hopeless(now));
        let plan = refresh.begin(now);
        refresh.failed(&plan, now, now + MS(100_000), HALF);
        now += MS(100_000);
    }
    // Counted from the beginning of the first fetch that failed.
    assert!(refresh.is_hopeless(now));
    refresh.restarted(now);
    assert!(!refresh.is_hopeless(now + MS(299_999)));
    assert!(refresh.is_hopeless(now + MS(300_000)));
    let plan = refresh.begin(now);
    refresh.succeeded(&plan, true, true, now, HALF);
    assert!(!refresh.is_hopeless(now + MS(900_000)));
}

#[test]
fn an_endless_age_is_never_reached() {
    let now = Instant::now();
    let mut refresh = Refresh::new(Times { max_age: Duration::MAX, ..times() });
    let plan = refresh.begin(now);
    refresh.succeeded(&plan, true, true, now, HALF);
    assert_eq!(refresh.due(now), None);
    refresh.request();
    assert!(refresh.due(now).is_some());
}
