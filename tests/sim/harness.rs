//! The simulated world: a cluster whose nodes are hosts of a simulated network, clients on hosts of their own, virtual
//! time, and a plan of faults that is carried out between the ticks. Everything follows from the seed.
//!
//! All hosts run on one thread, each on its own paused clock; the network moves in ticks of a millisecond. What would
//! make two runs of a seed differ is kept out: the wall clock, the thread's own random numbers, and the random choice of
//! `tokio::select!` (the crate's selects are `biased`).

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt;
use milena::broker::{Cluster, ClusterBuilder};
use milena::{BrokerId, Clock};
use tokio::sync::watch;
use turmoil::net::TcpListener;

use crate::faults::{Entry, Fault, Plan};
use crate::history::{History, Journal, now};
use crate::wire::Wire;

/// What all simulations begin at: 2026-01-01.
const START_MS: i64 = 1_767_225_600_000;
const PORT: u16 = 9092;
const TICK: Duration = Duration::from_millis(1);
/// How long a message may take on a healthy network.
const LATENCY: Duration = Duration::from_millis(20);

/// The records' clock: virtual.
#[derive(Debug)]
pub(crate) struct SimClock;

impl Clock for SimClock {
    fn now_millis(&self) -> i64 {
        START_MS + i64::try_from(now().as_millis()).expect("a short run")
    }
}

/// What a client's workload gets.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) seed: u64,
    pub(crate) cluster: Cluster,
    pub(crate) wire: Wire,
    pub(crate) history: History,
    pub(crate) heals_at: Duration,
}

impl Client {
    /// Sleeps until the last fault is over.
    pub(crate) async fn healed(&self) {
        tokio::time::sleep(self.heals_at.saturating_sub(now()) + TICK).await;
    }
}

/// See the module.
pub(crate) struct World {
    sim: turmoil::Sim<'static>,
    client: Client,
    plan: Plan,
    clients: Vec<String>,
    /// Whether each node listens.
    up: BTreeMap<BrokerId, watch::Sender<bool>>,
}

/// A run that is over, for the invariants to look at.
pub(crate) struct Run {
    pub(crate) cluster: Cluster,
    pub(crate) wire: Wire,
    pub(crate) history: History,
    /// Why it did not come to its end, if it did not.
    pub(crate) stuck: Option<String>,
}

fn host(node: BrokerId) -> String {
    format!("broker-{node}")
}

/// Awaits what never waits here.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("ready at once")
}

impl World {
    pub(crate) fn new(
        seed: u64,
        nodes: usize,
        build: impl FnOnce(ClusterBuilder) -> ClusterBuilder,
        plan: Plan,
    ) -> Self {
        // Back-offs and the like draw from the thread's own generator.
        fastrand::seed(seed);
        let ids: Vec<BrokerId> = (1..).map(BrokerId).take(nodes).collect();
        let mut builder =
            Cluster::builder().in_memory().nodes(nodes).seed(seed).start_time_ms(START_MS);
        for &id in &ids {
            builder = builder.advertise(id, host(id), PORT);
        }
        let cluster = at_once(build(builder).start()).expect("a cluster");
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(86_400))
            .min_message_latency(TICK)
            .max_message_latency(LATENCY)
            .tcp_capacity(1024)
            .build();
        let journal = Journal::default();
        let up = ids.iter().map(|&id| (id, listen(&mut sim, &cluster, id))).collect();
        let client = Client {
            seed,
            cluster,
            wire: Wire::new(journal.clone()),
            history: History::new(journal),
            heals_at: plan.heals_at,
        };
        Self { sim, client, plan, clients: Vec::new(), up }
    }

    /// Adds a client on a host of its own. The run lasts until the workloads of all clients have ended.
    pub(crate) fn client<F>(&mut self, name: &str, workload: impl FnOnce(Client) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let workload = workload(self.client.clone());
        self.sim.client(name, workload.map(Ok));
        self.clients.push(name.to_owned());
    }

    /// Runs until all clients have ended, at most for `limit` of virtual time.
    pub(crate) fn run(self, limit: Duration) -> Run {
        self.run_watched(limit, |_, _| {})
    }

    /// The same, with `watch` looking at the cluster after each tick.
    pub(crate) fn run_watched(
        mut self,
        limit: Duration,
        mut watch: impl FnMut(&Cluster, Duration),
    ) -> Run {
        let mut agenda = Agenda::new(&self.plan);
        let mut healed = false;
        let stuck = loop {
            let time = self.sim.elapsed();
            while let Some((begins, entry)) = agenda.next(time) {
                self.carry_out(begins, &entry);
            }
            if !healed && time >= self.plan.heals_at {
                healed = true;
                self.heal();
            }
            let step = self.sim.step();
            watch(&self.client.cluster, self.sim.elapsed());
            match step {
                Ok(true) => break None,
                Ok(false) if time > limit => break Some(format!("not at its end after {limit:?}")),
                Ok(false) => {}
                Err(error) => break Some(error.to_string()),
            }
        };
        let Client { cluster, wire, history, .. } = self.client;
        Run { cluster, wire, history, stuck }
    }

    fn note(&self, what: &str) {
        self.client.history.journal.note_at(self.sim.elapsed(), what);
    }

    fn carry_out(&mut self, begins: bool, entry: &Entry) {
        self.note(&format!("{} {:?}", if begins { "fault:" } else { "over: " }, entry.fault));
        match (&entry.fault, begins) {
            (Fault::Partition(node), true) => self.link(*node, |s, c, n| s.partition(c, n)),
            (Fault::PartitionTo(node), true) => {
                self.link(*node, |s, c, n| s.partition_oneway(c, n));
            }
            (Fault::PartitionFrom(node), true) => {
                self.link(*node, |s, c, n| s.partition_oneway(n, c));
            }
            (Fault::PartitionTo(node), false) => self.link(*node, |s, c, n| s.repair_oneway(c, n)),
            (Fault::PartitionFrom(node), false) => {
                self.link(*node, |s, c, n| s.repair_oneway(n, c));
            }
            (Fault::Partition(node), false) => self.link(*node, |s, c, n| s.repair(c, n)),
            (Fault::Hold(node), true) => self.link(*node, |s, c, n| s.hold(c, n)),
            (Fault::Hold(node), false) => self.link(*node, |s, c, n| s.release(c, n)),
            (Fault::Slow(node, most), _) => {
                let most = if begins { *most } else { LATENCY };
                self.link(*node, |s, c, n| s.set_link_max_message_latency(c, n, most));
            }
            (Fault::Cut(node, after), _) => self.client.wire.cut(&host(*node), *after),
            (Fault::Stop(node), true) => self.stop(*node),
            (Fault::Stop(node), false) => self.start(*node),
            (Fault::Crash(node), true) => {
                self.link(*node, |s, c, n| s.partition(c, n));
                self.stop(*node);
            }
            (Fault::Crash(node), false) => {
                self.link(*node, |s, c, n| s.repair(c, n));
                self.start(*node);
            }
            (Fault::MoveLeader(topic, partition, node), _) => {
                // Refused if the node cannot lead now, which is as well.
                let _ = self.client.cluster.move_leader(topic, *partition, *node);
            }
            (Fault::Truncate(topic, partition, back), _) => {
                let cluster = &self.client.cluster;
                let end = cluster.offsets(topic, *partition).expect("a partition").end;
                cluster.elect_uncleanly(topic, *partition, end - back).expect("a partition");
            }
            (Fault::DeleteRecords(topic, partition, count), _) => {
                let cluster = &self.client.cluster;
                let start = cluster.offsets(topic, *partition).expect("a partition").start;
                cluster.delete_records(topic, *partition, start + count).expect("a partition");
            }
            (Fault::Compact(topic), _) => self.client.cluster.compact(topic).expect("a topic"),
            (Fault::EvictSessions(node), _) => {
                self.client.cluster.evict_fetch_sessions(*node).expect("a node");
            }
            (Fault::HoldReplica(topic, partition, node), true) => {
                let cluster = &self.client.cluster;
                cluster.hold_replica(topic, *partition, *node).expect("a partition");
            }
            (Fault::HoldReplica(topic, partition, _), false) => {
                let cluster = &self.client.cluster;
                cluster.release_replicas(topic, *partition).expect("a partition");
            }
            (Fault::Isolate(client), begins) => self.isolate(*client, begins),
            (Fault::MoveCoordinator(group, node), _) => {
                // Refused if the node does not run.
                let _ = self.client.cluster.move_coordinator(group, *node);
            }
            (Fault::MoveTransactionCoordinator(client, node), _) => {
                let id = format!("t-{client}");
                let _ = self.client.cluster.move_transaction_coordinator(&id, *node);
            }
            (Fault::Broker(fault), _) => self.client.cluster.inject(fault.clone()),
        }
    }

    /// Does something to the link of each client with a node.
    fn link(&mut self, node: BrokerId, change: impl Fn(&turmoil::Sim<'_>, &str, &str)) {
        for client in &self.clients {
            change(&self.sim, client, &host(node));
        }
    }

    fn isolate(&self, client: usize, begins: bool) {
        let client = &self.clients[client];
        for node in self.up.keys().map(|&node| host(node)) {
            if begins {
                self.sim.partition(client.as_str(), node);
            } else {
                self.sim.repair(client.as_str(), node);
            }
        }
    }

    fn stop(&mut self, node: BrokerId) {
        at_once(self.client.cluster.stop_node(node)).expect("a node");
        self.up[&node].send_replace(false);
    }

    fn start(&mut self, node: BrokerId) {
        at_once(self.client.cluster.restart_node(node)).expect("a node");
        self.up[&node].send_replace(true);
    }

    /// Ends all that is still wrong.
    fn heal(&mut self) {
        self.note("healed");
        self.client.cluster.clear_faults();
        self.client.wire.clear_cuts();
        let nodes: Vec<BrokerId> = self.up.keys().copied().collect();
        for node in nodes {
            self.link(node, |sim, client, node| {
                sim.release(client, node);
                sim.set_link_max_message_latency(client, node, LATENCY);
            });
            self.start(node);
        }
    }
}

/// A host that listens while it is told to, and serves the node's connections.
fn listen(
    sim: &mut turmoil::Sim<'static>,
    cluster: &Cluster,
    node: BrokerId,
) -> watch::Sender<bool> {
    let (up, is_up) = watch::channel(true);
    let cluster = Rc::new(cluster.clone());
    sim.host(host(node), move || {
        let (cluster, mut is_up) = (Rc::clone(&cluster), is_up.clone());
        async move {
            while is_up.wait_for(|up| *up).await.is_ok() {
                let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
                loop {
                    tokio::select! {
                        biased;
                        _ = is_up.wait_for(|up| !up) => break,
                        accepted = listener.accept() => {
                            let (stream, _) = accepted?;
                            tokio::spawn(cluster.serve(node, stream));
                        }
                    }
                }
            }
            Ok(())
        }
    });
    up
}

/// The beginnings and ends of faults, in order of time.
struct Agenda {
    /// The last is the next.
    due: Vec<(Duration, bool, Entry)>,
}

impl Agenda {
    fn new(plan: &Plan) -> Self {
        let mut due = Vec::new();
        for (_, entry) in &plan.entries {
            due.push((entry.at, true, entry.clone()));
            if !entry.lasts.is_zero() {
                due.push((entry.at + entry.lasts, false, entry.clone()));
            }
        }
        due.sort_by_key(|&(at, ..)| at);
        due.reverse();
        Self { due }
    }

    fn next(&mut self, now: Duration) -> Option<(bool, Entry)> {
        let (_, begins, entry) = self.due.pop_if(|(at, ..)| *at <= now)?;
        Some((begins, entry))
    }
}
