//! Writes into the topics as long as there are faults, lets them grow, and says when the group has come to the end.

use std::time::Duration;

use milena::{Clock, TopicPartition};

use super::CATCHES_UP;
use super::ledger::Ledger;
use super::setting::{Setting, TOPICS};
use crate::harness::{Client, SimClock};
use crate::history::now;

const MS: fn(u64) -> Duration = Duration::from_millis;
/// How far ahead of the group is written.
const MOST_UNREAD: i64 = 300;

/// See the module.
pub(super) async fn write(client: Client, setting: Setting, ledger: Ledger) {
    let mut dice = fastrand::Rng::with_seed(client.seed ^ 0xA0_7408);
    let mut writer = client.cluster.writer();
    let mut next_value = 0_u64;
    let mut grows_at =
        setting.grows.then(|| MS(dice.u64(0..setting.heals_at.as_millis() as u64 + 500)));
    while now() < client.heals_at {
        tokio::time::sleep(MS(dice.u64(0..setting.longest_pause))).await;
        if unread(&client, &ledger) > MOST_UNREAD {
            continue;
        }
        if grows_at.is_some_and(|at| at <= now()) && grow(&client, &mut dice) {
            grows_at = None;
        }
        // The cluster's own clock is no part of the simulation.
        writer.set_time(SimClock.now_millis());
        let topic = dice.choice(TOPICS).expect("a topic");
        let partition = dice.usize(0..client.cluster.partitions(topic).expect("a topic")) as i32;
        let values = next_value..next_value + dice.u64(1..=setting.longest_batch);
        let records = values.clone().map(|value| ("", value.to_be_bytes()));
        // Without a leader it is refused.
        if let Ok(base) = writer.write(topic, partition, records) {
            let count = values.end - values.start;
            client.history.journal.note(format_args!("{count} to {topic}-{partition} at {base}"));
        }
        next_value = values.end;
    }
    client.healed().await;
    if grows_at.is_some() {
        assert!(grow(&client, &mut dice), "all nodes run");
    }
    let late = now() + setting.recovery();
    while let Some(behind) = behind(&client, &ledger) {
        if now() > late {
            client.history.broken(CATCHES_UP, behind);
            break;
        }
        tokio::time::sleep(MS(10)).await;
    }
    client.history.journal.note("it is over");
    ledger.end();
}

/// It takes as many nodes as there are replicas.
fn grow(client: &Client, dice: &mut fastrand::Rng) -> bool {
    let topic = dice.choice(TOPICS).expect("a topic");
    let count = client.cluster.partitions(topic).expect("a topic") + dice.usize(1..=2);
    let grown = client.cluster.add_partitions(topic, count).is_ok();
    client.history.journal.note(format_args!("{topic} grows to {count} partitions: {grown}"));
    grown
}

/// All partitions, and where they end.
pub(super) fn ends(cluster: &milena::broker::Cluster) -> Vec<(TopicPartition, i64)> {
    let of_topic = |topic: &'static str| {
        let count = cluster.partitions(topic).expect("a topic") as i32;
        (0..count).map(move |partition| {
            let end = cluster.offsets(topic, partition).expect("a partition").end;
            (TopicPartition::new(topic, partition), end)
        })
    };
    TOPICS.into_iter().flat_map(of_topic).collect()
}

/// How many records are not committed.
fn unread(client: &Client, ledger: &Ledger) -> i64 {
    let stored = ledger.stored();
    let unread = |(partition, end): (TopicPartition, i64)| {
        end - stored.get(&partition).copied().unwrap_or_default()
    };
    ends(&client.cluster).into_iter().map(unread).sum()
}

/// A partition that does not have one owner, or whose end its owner or the group's offset is not at.
fn behind(client: &Client, ledger: &Ledger) -> Option<String> {
    let (views, stored) = (ledger.views(), ledger.stored());
    ends(&client.cluster).into_iter().find_map(|(partition, end)| {
        let owners: Vec<_> = views
            .iter()
            .filter_map(|(who, view)| Some((who.to_string(), *view.get(&partition)?)))
            .collect();
        let committed = stored.get(&partition).copied();
        let read = matches!(owners[..], [(_, Some(position))] if position == end);
        // What has no records needs no commit.
        let done = read && committed.unwrap_or_default() == end;
        (!done).then(|| {
            format!("{partition} of {owners:?}, committed {committed:?}, its end is {end}")
        })
    })
}
