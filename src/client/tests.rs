//! The client against a scripted cluster over in-memory streams, in virtual time.

use super::{BrokerNode, Client, LeaderHint, Led, Unanswered};
use crate::config::ClientConfig;
use crate::error::{ClientError, DisconnectReason, ErrorCode, Peer};
use crate::metrics::ClientKind;
use crate::net::testing::{FakeBroker, Incoming, apis_with};
use crate::net::{Connect, Transport, connect_fn};
use crate::protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use crate::protocol::{ApiKey, Message};
use crate::time::{Duration, Instant};
use crate::types::{BrokerId, TopicPartition};
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

mod metadata {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_topic_is_fetched_when_it_is_asked_for_and_then_kept() {
        let cluster = Cluster::new(&[1, 2]).with_topic("t", &[(1, 3), (2, 4)]);
        let client = cluster.client(&[]);
        assert_eq!(client.metadata().generation(), 0);
        let topic = client.topic("t", within(SOON)).await.unwrap();
        assert_eq!((&*topic.name, topic.partitions.len()), ("t", 2));
        assert_eq!(leader(&client, "t", 1), Some((2, 4)));
        assert_eq!(client.metadata().brokers().len(), 2);
        let asked = cluster.asked();
        let again = client.topic("t", within(SOON)).await.unwrap();
        assert!(Arc::ptr_eq(&topic, &again));
        assert_eq!(cluster.asked(), asked);
    }

    #[tokio::test(start_paused = true)]
    async fn creating_topics_is_forbidden_where_the_version_can() {
        for (may_create, version, expected) in
            [(true, 13, true), (false, 13, false), (false, 4, false), (false, 3, true)]
        {
            let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
            cluster.0.lock().metadata_version = version;
            let client = cluster.client_that(may_create, &[]);
            client.topic("t", within(SOON)).await.unwrap();
            let seen = std::mem::take(&mut cluster.0.lock().may_create);
            assert!(seen.iter().all(|seen| *seen == expected), "{may_create} {version}: {seen:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_for_a_topic_wake() {
        let cluster = Cluster::new(&[1]);
        let client = cluster.client(&[]);
        let waiters: Vec<_> = (0..50)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move { client.topic("t", within(SOON)).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let asked = cluster.asked();
        // Not one fetch for each who waits: 100 ms doubling to 1 s, give or take a fifth.
        assert!((6..=14).contains(&asked), "{asked}");
        let _ = cluster.clone().with_topic("t", &[(1, 0)]);
        for waiter in waiters {
            assert!(waiter.await.unwrap().is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_is_not_there_in_time_says_so() {
        let cluster = Cluster::new(&[1]);
        let client = cluster.client(&[]);
        let start = Instant::now();
        let error = client.topic("absent", within(MS(7000))).await.unwrap_err();
        assert_eq!(start.elapsed(), MS(7000));
        let ClientError::MetadataTimeout { topic: Some(topic), waited, last: Some(last) } = &error
        else {
            panic!("{error:?}")
        };
        assert_eq!((&**topic, *waited), ("absent", MS(7000)));
        let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
        assert!(matches!(**last, ClientError::Broker { code: answered, .. } if answered == code));
        let text = error.to_string();
        assert!(text.contains("absent") && text.contains("UNKNOWN_TOPIC_OR_PARTITION"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_without_brokers_is_a_failure_and_tried_again() {
        let cluster = Cluster::new(&[]).with_topic("t", &[(1, 0)]);
        let client = cluster.client(&[]);
        let error = client.topic("t", within(MS(5000))).await.unwrap_err();
        assert!(error.to_string().contains("names no broker"), "{error}");
        cluster.0.lock().brokers = vec![1];
        assert!(client.topic("t", within(MS(5000))).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_told_at_once_and_asked_about_anew() {
        let cluster = Cluster::new(&[1]);
        let refused = ErrorCode::TOPIC_AUTHORIZATION_FAILED;
        cluster.0.lock().topics.insert("t".to_owned(), Err(refused));
        let client = cluster.client(&[]);
        for _ in 0..2 {
            let start = Instant::now();
            let error = client.topic("t", within(SOON)).await.unwrap_err();
            assert!(matches!(error, ClientError::Broker { code, .. } if code == refused));
            assert!(start.elapsed() < MS(500), "{:?}", start.elapsed());
        }
        let _ = cluster.clone().with_topic("t", &[(1, 0)]);
        assert!(client.topic("t", within(SOON)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_vanishes_for_a_while_keeps_its_view() {
        let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
        let client = cluster.client(&[]);
        client.topic("t", within(SOON)).await.unwrap();
        cluster.0.lock().topics.clear();
        client.request_refresh();
        until(&client, || client.metadata().trouble("t").is_some()).await;
        assert_eq!(leader(&client, "t", 0), Some((1, 0)));
        let _ = cluster.clone().with_topic("t", &[(1, 1)]);
        // Nobody has to ask: what is open is asked for again.
        until(&client, || client.metadata().trouble("t").is_none()).await;
        assert_eq!(leader(&client, "t", 0), Some((1, 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_without_a_leader_is_asked_for_until_it_has_one() {
        let cluster = Cluster::new(&[1]).with_topic("t", &[(-1, 0)]);
        let client = cluster.client(&[]);
        client.topic("t", within(SOON)).await.unwrap();
        assert_eq!(leader(&client, "t", 0), None);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let _ = cluster.clone().with_topic("t", &[(1, 1)]);
        until(&client, || leader(&client, "t", 0).is_some()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_fetched_anew_at_its_age_and_unused_topics_are_dropped() {
        let cluster =
            Cluster::new(&[1]).with_topic("used", &[(1, 0)]).with_topic("idle", &[(1, 0)]);
        let client =
            cluster.client(&[("metadata.max.age.ms", "60000"), ("metadata.max.idle.ms", "150000")]);
        client.topic("idle", within(SOON)).await.unwrap();
        let used = client.topic("used", within(SOON)).await.unwrap();
        let asked = cluster.asked();
        for _ in 0..10 {
            used.touch();
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        let times = cluster.asked() - asked;
        assert!((4..=6).contains(&times), "{times}");
        assert!(client.metadata().topic("idle").is_none());
        assert!(client.metadata().topic("used").is_some());
        assert_eq!(cluster.0.lock().asked.last().unwrap().0, ["used"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_was_hinted_at_wakes_those_who_wait_for_news() {
        let cluster = Cluster::new(&[1, 2]).with_topic("t", &[(1, 5)]);
        let client = cluster.client(&[]);
        client.topic("t", within(SOON)).await.unwrap();
        let changed = client.changed();
        let node = BrokerNode { id: BrokerId(3), host: "host3".into(), port: 9092, rack: None };
        let hint = LeaderHint {
            partition: TopicPartition::new("t", 0),
            leader: BrokerId(3),
            epoch: 6,
            endpoint: Some(node),
        };
        let hints = [hint];
        assert!(client.update_leaders(&hints) && !client.update_leaders(&hints));
        changed.await.unwrap();
        assert_eq!(leader(&client, "t", 0), Some((3, 6)));
        assert!(client.connect(BrokerId(3)).await.is_ok());
    }
}

mod bootstrap {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_refuses_is_tried_by_the_rule_and_named_in_the_end() {
        let cluster = Cluster::new(&[1]);
        cluster.door("boot", Door::Refuses);
        let client = cluster.client(&[]);
        let error = client.topic("t", within(SOON)).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("topic 't'") && text.contains("cannot connect to bootstrap server boot"),
            "{text}"
        );
        // At most 1 s between attempts, at least 0.8 s once the back-off has grown.
        let attempts = cluster.attempts("boot");
        assert!((50..=80).contains(&attempts.len()), "{}", attempts.len());
        for (n, pair) in attempts.windows(2).enumerate() {
            let wait = pair[1] - pair[0];
            // The metadata's own back-off of 100 ms, doubling, is the longer of the two at first.
            let longest = MS((100 << n.min(5)).min(1000));
            assert!(wait >= longest.mul_f64(0.8) && wait <= longest.mul_f64(1.2), "{n}: {wait:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_spins_while_all_brokers_are_dead_and_it_goes_on_when_they_are_back() {
        let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
        let client = cluster.client(&[]);
        client.topic("t", within(SOON)).await.unwrap();
        cluster.door("boot", Door::Refuses);
        cluster.door("host1", Door::Refuses);
        cluster.0.lock().hang_up.insert(ApiKey::METADATA);
        client.request_refresh();
        let before = cluster.0.lock().attempts.len();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let attempts = cluster.0.lock().attempts.len() - before;
        assert!((300..=800).contains(&attempts), "{attempts}");
        cluster.0.lock().hang_up.clear();
        cluster.door("host1", Door::Open);
        cluster.door("boot", Door::Open);
        let changed = tokio::time::timeout(Duration::from_secs(3), client.changed()).await;
        assert_eq!(changed, Ok(Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_several_servers_is_enough() {
        for door in [Door::Refuses, Door::Silent] {
            let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
            for dead in ["a", "b", "c"] {
                cluster.door(dead, door);
            }
            let client = cluster.client(&[("bootstrap.servers", "a:1,b:1,c:1,d:1")]);
            client.topic("t", within(Duration::from_secs(45))).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_does_not_resolve_is_named() {
        let connector = crate::net::connect_fn(|_, _| async {
            let cause = io::Error::new(io::ErrorKind::NotFound, "no such host is known");
            Err(crate::net::ResolveError::new(cause).into_io())
        });
        let config =
            ClientConfig::builder().set("bootstrap.servers", "nowhere:9092").build().unwrap();
        let client = Client::start(&config, Some(Arc::new(connector)), true, ClientKind::Producer);
        let text = client.topic("t", within(MS(3000))).await.unwrap_err().to_string();
        assert!(text.contains("cannot resolve the name of bootstrap server nowhere"), "{text}");
        assert!(text.contains("no such host is known"), "{text}");
    }

    /// The cluster moves: other brokers, found by the same bootstrap server.
    async fn moved(brokers: i32, door: Door) -> (Cluster, Client) {
        let ids: Vec<_> = (1..=brokers).collect();
        let cluster = Cluster::new(&ids).with_topic("t", &[(1, 0)]);
        let client = cluster.client(&[]);
        client.topic("t", within(SOON)).await.unwrap();
        for gone in &ids {
            cluster.door(&format!("host{gone}"), door);
        }
        {
            let mut script = cluster.0.lock();
            script.brokers = vec![8, 9];
            script.topics.insert("t".to_owned(), Ok(vec![(9, 1)]));
            script.hang_up.insert(ApiKey::FIND_COORDINATOR);
        }
        // Ends the connection that may be open, by a request that the brokers hang up on.
        for id in ids {
            if let Some(open) = client.connection(BrokerId(id)) {
                let request = FindCoordinatorRequest::default();
                open.call(&request, SOON).await.unwrap_err();
            }
        }
        (cluster, client)
    }

    #[tokio::test(start_paused = true)]
    async fn brokers_that_are_all_gone_are_looked_for_from_the_start() {
        for brokers in [1, 2, 3, 5] {
            let (_cluster, client) = moved(brokers, Door::Refuses).await;
            let start = Instant::now();
            client.request_refresh();
            until(&client, || leader(&client, "t", 0) == Some((9, 1))).await;
            // One round over the brokers, and one back-off.
            assert!(start.elapsed() < Duration::from_secs(2), "{brokers}: {:?}", start.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn brokers_that_all_fell_silent_are_looked_for_from_the_start() {
        let (cluster, client) = moved(3, Door::Silent).await;
        client.request_refresh();
        // By the set-up time-out of each, and long before the trigger of five minutes.
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(leader(&client, "t", 0), Some((9, 1)));
        for gone in ["host1", "host2", "host3"] {
            let tried = cluster.attempts(gone).len();
            assert!((1..=2).contains(&tried), "{gone}: {tried}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_refuse_do_not_hold_up_the_first_metadata() {
        let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
        for dead in ["a", "b", "c", "d"] {
            cluster.door(dead, Door::Refuses);
        }
        let client = cluster.client(&[("bootstrap.servers", "a:1,b:1,c:1,d:1,e:1")]);
        let start = Instant::now();
        client.topic("t", within(SOON)).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_strategy_the_known_brokers_are_kept() {
        let cluster = Cluster::new(&[1]);
        let client = cluster.client(&[("metadata.recovery.strategy", "none")]);
        known(&client).await;
        cluster.door("host1", Door::Refuses);
        cluster.0.lock().hang_up.insert(ApiKey::METADATA);
        let before = cluster.attempts("boot").len();
        client.request_refresh();
        tokio::time::sleep(Duration::from_secs(1200)).await;
        assert_eq!(cluster.attempts("boot").len(), before);
        assert!(cluster.attempts("host1").len() > 500);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_may_ask_to_start_over() {
        let cluster = Cluster::new(&[1]);
        let client = cluster.client(&[]);
        known(&client).await;
        // From here on the broker itself is asked, not the bootstrap server.
        client.connect(BrokerId(1)).await.unwrap();
        let before = cluster.attempts("boot").len();
        cluster.0.lock().metadata_error = ErrorCode::REBOOTSTRAP_REQUIRED;
        client.request_refresh();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(cluster.attempts("boot").len() > before);
        cluster.0.lock().metadata_error = ErrorCode::NONE;
        tokio::time::timeout(SOON, client.changed()).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_only_errs_is_given_up_after_the_trigger() {
        let cluster = Cluster::new(&[1]);
        let client = cluster.client(&[("metadata.recovery.rebootstrap.trigger.ms", "20000")]);
        known(&client).await;
        client.connect(BrokerId(1)).await.unwrap();
        let before = cluster.attempts("boot").len();
        cluster.0.lock().metadata_error = ErrorCode::UNKNOWN_SERVER_ERROR;
        client.request_refresh();
        tokio::time::sleep(Duration::from_secs(19)).await;
        assert_eq!(cluster.attempts("boot").len(), before);
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(cluster.attempts("boot").len() > before);
    }
}

mod connections {
    use super::*;

    async fn ready() -> (Cluster, Client) {
        let cluster = Cluster::new(&[1, 2]).with_topic("t", &[(1, 0)]);
        let client = cluster.client(&[]);
        client.topic("t", within(SOON)).await.unwrap();
        (cluster, client)
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_want_a_connection_share_one_attempt() {
        let (cluster, client) = ready().await;
        let before = cluster.attempts("host2").len();
        let connecting: Vec<_> = (0..20).map(|_| client.connect(BrokerId(2))).collect();
        let mut connections = Vec::new();
        for connecting in connecting {
            connections.push(connecting.await.unwrap());
        }
        assert!(cluster.attempts("host2").len() - before <= 1);
        assert!(connections.iter().all(|connection| Arc::ptr_eq(connection, &connections[0])));
        assert!(Arc::ptr_eq(&client.connection(BrokerId(2)).unwrap(), &connections[0]));
        assert_eq!(connections[0].peer().id(), Some(BrokerId(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_goes_on_when_nobody_waits() {
        let (_cluster, client) = ready().await;
        drop(client.connect(BrokerId(2)));
        tokio::time::sleep(MS(10)).await;
        assert!(client.connection(BrokerId(2)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusing_broker_is_tried_by_the_rule() {
        let (cluster, client) = ready().await;
        cluster.door("host2", Door::Refuses);
        let start = Instant::now();
        let first = cluster.attempts("host2").len();
        let mut tries = 0;
        while start.elapsed() < SOON {
            // As eager as can be.
            let error = client.connect(BrokerId(2)).await.unwrap_err();
            assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
            tries += 1;
        }
        let attempts = cluster.attempts("host2").split_off(first);
        // Metadata may have been fetched from it, and then its attempts are among these.
        assert!(attempts.len() >= tries && attempts.len() <= 80, "{tries} {}", attempts.len());
        for (n, pair) in attempts.windows(2).enumerate() {
            let wait = MS((50 << n.min(5)).min(1000));
            let waited = pair[1] - pair[0];
            assert!(waited >= wait.mul_f64(0.8) && waited <= wait.mul_f64(1.2) + MS(1), "{n}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connector_that_panics_has_failed() {
        let cluster = Cluster::new(&[1, 2]).with_topic("t", &[(1, 0)]);
        let client = cluster.client(&[]);
        client.topic("t", within(SOON)).await.unwrap();
        cluster.door("host2", Door::Panics);
        let start = Instant::now();
        for attempt in 0..4 {
            match client.connect(BrokerId(2)).await.unwrap_err() {
                ClientError::Connect { peer, cause, .. } => {
                    assert_eq!(peer.id(), Some(BrokerId(2)));
                    assert!(cause.contains("panicked"), "{cause}");
                }
                other => panic!("{attempt}: {other:?}"),
            }
        }
        // After 50, 100 and 200 ms, give or take a fifth.
        assert!((MS(280)..=MS(430)).contains(&start.elapsed()), "{:?}", start.elapsed());
        cluster.door("host2", Door::Open);
        client.connect(BrokerId(2)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_broker_gets_longer_each_time() {
        let (cluster, client) = ready().await;
        cluster.door("host2", Door::Silent);
        let mut allowances = Vec::new();
        for _ in 0..4 {
            match client.connect(BrokerId(2)).await.unwrap_err() {
                ClientError::SetupTimeout { after, .. } => allowances.push(after.as_secs_f64()),
                other => panic!("{other:?}"),
            }
        }
        for (allowance, middle) in allowances.iter().zip([10.0, 20.0, 30.0, 30.0]) {
            assert!(
                (0.8 * middle..=1.2 * middle).contains(allowance) && *allowance <= 30.0,
                "{allowances:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_is_opened_again_after_the_back_off_and_an_idle_one_at_once() {
        let cluster = Cluster::new(&[1]);
        let client = cluster.client(&[("connections.max.idle.ms", "10000")]);
        known(&client).await;
        client.connect(BrokerId(1)).await.unwrap().ended().await;
        assert!(client.connection(BrokerId(1)).is_none());
        let start = Instant::now();
        let connection = client.connect(BrokerId(1)).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);

        cluster.0.lock().hang_up.insert(ApiKey::FIND_COORDINATOR);
        let error = client.call(BrokerId(1), &FindCoordinatorRequest::default()).await;
        let reason = DisconnectReason::ClosedByPeer;
        let lost = ClientError::Disconnected {
            peer: connection.peer().clone(),
            reason,
            maybe_written: true,
        };
        assert_eq!(error, Err(lost));
        let start = Instant::now();
        client.connect(BrokerId(1)).await.unwrap();
        assert!((MS(40)..=MS(61)).contains(&start.elapsed()), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_bootstrap_connection_is_closed_when_the_brokers_are_known() {
        let (cluster, client) = ready().await;
        client.connect(BrokerId(1)).await.unwrap();
        client.request_refresh();
        client.changed().await.unwrap();
        tokio::time::sleep(MS(10)).await;
        let known = [1, 2].map(|id| client.connection(BrokerId(id)).is_some());
        assert_eq!(cluster.open(), known.into_iter().filter(|open| *open).count());
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_is_not_in_the_cluster_is_an_error() {
        let (_cluster, client) = ready().await;
        let error = client.connect(BrokerId(77)).await.unwrap_err();
        assert_eq!(error, ClientError::UnknownBroker { id: BrokerId(77) });
    }
}

mod routes {
    use super::*;

    fn list_offsets(_: &[Led]) -> ListOffsetsRequest {
        ListOffsetsRequest::default()
    }

    fn read(response: ListOffsetsResponse) -> Vec<(TopicPartition, Result<i64, ErrorCode>)> {
        let answer = &response.topics[0].partitions[0];
        let result =
            if answer.error_code.is_ok() { Ok(answer.offset) } else { Err(answer.error_code) };
        vec![(TopicPartition::new("t", 0), result)]
    }

    fn only(partition: &TopicPartition) -> BTreeSet<TopicPartition> {
        BTreeSet::from([partition.clone()])
    }

    #[tokio::test(start_paused = true)]
    async fn any_broker_that_can_be_reached_will_do() {
        let cluster = Cluster::new(&[1, 2, 3]);
        let client = cluster.client(&[]);
        known(&client).await;
        cluster.door("host1", Door::Refuses);
        cluster.door("host3", Door::Refuses);
        for _ in 0..10 {
            let request = FindCoordinatorRequest { coordinator_keys: vec![], ..Default::default() };
            let response = client.call_any(&request, within(SOON)).await.unwrap();
            assert_eq!(response.coordinators[0].host, "host2");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_follows_the_leader() {
        let cluster = Cluster::new(&[1, 2]).with_topic("t", &[(1, 0)]);
        let client = cluster.client(&[]);
        let partition = TopicPartition::new("t", 0);
        let answers =
            client.call_leaders(only(&partition), within(SOON), list_offsets, read).await.unwrap();
        assert_eq!(answers, BTreeMap::from([(partition.clone(), 42)]));
        // The leader moves, and the client finds out by being refused.
        let _ = cluster.clone().with_topic("t", &[(2, 1)]);
        let start = Instant::now();
        let mut epochs = Vec::new();
        let request = |led: &[Led]| {
            epochs.push(led[0].epoch);
            list_offsets(led)
        };
        client.call_leaders(only(&partition), within(SOON), request, read).await.unwrap();
        assert_eq!((epochs.first(), epochs.last()), (Some(&0), Some(&1)));
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_runs_out_of_time_says_who_did_not_answer() {
        let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
        let client = cluster.client(&[]);
        client.topic("t", within(SOON)).await.unwrap();
        for door in ["boot", "host1"] {
            cluster.door(door, Door::Silent);
        }
        let waited = MS(5000);
        let partition = TopicPartition::new("t", 0);
        let call = client.call_leaders(only(&partition), within(waited), list_offsets, read);
        let Unanswered { partition: about, cause: error } = call.await.unwrap_err();
        assert_eq!(about, partition);
        let peer = Peer::new(Some(BrokerId(1)), "host1", 9092);
        assert_eq!(error, ClientError::NoAnswerYet { peer, waited });
        assert!(error.is_retriable() && error.maybe_written());

        // The time-out of that attempt, of at most 12 s, and the middle of the next one.
        let request = FindCoordinatorRequest::default();
        let error = client.call_any(&request, within(MS(20_000))).await.unwrap_err();
        assert!(matches!(error, ClientError::SetupTimeout { .. }), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_is_bounded_and_the_last_error_told() {
        let cluster = Cluster::new(&[1]).with_topic("t", &[(-1, 0)]);
        let client = cluster.client(&[]);
        let partition = TopicPartition::new("t", 0);
        let start = Instant::now();
        let call = client.call_leaders(only(&partition), within(MS(5000)), list_offsets, read);
        assert_eq!(call.await.unwrap_err().cause, ClientError::NoLeader { partition });
        assert!(start.elapsed() <= MS(5000));
    }
}

mod ending {
    use super::*;

    fn tasks() -> usize {
        tokio::runtime::Handle::current().metrics().num_alive_tasks()
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_last_clone_ends_every_task() {
        let before = tasks();
        let cluster = Cluster::new(&[1, 2]).with_topic("t", &[(1, 0)]);
        let client = cluster.client(&[]);
        client.topic("t", within(SOON)).await.unwrap();
        for id in [1, 2] {
            client.connect(BrokerId(id)).await.unwrap();
        }
        cluster.door("host1", Door::Silent);
        let other = client.clone();
        drop(client);
        tokio::time::sleep(MS(10)).await;
        assert!(cluster.open() >= 2 && tasks() > before);
        assert!(other.connection(BrokerId(2)).is_some());
        drop(other);
        tokio::time::sleep(MS(10)).await;
        assert_eq!((cluster.open(), tasks()), (0, before));
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_ends_attempts_too() {
        let before = tasks();
        let cluster = Cluster::new(&[1]);
        cluster.door("boot", Door::Silent);
        let client = cluster.client(&[]);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((tasks(), cluster.attempts("boot").len()), (before + 2, 1));
        drop(client);
        tokio::time::sleep(MS(10)).await;
        assert_eq!(tasks(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_all_that_waits_and_refuses_what_comes_later() {
        let before = tasks();
        let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
        cluster.door("host1", Door::Silent);
        let client = cluster.client(&[]);
        client.topic("t", within(SOON)).await.unwrap();
        let topic = tokio::spawn({
            let client = client.clone();
            async move { client.topic("absent", within(SOON)).await.map(|_| ()) }
        });
        let connect = tokio::spawn(client.connect(BrokerId(1)));
        let any = tokio::spawn({
            let client = client.clone();
            let request = FindCoordinatorRequest::default();
            async move { client.call_any(&request, within(SOON)).await.map(|_| ()) }
        });
        let changed = tokio::spawn(client.changed());
        tokio::task::yield_now().await;
        let start = Instant::now();
        assert!(client.close(within(SOON)).await);
        assert_eq!(topic.await.unwrap(), Err(ClientError::Closed));
        assert_eq!(connect.await.unwrap().map(|_| ()), Err(ClientError::Closed));
        assert!(any.await.unwrap().is_err());
        assert_eq!(changed.await.unwrap(), Err(ClientError::Closed));
        assert!(start.elapsed() < MS(10), "{:?}", start.elapsed());
        assert_eq!((tasks(), cluster.open()), (before, 0));

        assert!(client.is_closed());
        let refused = [
            client.topic("t", within(SOON)).await.map(|_| ()),
            client.topic("absent", within(SOON)).await.map(|_| ()),
            client.connect(BrokerId(1)).await.map(|_| ()),
            client.changed().await,
        ];
        assert_eq!(refused, [const { Err(ClientError::Closed) }; 4]);
        assert!(client.close(within(SOON)).await, "closing twice");
    }
}

/// The same over a simulated network, where time is the simulation's and connections really break.
mod simulated {
    use super::*;
    use turmoil::net::{TcpListener, TcpStream};

    fn connector() -> Arc<dyn Connect> {
        Arc::new(connect_fn(|host: String, port| async move {
            let stream = TcpStream::connect((host, port)).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        }))
    }

    async fn listen(cluster: Cluster, host: &str) -> turmoil::Result {
        let listener = TcpListener::bind(("0.0.0.0", 9092)).await?;
        loop {
            let (stream, _) = listener.accept().await?;
            cluster.0.lock().open += 1;
            tokio::spawn(cluster.clone().serve(host.to_owned(), FakeBroker::new(stream)));
        }
    }

    #[test]
    fn a_partition_of_the_network_is_noticed_and_outlived() {
        let mut builder = turmoil::Builder::new();
        builder.simulation_duration(Duration::from_secs(300)).rng_seed(7);
        let mut sim = builder.build();
        let cluster = Cluster::new(&[1]).with_topic("t", &[(1, 0)]);
        for host in ["boot", "host1"] {
            let cluster = cluster.clone();
            sim.host(host, move || listen(cluster.clone(), host));
        }
        sim.client("client", async move {
            let config = ClientConfig::builder()
                .set("bootstrap.servers", "boot:9092")
                .set("request.timeout.ms", "5000")
                .build()?;
            let client = Client::start(&config, Some(connector()), true, ClientKind::Producer);
            client.topic("t", within(SOON)).await?;
            let request = FindCoordinatorRequest::default();
            client.call(BrokerId(1), &request).await?;

            turmoil::partition("client", "host1");
            let start = Instant::now();
            let error = client.call(BrokerId(1), &request).await.unwrap_err();
            assert!(matches!(error, ClientError::RequestTimeout { .. }), "{error:?}");
            assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());

            turmoil::repair("client", "host1");
            let start = Instant::now();
            client.call_any(&request, within(SOON)).await?;
            client.call(BrokerId(1), &request).await?;
            assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
            assert!(client.close(within(SOON)).await);
            Ok(())
        });
        sim.run().unwrap();
    }
}
