//! Producing through disconnects, fail-overs and refusals: nothing acknowledged is lost or doubled, each partition keeps
//! its order, each send ends once and in time, and when the faults are over everything goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use milena::broker::TopicSpec;
use milena::{BrokerId, Delivery, Header, Producer, ProducerConfig, ProducerRecord};
use tokio::task::JoinSet;

use crate::faults::{self, Plan, Scope};
use crate::harness::{Client, SimClock, World};
use crate::history::{Content, Waits, now};
use crate::invariants::{self, ENDS_IN_TIME, MEMORY_IS_BACK, RECOVERS, Terms};
use crate::seeds::{Outcome, Scenario, sweep};
use crate::settings::{connections, ms, one_of};

const MS: fn(u64) -> Duration = Duration::from_millis;
const TOPIC: &str = "t";

/// What a seed decides besides its faults.
#[derive(Debug, Clone)]
struct Setting {
    nodes: usize,
    partitions: i32,
    min_insync_replicas: usize,
    /// `max.message.bytes` of the topic.
    largest_batch: usize,
    idempotent: bool,
    max_in_flight: usize,
    linger: Duration,
    batch_size: usize,
    buffer_memory: usize,
    compression: &'static str,
    request_timeout: Duration,
    delivery_timeout: Duration,
    max_block: Duration,
    retry_backoff: Duration,
    backoff_max: Duration,
    retries: u32,
    metadata_max_age: Duration,
    max_idle: Duration,
    senders: usize,
    largest_value: usize,
    longest_pause: u64,
    /// When the producer is closed while faults go on, if it is; another one follows it.
    closes_at: Option<Duration>,
    heals_at: Duration,
}

impl Setting {
    fn roll(dice: &mut fastrand::Rng) -> Self {
        let batch_size = one_of(dice, &[200, 1_000, 16_384]);
        let linger = MS(one_of(dice, &[0, 1, 5, 50]));
        let slowest = one_of(dice, &[800, 2_500]);
        let request_timeout = MS(dice.u64(500..slowest));
        let spare = one_of(dice, &[2_000, 8_000, 60_000]);
        let delivery_timeout = linger + request_timeout + MS(dice.u64(0..spare));
        let retry_backoff = MS(dice.u64(20..150));
        let heals_at = MS(dice.u64(2_000..9_000));
        Self {
            nodes: dice.usize(1..=3),
            partitions: dice.i32(1..=4),
            min_insync_replicas: dice.usize(1..=2),
            largest_batch: one_of(dice, &[batch_size / 2, 1 << 20, 1 << 20, 1 << 20]).max(1_700),
            idempotent: dice.u8(0..5) > 0,
            max_in_flight: dice.usize(1..=5),
            linger,
            batch_size,
            buffer_memory: one_of(dice, &[batch_size * 6, 1 << 20]),
            compression: one_of(dice, &["none", "none", "gzip", "snappy", "lz4", "zstd"]),
            request_timeout,
            delivery_timeout,
            max_block: MS(dice.u64(100..5_000)),
            retry_backoff,
            backoff_max: retry_backoff * dice.u32(1..10),
            retries: one_of(dice, &[i32::MAX as u32, i32::MAX as u32, i32::MAX as u32, 2]),
            metadata_max_age: MS(one_of(dice, &[300_000, 300_000, 3_000, 200])),
            max_idle: MS(one_of(dice, &[540_000, 540_000, 300])),
            senders: dice.usize(1..=3),
            largest_value: one_of(dice, &[50, 300, 1_500]),
            longest_pause: one_of(dice, &[20, 100, 400]),
            closes_at: (dice.u8(0..6) == 0).then(|| MS(dice.u64(1_000..2_000))),
            heals_at,
        }
    }

    fn config(&self) -> ProducerConfig {
        let common =
            connections(self.nodes, self.request_timeout, self.retry_backoff, self.backoff_max);
        ProducerConfig::builder()
            .properties(common)
            .properties([
                ("client.id", "sim".to_owned()),
                ("enable.idempotence", self.idempotent.to_string()),
                ("acks", "all".to_owned()),
                ("max.in.flight.requests.per.connection", self.max_in_flight.to_string()),
                ("linger.ms", ms(self.linger)),
                ("batch.size", self.batch_size.to_string()),
                ("buffer.memory", self.buffer_memory.to_string()),
                ("compression.type", self.compression.to_owned()),
                ("request.timeout.ms", ms(self.request_timeout)),
                ("delivery.timeout.ms", ms(self.delivery_timeout)),
                ("max.block.ms", ms(self.max_block)),
                ("retries", self.retries.to_string()),
                ("metadata.max.age.ms", ms(self.metadata_max_age)),
                ("connections.max.idle.ms", ms(self.max_idle)),
            ])
            .build()
            .expect("a sound configuration")
    }

    /// How long after the faults a record that is sent again and again may take to get through: a request that waits
    /// for nothing, another connection, metadata, another request, and the back-offs in between.
    fn recovery(&self) -> Duration {
        self.request_timeout * 3 + self.backoff_max * 6 + MS(1_000)
    }

    fn terms(&self) -> Terms {
        Terms {
            topic: TOPIC,
            idempotent: self.idempotent,
            one_in_flight: self.max_in_flight == 1,
            delivery_timeout: self.delivery_timeout,
            retry_backoff: self.retry_backoff,
            few_retries: self.retries < 10,
            nodes: self.nodes,
        }
    }
}

/// What a seed means.
fn roll(seed: u64) -> (Setting, Plan) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let setting = Setting::roll(&mut dice.fork());
    let scope = Scope {
        nodes: (1..).map(BrokerId).take(setting.nodes).collect(),
        topic: TOPIC,
        partitions: setting.partitions,
        request_timeout: setting.request_timeout,
        members: 1,
        group: "",
    };
    let kinds = [faults::NETWORK, faults::NODES, faults::PRODUCER].concat();
    let plan = Plan::roll(&mut dice.fork(), &scope, &kinds, 16, setting.heals_at);
    (setting, plan)
}

fn run(seed: u64, plan: Plan) -> Outcome {
    let (setting, _) = roll(seed);
    let mut world = World::new(seed, setting.nodes, |cluster| cluster, plan);
    world.client("client", |client| {
        let topic = TopicSpec::new(TOPIC)
            .partitions(setting.partitions as usize)
            .config("min.insync.replicas", setting.min_insync_replicas.to_string())
            .config("max.message.bytes", setting.largest_batch.to_string());
        client.cluster.create_topic(topic).expect("a topic");
        workload(client, setting.clone())
    });
    let most = setting.heals_at + setting.recovery() + setting.delivery_timeout * 2;
    let run = world.run(most + Duration::from_secs(30));
    let journal = run.history.journal.clone();
    let (violations, tally) = invariants::check(run, setting.terms(), invariants::PRODUCER);
    Outcome { violations, tally, journal: journal.lines() }
}

const SCENARIO: Scenario = Scenario {
    name: "produce_through_faults",
    describe: |seed| {
        let (setting, plan) = roll(seed);
        (format!("{setting:?}"), plan)
    },
    run,
};

/// The client's whole life: sends while there are faults, then checks that everything goes on, and closes.
async fn workload(client: Client, setting: Setting) {
    let mut producer = start(&client, &setting, 1);
    let mut work = send_from_all(&client, &setting, &producer);
    if let Some(at) = setting.closes_at {
        tokio::time::sleep(at).await;
        close(&client, &producer, MS(client.seed % 1_500)).await;
        work.end().await;
        producer = start(&client, &setting, 2);
        work = send_from_all(&client, &setting, &producer);
    }
    client.healed().await;
    work.end_senders().await;
    recover(&client, &setting, &producer).await;
    go_on(&client, &setting, &producer, &mut work).await;
    work.end().await;
    await_memory(&client, &setting, &producer).await;
    if !close(&client, &producer, MS(5_000)).await {
        client.history.broken(ENDS_IN_TIME, "close with nothing to do ran out of time");
    }
}

/// A producer, and the how manieth of its client it is.
#[derive(Clone)]
struct Numbered {
    number: u64,
    producer: Producer,
}

fn start(client: &Client, setting: &Setting, number: u64) -> Numbered {
    let producer = Producer::builder(setting.config())
        .connector(client.wire.connector())
        .clock(SimClock)
        .seed(client.seed ^ number)
        .build();
    Numbered { number, producer }
}

impl std::ops::Deref for Numbered {
    type Target = Producer;

    fn deref(&self) -> &Producer {
        &self.producer
    }
}

/// The tasks that send, and those that wait for what becomes of it.
struct Work {
    senders: JoinSet<JoinSet<()>>,
    waiting: JoinSet<()>,
}

impl Work {
    async fn end_senders(&mut self) {
        while let Some(mut ends) = self.senders.join_next().await {
            let ends = std::mem::take(ends.as_mut().expect("a sender does not panic"));
            self.waiting.spawn(async move {
                ends.join_all().await;
            });
        }
    }

    async fn end(&mut self) {
        self.end_senders().await;
        std::mem::take(&mut self.waiting).join_all().await;
    }
}

fn send_from_all(client: &Client, setting: &Setting, producer: &Numbered) -> Work {
    let mut senders = JoinSet::new();
    for nth in 0..setting.senders {
        let dice = fastrand::Rng::with_seed(client.seed.rotate_left(8) ^ nth as u64);
        let sender =
            Sender { client: client.clone(), setting: setting.clone(), producer: producer.clone() };
        senders.spawn(sender.send_by_chance(dice));
    }
    Work { senders, waiting: JoinSet::new() }
}

/// One task that sends.
#[derive(Clone)]
struct Sender {
    client: Client,
    setting: Setting,
    producer: Numbered,
}

impl Sender {
    /// Sends in all ways there are until the faults are over or the producer is closed.
    async fn send_by_chance(self, mut dice: fastrand::Rng) -> JoinSet<()> {
        let mut ends = JoinSet::new();
        while now() < self.client.heals_at
            && !format!("{:?}", *self.producer).contains("closed: true")
        {
            for _ in 0..dice.usize(1..8) {
                self.send_one(&mut dice, &mut ends).await;
            }
            if dice.u8(0..20) == 0 {
                self.flush().await;
            }
            tokio::time::sleep(MS(dice.u64(0..self.setting.longest_pause))).await;
        }
        ends
    }

    async fn send_one(&self, dice: &mut fastrand::Rng, ends: &mut JoinSet<()>) {
        let history = &self.client.history;
        let (number, content) =
            history.attempt(self.producer.number, random_content(dice, &self.setting));
        let headers = headers(&content);
        let record = record(&content, &headers);
        match dice.u8(0..10) {
            0 => match self.producer.try_send(&record) {
                Ok(delivery) => self.accepted(number, delivery, ends),
                Err(error) => history.refused(number, error),
            },
            1 => {
                let told = history.clone();
                let callback = move |result| told.ended(number, result);
                match self.producer.send_with(&record, callback).await {
                    Ok(()) => history.accepted(number, Waits::Callback),
                    Err(error) => history.refused(number, error),
                }
            }
            // Fire and forget.
            2 => match self.producer.send(&record).await {
                Ok(_delivery) => history.accepted(number, Waits::Nobody),
                Err(error) => history.refused(number, error),
            },
            // Given up while it waits.
            3 => {
                let patience = MS(dice.u64(0..30));
                match tokio::time::timeout(patience, self.producer.send(&record)).await {
                    Ok(Ok(delivery)) => self.accepted(number, delivery, ends),
                    Ok(Err(error)) => history.refused(number, error),
                    Err(_) => history.refused(number, "the send was dropped"),
                }
            }
            _ => match self.producer.send(&record).await {
                Ok(delivery) => self.accepted(number, delivery, ends),
                Err(error) => history.refused(number, error),
            },
        }
    }

    fn accepted(&self, number: usize, delivery: Delivery, ends: &mut JoinSet<()>) {
        self.client.history.accepted(number, Waits::Delivery);
        let history = self.client.history.clone();
        ends.spawn(async move { history.ended(number, delivery.await) });
    }

    async fn flush(&self) {
        let began = now();
        self.producer.flush().await;
        let most = self.setting.delivery_timeout + MS(10);
        if now() > began + most {
            let took = now() - began;
            self.client.history.broken(ENDS_IN_TIME, format_args!("a flush took {took:?}"));
        }
    }
}

fn random_content(dice: &mut fastrand::Rng, setting: &Setting) -> Content {
    let bytes = |dice: &mut fastrand::Rng, most: usize| -> Bytes {
        let letter = dice.alphanumeric() as u8;
        vec![letter; dice.usize(0..=most)].into()
    };
    Content {
        partition: dice.i32(0..setting.partitions),
        timestamp: 1_767_225_600_000 + dice.i64(0..1_000),
        key: dice.bool().then(|| bytes(dice, 10)),
        value: bytes(dice, setting.largest_value),
        headers: (0..dice.usize(0..3))
            .map(|n| (format!("h{n}"), dice.bool().then(|| bytes(dice, 5))))
            .collect(),
    }
}

fn headers(content: &Content) -> Vec<Header<'_>> {
    content.headers.iter().map(|(key, value)| Header { key, value: value.as_deref() }).collect()
}

fn record<'a>(content: &'a Content, headers: &'a [Header<'a>]) -> ProducerRecord<'a> {
    let record = ProducerRecord::new(TOPIC, &content.value[..])
        .partition(content.partition)
        .timestamp(content.timestamp)
        .headers(headers);
    match &content.key {
        Some(key) => record.key(&key[..]),
        None => record,
    }
}

/// Sends one record to the partition and awaits its end; whether it was acknowledged.
async fn probe(client: &Client, producer: &Numbered, partition: i32) -> bool {
    let plain = Content {
        partition,
        timestamp: 1_767_225_600_000,
        key: None,
        value: Bytes::from_static(b"probe"),
        headers: Vec::new(),
    };
    let (number, content) = client.history.attempt(producer.number, plain);
    match producer.send(&record(&content, &[])).await {
        Ok(delivery) => {
            client.history.accepted(number, Waits::Delivery);
            let result = delivery.await;
            let written = result.is_ok();
            client.history.ended(number, result);
            written
        }
        Err(error) => {
            client.history.refused(number, error);
            false
        }
    }
}

/// The faults are over: each partition takes records again before long.
async fn recover(client: &Client, setting: &Setting, producer: &Numbered) {
    let most = setting.recovery();
    let deadline = now() + most;
    let mut probes = JoinSet::new();
    for partition in 0..setting.partitions {
        let (client, producer) = (client.clone(), producer.clone());
        probes.spawn(async move {
            while !probe(&client, &producer, partition).await && now() < deadline {}
            if now() > deadline {
                let detail = format!("partition {partition} not within {most:?}");
                client.history.broken(RECOVERS, detail);
            }
        });
    }
    probes.join_all().await;
}

/// From then on every record is acknowledged, and quickly.
async fn go_on(client: &Client, setting: &Setting, producer: &Numbered, work: &mut Work) {
    for _ in 0..5 {
        for partition in 0..setting.partitions {
            let (client, producer, linger) = (client.clone(), producer.clone(), setting.linger);
            work.waiting.spawn(async move {
                let began = now();
                let written = probe(&client, &producer, partition).await;
                let took = now() - began;
                if !written || took > linger + MS(500) {
                    let detail = format!("afterwards, {partition}: {written} after {took:?}");
                    client.history.broken(RECOVERS, detail);
                }
            });
        }
        tokio::time::sleep(MS(20)).await;
    }
}

/// What a producer says of itself.
fn says(producer: &Numbered) -> BTreeMap<String, String> {
    let text = format!("{:?}", producer.producer);
    let inner = text.trim_start_matches("Producer { ");
    let fields = inner.split(", ").filter_map(|field| field.split_once(": "));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Everything has ended, so all memory is free, at the latest when the last request has timed out.
async fn await_memory(client: &Client, setting: &Setting, producer: &Numbered) {
    let is_back = || {
        let says = says(producer);
        says["buffer_available"] == says["buffer_memory"]
    };
    let deadline = now() + setting.request_timeout + MS(1_000);
    // Nothing tells when memory is given back; virtual time costs nothing.
    while !is_back() && now() < deadline {
        tokio::time::sleep(MS(1)).await;
    }
    if !is_back() {
        client.history.broken(MEMORY_IS_BACK, format!("{:?}", producer.producer));
    }
}

/// Closes; whether that went well within `timeout`. It must not take longer.
async fn close(client: &Client, producer: &Numbered, timeout: Duration) -> bool {
    let began = now();
    let result = producer.close(timeout).await;
    let took = now() - began;
    if took > timeout + MS(10) {
        let detail = format!("close({timeout:?}) took {took:?}");
        client.history.broken(ENDS_IN_TIME, detail);
    }
    client.history.journal.note(format_args!("closed: {result:?}"));
    result.is_ok()
}

#[test]
fn produce_through_faults() {
    sweep(SCENARIO);
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in 0..4 {
        let journal = || run(seed, roll(seed).1).journal;
        let (one, two) = (journal(), journal());
        let differ = one.iter().zip(&two).position(|(one, two)| one != two);
        if let Some(at) = differ {
            panic!("seed {seed} differs at line {at}:\n{}\n{}", one[at], two[at]);
        }
        assert_eq!(one.len(), two.len(), "seed {seed}");
        assert!(one.len() > 100, "seed {seed} does something: {}", one.len());
    }
}
