//! Groups under faults: members that join and leave, crash, stall and come back, by both protocols and all assignors, while
//! the coordinator moves and requests of the group are lost, late or refused. Whatever is committed was processed; no two
//! members have a partition in one generation; and when the faults are over the group gets to the end of everything.
//!
//! | file | what it knows |
//! |---|---|
//! | `setting` | what a seed means |
//! | `member` | what a member does |
//! | `author` | what is written, and when the group is at the end |
//! | `ledger` | what was told, by members, the wire and the cluster |
//! | `check` | what must hold |

mod author;
mod check;
mod ledger;
mod member;
mod setting;

use std::collections::HashMap;
use std::time::Duration;

use milena::broker::{Cluster, TopicSpec};

use crate::faults::{Fault, Plan};
use crate::harness::World;
use crate::invariants::Violation;
use crate::seeds::{Outcome, Scenario, sweep};
use check::{Judge, Logs};
use ledger::Ledger;
use member::Member;
use setting::{GROUP, TOPICS, roll};

const STORED_IS_DONE: &str = "G1 each record before the committed offset was processed";
const NOTHING_SKIPPED: &str = "G1 each record was processed";
const ONE_OWNER: &str = "G2 in one generation a partition has one owner, who alone reads it";
const GOES_FORWARD: &str = "G3 a position goes forward, but for seeks and rebalances";
const STARTS_AT_COMMITTED: &str = "G3 an owner starts at what the group has committed";
const CATCHES_UP: &str = "G4 soon after the faults everything is assigned, read and committed";
const POLLS: &str = "G5 a poll fails only for now";
const CLOSES_IN_TIME: &str = "G6 a close ends in time";
const COMMITS_ARE_STORED: &str = "G7 a commit that succeeds is stored";
const COMMITS_RISE: &str = "G7 commits do not go back, but for seeks and rebalances";
const COMMITS_ITS_OWN: &str = "G8 a member commits what it has";
const NOTHING_MADE_UP: &str = "G9 what is handed out was written there";
const POLLS_IN_TIME: &str = "G10 who does not poll in time loses its partitions";
const COMES_TO_ITS_END: &str = "the run comes to its end";

/// How many violations of one invariant are told.
const FEW: usize = 3;

fn run(seed: u64, plan: Plan) -> Outcome {
    let (setting, _) = roll(seed);
    let moves = |(_, entry): &&(usize, _)| is_move(entry);
    let moves = plan.entries.iter().filter(moves).count();
    let mut world = World::new(seed, setting.nodes, |cluster| setting.cluster(cluster), plan);
    let mut ledger = None;
    for slot in 0..setting.members {
        world.client(&format!("member-{slot}"), |client| {
            let ledger = ledger.get_or_insert_with(|| Ledger::new(client.history.journal.clone()));
            let (cluster, heard) = (client.cluster.clone(), ledger.clone());
            client.wire.listen(move |header, body| heard.hear(&cluster, header, body));
            Member::new(client, setting.clone(), ledger.clone(), slot).live()
        });
    }
    let ledger = ledger.expect("members");
    world.client("author", |client| {
        for (topic, count) in TOPICS.into_iter().zip(setting.partitions) {
            let topic = TopicSpec::new(topic).partitions(count);
            client.cluster.create_topic(topic).expect("a topic");
        }
        author::write(client, setting.clone(), ledger.clone())
    });
    let limit = setting.heals_at + setting.recovery() + Duration::from_secs(30);
    let run = world.run_watched(limit, |cluster, at| ledger.watch(cluster, at));
    let logs = logs(&run.cluster);
    let mut judge = Judge::new(&setting, &logs);
    judge.judge(&ledger.events());
    let Judge { violations: judged, mut tally, .. } = judge;
    let mut violations: Vec<Violation> = run.history.take_broken();
    violations.extend(run.stuck.iter().map(|why| (COMES_TO_ITS_END, why.clone())));
    violations.extend(judged);
    // The first of a kind tell enough.
    let mut kinds: HashMap<&str, usize> = HashMap::new();
    violations.retain(|(kind, _)| {
        let seen = kinds.entry(kind).or_default();
        *seen += 1;
        *seen <= FEW
    });
    tally.insert("moves of the coordinator", moves);
    Outcome { violations, tally, journal: run.history.journal.lines() }
}

fn is_move(entry: &crate::faults::Entry) -> bool {
    matches!(&entry.fault, Fault::MoveCoordinator(group, _) if *group == GROUP)
}

fn logs(cluster: &Cluster) -> Logs {
    let value = |record: milena::broker::StoredRecord| {
        let value = record.value.expect("a value");
        u64::from_be_bytes(*value.first_chunk::<8>().expect("eight bytes"))
    };
    let log = |partition: milena::TopicPartition| {
        let records = cluster.records(&partition.topic, partition.partition);
        (partition, records.into_iter().map(value).collect())
    };
    author::ends(cluster).into_iter().map(|(partition, _)| log(partition)).collect()
}

const SCENARIO: Scenario = Scenario {
    name: "groups_through_faults",
    describe: |seed| {
        let (setting, plan) = roll(seed);
        (format!("{setting:?}"), plan)
    },
    run,
};

#[test]
fn groups_through_faults() {
    sweep(SCENARIO);
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in 0..6 {
        let journal = || run(seed, roll(seed).1).journal;
        let (one, two) = (journal(), journal());
        let differ = one.iter().zip(&two).position(|(one, two)| one != two);
        assert_eq!(differ.map(|at| (&one[at], &two[at])), None, "seed {seed}");
        assert_eq!(one.len(), two.len(), "seed {seed}");
        assert!(one.len() > 100, "seed {seed} does something: {}", one.len());
    }
}
