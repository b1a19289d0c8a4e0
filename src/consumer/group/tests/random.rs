//! Seeds of trouble: several members, a coordinator that moves, answers that come late or never,
//! users that fall asleep. Whatever happens:
//!
//! - no two members of one generation own one partition, as their users were told;
//! - a member has one request of a kind under way, and sends a bounded number of them in a second;
//! - when the trouble ends, all members are in one generation and own all partitions.

use super::model::Coordinates;
use super::*;
use crate::types::TopicId;

pub(super) const TOPICS: [(&str, usize); 2] = [("t", 5), ("u", 3)];
const MEMBERS: usize = 4;

/// The most requests that a member sends in a second: a few retries that come at once, those that
/// back off from 100 ms on, and what the user's doings bring about.
const BUSIEST: usize = 30;

/// A request on the way there, or an answer on the way back.
#[derive(Debug)]
struct Mail {
    at: Instant,
    client: usize,
    token: u64,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Request { to: Destination, request: GroupRequest },
    Answer(Result<GroupResponse, ClientError>),
}

struct Client {
    group: Group,
    /// What the user was told that it owns.
    holds: BTreeSet<TopicPartition>,
    /// The listener is busy until then, with what goes when it is done.
    busy: Option<(Instant, BTreeSet<TopicPartition>)>,
    next_poll: Instant,
    unsubscribed: bool,
    /// What is under way: kind and the version of the coordinator.
    under_way: BTreeMap<u64, (&'static str, u64)>,
    sent: VecDeque<Instant>,
    kinds: Vec<&'static str>,
}

struct World<C> {
    random: fastrand::Rng,
    at: Instant,
    clients: Vec<Client>,
    mail: Vec<Mail>,
    coordinator: C,
    broker: i32,
    faults: bool,
    subscription: GroupSubscription,
}

fn kind(request: &GroupRequest) -> &'static str {
    match request {
        GroupRequest::FindCoordinator(_) => "find",
        GroupRequest::JoinGroup(_) => "join",
        GroupRequest::SyncGroup(_) => "sync",
        GroupRequest::Heartbeat(_) => "heartbeat",
        GroupRequest::LeaveGroup(_) => "leave",
        GroupRequest::ConsumerGroupHeartbeat(_) => "group heartbeat",
    }
}

impl<C: Coordinates> World<C> {
    fn new(seed: u64, coordinator: C, config: &GroupConfig) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let at = Instant::now();
        let view = TOPICS.map(|(name, count)| {
            let id = TopicId([name.as_bytes()[0]; 16]);
            (name.to_owned(), TopicView { id, racks: vec![BTreeSet::new(); count] })
        });
        let view = Arc::new(TopicsView { topics: view.into() });
        let subscription = topics("t u");
        let clients = (0..MEMBERS).map(|_| {
            let mut group = Group::new(config.clone(), random.u64(..)).unwrap();
            group.handle_topics(Arc::clone(&view));
            group.subscribe(subscription.clone(), at);
            Client {
                group,
                holds: BTreeSet::new(),
                busy: None,
                next_poll: at,
                unsubscribed: false,
                under_way: BTreeMap::new(),
                sent: VecDeque::new(),
                kinds: Vec::new(),
            }
        });
        let clients = clients.collect();
        Self {
            random,
            at,
            clients,
            mail: Vec::new(),
            coordinator,
            broker: 1,
            faults: true,
            subscription,
        }
    }

    fn delay(&mut self) -> Duration {
        let most = if self.faults && self.random.u8(..10) == 0 { 5_000 } else { 30 };
        MS(self.random.u64(1..most))
    }

    fn post(&mut self, client: usize, token: u64, content: Content) {
        let at = self.at + self.delay();
        self.mail.push(Mail { at, client, token, content });
    }

    /// Whether something goes wrong that does so once in a number of times.
    fn trouble(&mut self, once_in: u32) -> bool {
        self.faults && self.random.u32(..once_in) == 0
    }

    fn drive(&mut self, index: usize) {
        let (at, client) = (self.at, &mut self.clients[index]);
        let actions = client.group.poll(at);
        let version = client.group.coordinator().known().map_or(0, |known| known.version);
        let mut posts = Vec::new();
        for action in actions {
            let Action::Send { token, to, request, .. } = action else { continue };
            let kind = kind(&request);
            if kind == "leave" {
                // What the member had under way it does not wait for any more.
                client.under_way.clear();
            }
            let twice = client.under_way.values().any(|other| *other == (kind, version));
            assert!(!twice, "two of {kind} under way: {:?}", client.group);
            client.under_way.insert(token, (kind, version));
            client.sent.push_back(at);
            client.kinds.push(kind);
            posts.push((token, Content::Request { to, request: *request }));
        }
        while client.sent.front().is_some_and(|first| *first + SECONDS(1) < at) {
            client.sent.pop_front();
            client.kinds.remove(0);
        }
        assert!(client.sent.len() <= BUSIEST, "{:?}: {:?}", client.group, client.kinds);
        assert!(client.group.poll(at).is_empty(), "more to do: {:?}", client.group);
        assert!(client.group.next_deadline().is_none_or(|next| next > at), "{:?}", client.group);
        for (token, content) in posts {
            self.post(index, token, content);
        }
    }

    /// What a user does: takes what it is told, and takes its time.
    fn user(&mut self, index: usize) {
        let at = self.at;
        let (asleep, slow) = (self.trouble(300), self.trouble(8));
        let pause = if asleep { SECONDS(400) } else { MS(self.random.u64(1..3_000)) };
        let busy = MS(if slow { 20_000 } else { 50 });
        let resubscribes = self.trouble(100);
        let client = &mut self.clients[index];
        if let Some((until, gone)) = &client.busy {
            if *until > at {
                return;
            }
            client.holds = &client.holds - gone;
            client.busy = None;
            client.group.event_done(at);
            client.group.poll_ends(at);
        } else if client.next_poll > at {
            return;
        }
        assert_eq!(client.group.owned(), &client.holds);
        client.next_poll = at + pause;
        if resubscribes {
            client.group.unsubscribe(at);
            client.unsubscribed = true;
        }
        client.group.poll_begins(at);
        let gone = match client.group.take_event(at) {
            Some(MemberEvent::Revoked(partitions)) => partitions.into_iter().collect(),
            Some(MemberEvent::Lost(partitions)) => {
                for partition in partitions {
                    client.holds.remove(&partition);
                }
                BTreeSet::new()
            }
            Some(MemberEvent::Assigned { added, all }) => {
                client.holds.extend(added);
                assert_eq!(client.holds, all.into_iter().collect(), "{:?}", client.group);
                BTreeSet::new()
            }
            Some(MemberEvent::Failed(error)) => panic!("{error}"),
            None => {
                client.group.poll_ends(at);
                if client.unsubscribed && client.group.is_out() {
                    client.unsubscribed = false;
                    client.group.subscribe(self.subscription.clone(), at);
                }
                return;
            }
        };
        client.busy = Some((at + busy, gone));
    }

    fn deliver(&mut self, Mail { client, token, content, .. }: Mail) {
        match content {
            Content::Answer(result) => {
                let member = &mut self.clients[client];
                member.under_way.remove(&token);
                member.group.handle_response(token, result, self.at);
            }
            Content::Request { .. } if self.trouble(25) => {
                self.post(client, token, Content::Answer(Err(disconnected())));
            }
            Content::Request { to: Destination::Any, .. } => {
                let code = match self.trouble(10) {
                    true => ErrorCode::COORDINATOR_NOT_AVAILABLE,
                    false => ErrorCode::NONE,
                };
                let GroupResponse::FindCoordinator(response) = found_error(code) else { return };
                let response = FindCoordinatorResponse { node_id: self.broker, ..response };
                let answer = Ok(GroupResponse::FindCoordinator(response));
                self.post(client, token, Content::Answer(answer));
            }
            Content::Request { to: Destination::Coordinator(broker), request } => {
                let at = self.at;
                let elsewhere = broker.0 != self.broker;
                let loading = !elsewhere && self.trouble(40);
                let answers = if elsewhere {
                    vec![((client, token), refusal(&request, ErrorCode::NOT_COORDINATOR))]
                } else if loading {
                    vec![(
                        (client, token),
                        refusal(&request, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS),
                    )]
                } else {
                    self.coordinator.take((client, token), request, at)
                };
                self.answers(answers);
            }
        }
    }

    fn answers(&mut self, answers: Vec<((usize, u64), GroupResponse)>) {
        for ((client, token), answer) in answers {
            let lost = self.trouble(40);
            let result = if lost { Err(disconnected()) } else { Ok(answer) };
            self.post(client, token, Content::Answer(result));
        }
    }

    fn step(&mut self) {
        if self.trouble(2_000) {
            self.broker = 3 - self.broker;
            let dropped = self.coordinator.moved();
            for (client, token) in dropped {
                self.post(client, token, Content::Answer(Err(disconnected())));
            }
        }
        let answers = self.coordinator.tick(self.at);
        self.answers(answers);
        let at = self.at;
        let (due, later) =
            std::mem::take(&mut self.mail).into_iter().partition(|mail| mail.at <= at);
        self.mail = later;
        let mut due: Vec<Mail> = due;
        due.sort_by_key(|mail| (mail.at, mail.client, mail.token));
        for mail in due {
            let client = mail.client;
            self.deliver(mail);
            self.drive(client);
        }
        for index in 0..MEMBERS {
            self.user(index);
            self.drive(index);
        }
        self.check();
        self.at += MS(20);
    }

    fn check(&mut self) {
        let mut owners = BTreeMap::new();
        for (index, client) in self.clients.iter().enumerate() {
            let me = client.group.identity();
            if !self.coordinator.is_member(&me) {
                continue;
            }
            for partition in &client.holds {
                let other = owners.insert(partition, index);
                assert_eq!(
                    other,
                    None,
                    "{partition} is held twice:\n{:?}\n{:?}",
                    self.clients[other.unwrap_or(0)].group,
                    client.group
                );
            }
        }
    }

    fn run(mut self) {
        for _ in 0..15_000 {
            self.step();
        }
        self.faults = false;
        for client in &mut self.clients {
            client.next_poll = self.at;
        }
        for _ in 0..15_000 {
            self.step();
        }
        let generations: BTreeSet<_> =
            self.clients.iter().map(|client| client.group.identity().generation_id).collect();
        let held: Vec<_> = self.clients.iter().flat_map(|client| &client.holds).collect();
        let groups: Vec<_> =
            self.clients.iter().map(|client| format!("{:?}", client.group)).collect();
        let partitions: usize = TOPICS.iter().map(|(_, count)| count).sum();
        assert_eq!(held.len(), partitions, "{held:?}\n{}", groups.join("\n"));
        assert_eq!(generations.len(), 1, "{}", groups.join("\n"));
        assert!(!generations.contains(&-1));
    }
}

/// What a broker that cannot serve the group says.
pub(super) fn refusal(request: &GroupRequest, error_code: ErrorCode) -> GroupResponse {
    match request {
        GroupRequest::FindCoordinator(_) => found_error(error_code),
        GroupRequest::JoinGroup(_) => join_error(error_code, ""),
        GroupRequest::SyncGroup(_) => sync_error(error_code),
        GroupRequest::Heartbeat(_) => heartbeat(error_code),
        GroupRequest::LeaveGroup(_) => GroupResponse::LeaveGroup(LeaveGroupResponse {
            error_code,
            ..LeaveGroupResponse::default()
        }),
        GroupRequest::ConsumerGroupHeartbeat(_) => {
            GroupResponse::ConsumerGroupHeartbeat(super::model::refused(error_code))
        }
    }
}

/// Deals out round robin, and lets members keep what they have where it can.
#[derive(Debug)]
struct Dealer(&'static [RebalanceProtocol]);

impl Assignor for Dealer {
    fn name(&self) -> &str {
        "greedy"
    }

    fn supported_protocols(&self) -> &[RebalanceProtocol] {
        self.0
    }

    fn assign(
        &self,
        cluster: &ClusterTopics,
        members: &BTreeMap<String, MemberSubscription>,
    ) -> BTreeMap<String, Assignment> {
        let names: Vec<_> = cluster.topics().map(|(topic, _)| topic.to_owned()).collect();
        let all = names.iter().flat_map(|topic| cluster.partitions(topic)).enumerate();
        let mut shares = BTreeMap::<String, Vec<_>>::new();
        let ids: Vec<_> = members.keys().collect();
        for (n, partition) in all {
            shares.entry(ids[n % ids.len()].clone()).or_default().push(partition);
        }
        shares.into_iter().map(|(id, share)| (id, Assignment::new(share))).collect()
    }
}

fn classic(protocols: &'static [RebalanceProtocol]) -> GroupConfig {
    let protocol = MemberProtocol::Classic {
        assignors: vec![Arc::new(Dealer(protocols))],
        session_timeout: SECONDS(45),
        heartbeat_interval: SECONDS(3),
    };
    GroupConfig { protocol, max_poll_interval: SECONDS(60), ..config(&[]) }
}

fn seeds() -> impl Iterator<Item = u64> {
    let one = std::env::var("MILENA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = one.map_or(1..5, |seed: u64| seed..seed + 1);
    seeds.inspect(|seed| eprintln!("MILENA_SEED={seed}"))
}

#[test]
fn eager_members() {
    for seed in seeds() {
        World::new(seed, super::model::Classic::default(), &classic(&[Eager])).run();
    }
}

#[test]
fn cooperative_members() {
    for seed in seeds() {
        World::new(seed, super::model::Classic::default(), &classic(&[Cooperative])).run();
    }
}

#[test]
fn members_of_the_new_protocol() {
    for seed in seeds() {
        let protocol = MemberProtocol::Consumer { remote_assignor: None };
        let config = GroupConfig { protocol, ..classic(&[]) };
        World::new(seed, super::model::Modern::default(), &config).run();
    }
}
