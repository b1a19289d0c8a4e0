//! Which seeds run, on all processors, and what is told about one that fails: its plan, cut down to the faults that
//! matter, and how to run it again.
//!
//! | variable | what it does |
//! |---|---|
//! | `MILENA_SIM_SEEDS=200` | that many seeds, from 0; `1000..3000` is a range |
//! | `MILENA_SIM_SEED=17` | this seed alone, with its journal printed; `RUST_LOG` works too |
//! | `MILENA_SIM_KEEP=0,3` | only these faults of the plan |

use std::env;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::faults::Plan;
use crate::invariants::{Tally, Violation};

/// How many seeds `cargo test` runs of each scenario.
const DEFAULT: u64 = 100;
/// Failing seeds that are gathered before the sweep ends.
const FAILURES: usize = 5;
/// Real time after which a run does not get anywhere; it takes a second or so.
const SPINS: Duration = Duration::from_secs(120);
const DOES_NOT_SPIN: &str = "I15 nothing spins";

/// A workload, and what can happen to it.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// The name of its test.
    pub(crate) name: &'static str,
    /// What a seed means: its settings, to be read, and its plan.
    pub(crate) describe: fn(seed: u64) -> (String, Plan),
    pub(crate) run: fn(seed: u64, Plan) -> Outcome,
}

/// What a seed came to.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<Violation>,
    pub(crate) tally: Tally,
    pub(crate) journal: Vec<String>,
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn seeds() -> Range<u64> {
    let number = |text: &str| text.trim().parse().expect("MILENA_SIM_SEEDS is a number or a range");
    match variable("MILENA_SIM_SEEDS") {
        None => 0..DEFAULT,
        Some(text) => match text.split_once("..") {
            Some((first, end)) => number(first)..number(end),
            None => 0..number(&text),
        },
    }
}

/// Runs a scenario under every seed.
///
/// # Panics
/// If an invariant is broken.
pub(crate) fn sweep(scenario: Scenario) {
    if let Some(seed) = variable("MILENA_SIM_SEED") {
        return replay(scenario, seed.parse().expect("MILENA_SIM_SEED is a number"));
    }
    let (name, seeds) = (scenario.name, seeds());
    let next = AtomicU64::new(seeds.start);
    let (failures, tally) = (Mutex::new(Vec::new()), Mutex::new(Tally::new()));
    let work = || {
        while failures.lock().len() < FAILURES {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let outcome = scenario.attempt(seed, (scenario.describe)(seed).1);
            if !outcome.violations.is_empty() {
                failures.lock().push((seed, outcome.violations));
            }
            let mut sum = tally.lock();
            for (what, count) in outcome.tally {
                *sum.entry(what).or_default() += count;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner();
    failures.sort_by_key(|&(seed, _)| seed);
    if let Some((seed, violations)) = failures.first() {
        let numbers: Vec<u64> = failures.iter().map(|&(seed, _)| seed).collect();
        panic!("seeds {numbers:?} failed\n{}", scenario.report(*seed, violations));
    }
    let tally = tally.into_inner();
    println!("{name}: seeds {seeds:?} keep every invariant\n{tally:#?}");
    // A few seeds may miss something by chance.
    let idle = tally.values().any(|&count| count == 0);
    assert!(seeds.end - seeds.start < DEFAULT || !idle, "this tests too little: {tally:#?}");
}

fn replay(scenario: Scenario, seed: u64) {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .try_init();
    let (setting, mut plan) = (scenario.describe)(seed);
    if let Some(text) = variable("MILENA_SIM_KEEP") {
        let numbers = text.split(',').map(|n| n.trim().parse().expect("numbers of faults"));
        plan = plan.keep(&numbers.collect::<Vec<_>>());
    }
    println!("{}, seed {seed}\n{setting}\n{plan}", scenario.name);
    let Outcome { violations, journal, .. } = (scenario.run)(seed, plan);
    println!("{}", journal.join("\n"));
    assert!(violations.is_empty(), "seed {seed}:\n{}", list(&violations));
}

fn list(violations: &[Violation]) -> String {
    let line = |(invariant, detail): &Violation| format!("  {invariant}: {detail}");
    violations.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl Scenario {
    /// Runs a seed on a thread of its own: one that panics or spins has broken something too.
    fn attempt(self, seed: u64, plan: Plan) -> Outcome {
        let (told, outcome) = mpsc::channel();
        thread::spawn(move || told.send((self.run)(seed, plan)));
        let violation = match outcome.recv_timeout(SPINS) {
            Ok(outcome) => return outcome,
            Err(mpsc::RecvTimeoutError::Disconnected) => ("I16 nothing panics", "see above"),
            Err(mpsc::RecvTimeoutError::Timeout) => (DOES_NOT_SPIN, "virtual time stands still"),
        };
        let violations = vec![(violation.0, violation.1.to_owned())];
        Outcome { violations, ..Outcome::default() }
    }

    /// The faults that are needed for any violation: one after the other is left out, as long as something stays
    /// broken.
    fn shrink(self, seed: u64, plan: &Plan) -> Plan {
        let mut kept = plan.clone();
        for number in plan.numbers() {
            let mut fewer = kept.numbers();
            fewer.retain(|&other| other != number);
            let fewer = kept.clone().keep(&fewer);
            if !self.attempt(seed, fewer.clone()).violations.is_empty() {
                kept = fewer;
            }
        }
        kept
    }

    fn report(self, seed: u64, violations: &[Violation]) -> String {
        let (setting, plan) = (self.describe)(seed);
        let again = format!("cargo test --test sim {} -- --nocapture", self.name);
        let mut report = format!(
            "seed {seed}: {setting}\nplan:\n{plan}\nbreaks:\n{}\n\
             again: MILENA_SIM_SEED={seed} {again}",
            list(violations)
        );
        // A run that spins takes too long to be tried often.
        if violations.iter().all(|&(invariant, _)| invariant != DOES_NOT_SPIN) {
            let few = self.shrink(seed, &plan);
            let numbers: Vec<_> = few.numbers().iter().map(ToString::to_string).collect();
            let numbers = numbers.join(",");
            let broken = self.attempt(seed, few.clone()).violations;
            report += &format!(
                "\nalready these faults:\n{few}\nbreak:\n{}\n\
                 again: MILENA_SIM_SEED={seed} MILENA_SIM_KEEP={numbers} {again}",
                list(&broken)
            );
        }
        report
    }
}
