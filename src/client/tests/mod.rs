//! The client against a scripted cluster over in-memory streams, in virtual time.

mod bootstrap;
mod connections;
mod ending;
mod metadata;
mod routes;
mod simulated;

use super::Client;
use crate::config::ClientConfig;
use crate::error::{ClientError, ErrorCode};
use crate::metrics::ClientKind;
use crate::net::testing::{FakeBroker, Incoming, apis_with};
use crate::net::{Connect, Transport, connect_fn};
use crate::protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use crate::protocol::{ApiKey, Message};
use crate::time::{Duration, Instant};
use crate::types::BrokerId;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// What happens to those who connect to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    Refuses,
    Silent,
    /// The user's connector has a bug.
    Panics,
}

/// What the cluster does, and what was done to it. Broker `n` listens at `host<n>:9092`.
#[derive(Debug)]
struct Script {
    doors: BTreeMap<String, Door>,
    attempts: Vec<(String, Instant)>,
    /// By API, how often it was asked.
    requests: BTreeMap<ApiKey, usize>,
    /// The topics of each Metadata request.
    asked: Vec<(Vec<String>, Instant)>,
    /// Whether each Metadata request allowed that topics are created.
    may_create: Vec<bool>,
    /// The highest version of Metadata that the brokers speak.
    metadata_version: i16,
    brokers: Vec<i32>,
    /// Leader and epoch by partition, or the error, by topic.
    topics: BTreeMap<String, Result<Vec<(i32, i32)>, ErrorCode>>,
    metadata_error: ErrorCode,
    /// APIs upon whose requests the connection is closed without an answer.
    hang_up: BTreeSet<ApiKey>,
    /// How many connections the brokers see open.
    open: usize,
}

#[derive(Debug, Clone)]
struct Cluster(Arc<Mutex<Script>>);

impl Cluster {
    fn new(brokers: &[i32]) -> Self {
        let script = Script {
            doors: BTreeMap::new(),
            attempts: Vec::new(),
            requests: BTreeMap::new(),
            asked: Vec::new(),
            may_create: Vec::new(),
            metadata_version: MetadataRequest::VERSIONS.max,
            brokers: brokers.to_vec(),
            topics: BTreeMap::new(),
            metadata_error: ErrorCode::NONE,
            hang_up: BTreeSet::new(),
            open: 0,
        };
        Self(Arc::new(Mutex::new(script)))
    }

    fn with_topic(self, name: &str, partitions: &[(i32, i32)]) -> Self {
        self.0.lock().topics.insert(name.to_owned(), Ok(partitions.to_vec()));
        self
    }

    fn door(&self, host: &str, door: Door) {
        self.0.lock().doors.insert(host.to_owned(), door);
    }

    fn attempts(&self, host: &str) -> Vec<Instant> {
        let script = self.0.lock();
        script.attempts.iter().filter(|(to, _)| to == host).map(|(_, at)| *at).collect()
    }

    fn asked(&self) -> usize {
        self.0.lock().asked.len()
    }

    fn open(&self) -> usize {
        self.0.lock().open
    }

    fn connector(&self) -> Arc<dyn Connect> {
        let cluster = self.clone();
        Arc::new(connect_fn(move |host: String, _| {
            let cluster = cluster.clone();
            async move {
                let door = {
                    let mut script = cluster.0.lock();
                    script.attempts.push((host.clone(), Instant::now()));
                    script.doors.get(&host).copied().unwrap_or(Door::Open)
                };
                match door {
                    Door::Refuses => Err(io::ErrorKind::ConnectionRefused.into()),
                    Door::Silent => std::future::pending().await,
                    Door::Panics => panic!("as scripted"),
                    Door::Open => {
                        let (ours, theirs) = tokio::io::duplex(1 << 16);
                        cluster.0.lock().open += 1;
                        tokio::spawn(cluster.serve(host, FakeBroker::new(theirs)));
                        Ok(Box::new(ours) as Box<dyn Transport>)
                    }
                }
            }
        }))
    }

    async fn serve(self, host: String, mut broker: FakeBroker) {
        while let Some(request) = broker.next().await {
            let refused = {
                let mut script = self.0.lock();
                *script.requests.entry(request.api).or_default() += 1;
                script.hang_up.contains(&request.api)
            };
            if refused {
                break;
            }
            let answer = self.0.lock().answer(&host, request);
            broker.send(&answer).await;
        }
        self.0.lock().open -= 1;
    }

    /// A client with small times, so that tests are easy to reckon: back-offs of 100 ms to 1 s.
    fn client(&self, properties: &[(&str, &str)]) -> Client {
        self.client_that(true, properties)
    }

    fn client_that(&self, may_create_topics: bool, properties: &[(&str, &str)]) -> Client {
        let config = ClientConfig::builder()
            .set("bootstrap.servers", "boot:9092")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .properties(properties.iter().copied())
            .build()
            .unwrap();
        Client::start(&config, Some(self.connector()), may_create_topics, ClientKind::Producer)
    }
}

impl Script {
    fn answer(&mut self, host: &str, mut request: Incoming) -> Vec<u8> {
        match request.api {
            ApiKey::API_VERSIONS => {
                request.answer(&apis_with(ApiKey::METADATA, 0, self.metadata_version))
            }
            ApiKey::METADATA => {
                let asked: MetadataRequest = request.read();
                let names = asked.topics.unwrap().into_iter().map(|topic| topic.name.unwrap());
                let names: Vec<_> = names.collect();
                self.asked.push((names.clone(), Instant::now()));
                self.may_create.push(asked.allow_auto_topic_creation);
                request.answer(&self.metadata(names))
            }
            // Only who answers is looked at.
            ApiKey::FIND_COORDINATOR => request.answer(&FindCoordinatorResponse {
                coordinators: vec![Coordinator { host: host.to_owned(), ..Default::default() }],
                ..FindCoordinatorResponse::default()
            }),
            ApiKey::LIST_OFFSETS => {
                let leads = self.topics["t"].as_ref().unwrap()[0].0;
                let error_code = if host == format!("host{leads}") {
                    ErrorCode::NONE
                } else {
                    ErrorCode::NOT_LEADER_OR_FOLLOWER
                };
                let partition = ListOffsetsPartitionResponse {
                    error_code,
                    offset: 42,
                    ..ListOffsetsPartitionResponse::default()
                };
                request.answer(&ListOffsetsResponse {
                    topics: vec![ListOffsetsTopicResponse {
                        name: "t".to_owned(),
                        partitions: vec![partition],
                    }],
                    ..ListOffsetsResponse::default()
                })
            }
            other => panic!("{other} is not in the script"),
        }
    }

    fn metadata(&self, names: Vec<String>) -> MetadataResponse {
        let broker = |id: &i32| MetadataResponseBroker {
            node_id: *id,
            host: format!("host{id}"),
            port: 9092,
            rack: None,
        };
        let partition = |(n, leader): (i32, &(i32, i32))| MetadataResponsePartition {
            partition_index: n,
            leader_id: leader.0,
            leader_epoch: leader.1,
            ..MetadataResponsePartition::default()
        };
        let topic = |name: String| {
            let known = self.topics.get(&name).cloned();
            let known = known.unwrap_or(Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
            let (partitions, error_code) = match &known {
                Ok(leaders) => ((0..).zip(leaders).map(partition).collect(), ErrorCode::NONE),
                Err(code) => (Vec::new(), *code),
            };
            let name = Some(name);
            MetadataResponseTopic { name, error_code, partitions, ..Default::default() }
        };
        MetadataResponse {
            brokers: self.brokers.iter().map(broker).collect(),
            topics: names.into_iter().map(topic).collect(),
            error_code: self.metadata_error,
            ..MetadataResponse::default()
        }
    }
}

fn within(time: Duration) -> Instant {
    Instant::now() + time
}

const SOON: Duration = Duration::from_secs(60);

/// Waits until something is so; each look is a snapshot later.
async fn until(client: &Client, mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        let changed = client.changed();
        tokio::time::timeout(SOON, changed).await.expect("nothing changes").unwrap();
    }
}

/// Waits until some broker has answered.
async fn known(client: &Client) {
    until(client, || client.metadata().brokers().len() > 0).await;
}

/// The leader of a partition and its epoch.
fn leader(client: &Client, topic: &str, partition: usize) -> Option<(i32, i32)> {
    let snapshot = client.metadata();
    let partition = snapshot.topic(topic)?.partitions.get(partition)?;
    Some((partition.leader?.0, partition.leader_epoch))
}
