//! A session of sends and polls while responses are mangled at random, by seed: each step ends, with
//! what it should or with a typed error, in bounded time, tries and memory; what was acknowledged is
//! in the log, and what is read was written; and once the mangling stops, records flow again.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use milena::broker::ApiKey;
use milena::{Consumer, ConsumerError, Producer, SendError, StartAt};
use tokio::time::Instant;

use crate::harness::{MIB, all, run};
use crate::server::{Exchange, Reply, Server, TOPIC};
use crate::session::{REQUEST_TIMEOUT, Unsent, partition, produce_value, producer, reader, says};

const SEEDS: u64 = 240;
/// Sends and polls per seed.
const STEPS: usize = 6;

/// A leader epoch from the future is believed for good, as that of the newest leader there is
/// (KIP-320); of that, only a new client is cured.
const INCURABLE: usize = 4;

#[test]
fn random_corruption_ends_in_errors_or_in_nothing() {
    let incurable = Cell::new(0);
    all(
        0..SEEDS,
        |seed| format!("seed {seed}"),
        |case, seed| {
            run(case, 2 * MIB, async {
                if !Session::run(case.to_owned(), seed).await {
                    incurable.set(incurable.get() + 1);
                }
            });
        },
    );
    assert!(incurable.get() <= INCURABLE, "{} of {SEEDS} needed new clients", incurable.get());
}

/// What mangles responses: some of those of one API, or of all, a number of times.
struct Mangler {
    random: fastrand::Rng,
    only: Option<ApiKey>,
    /// One in this many.
    rarity: u32,
    left: u32,
}

impl Mangler {
    fn new(seed: u64) -> Self {
        use ApiKey as A;
        let mut random = fastrand::Rng::with_seed(seed);
        let apis = [
            A::API_VERSIONS,
            A::METADATA,
            A::INIT_PRODUCER_ID,
            A::PRODUCE,
            A::LIST_OFFSETS,
            A::FETCH,
        ];
        let only = if random.bool() { random.choice(apis) } else { None };
        let (rarity, left) = (random.u32(1..5), random.u32(1..40));
        Self { random, only, rarity, left }
    }

    fn reply(&mut self, exchange: &Exchange<'_>) -> Reply {
        let meant = self.only.is_none_or(|api| api == exchange.api);
        if !meant || self.left == 0 || self.random.u32(..self.rarity) > 0 {
            return Reply::True;
        }
        self.left -= 1;
        let random = &mut self.random;
        let frame = exchange.response.to_vec();
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        let whole = || [&length[..], &frame].concat();
        match random.u8(..10) {
            0..3 => Reply::Frame(flipped(random, frame)),
            3 => Reply::Raw(flipped(random, whole())),
            4 => Reply::Frame(frame[..random.usize(..frame.len())].to_vec()),
            5 => {
                let whole = whole();
                let some = whole[..random.usize(..whole.len())].to_vec();
                if random.bool() { Reply::Raw(some) } else { Reply::Last(some) }
            }
            6 => Reply::Frame(with_more(random, frame)),
            7 => Reply::Raw(with_more(random, whole())),
            8 => {
                let id = exchange.correlation_id.to_be_bytes();
                let body = (0..random.usize(..1000)).map(|_| random.u8(..));
                Reply::Frame(id.into_iter().chain(body).collect())
            }
            _ => Reply::Raw([whole(), whole()].concat()),
        }
    }
}

/// Some of the first bytes are hit more often: they say most.
fn place(random: &mut fastrand::Rng, length: usize) -> usize {
    if random.bool() { random.usize(..length) } else { random.usize(..length.min(40)) }
}

fn flipped(random: &mut fastrand::Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..random.u32(1..6) {
        let at = place(random, bytes.len());
        bytes[at] ^= 1 << random.u32(..8);
    }
    bytes
}

fn with_more(random: &mut fastrand::Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    let at = place(random, bytes.len());
    let more: Vec<u8> = (0..random.usize(1..20)).map(|_| random.u8(..)).collect();
    bytes.splice(at..at, more);
    bytes
}

struct Session {
    case: String,
    server: Server,
    producer: Producer,
    reader: Consumer,
    sent: usize,
    acknowledged: BTreeSet<String>,
    read: BTreeSet<String>,
    /// What went wrong last.
    last: String,
}

impl Session {
    async fn run(case: String, seed: u64) -> bool {
        let start = Instant::now();
        let server = Server::start().await;
        let mut mangler = Mangler::new(seed);
        server.tamper(move |exchange| mangler.reply(exchange));
        let (producer, reader) = (producer(&server), reader(&server));
        let (acknowledged, read) = (BTreeSet::new(), BTreeSet::new());
        let mut session = Self {
            case,
            server,
            producer,
            reader,
            sent: 0,
            acknowledged,
            read,
            last: String::new(),
        };
        for _ in 0..STEPS {
            session.send().await;
            session.poll().await;
        }
        session.server.behave();
        // What a connection has heard of versions holds as long as it does.
        session.server.hang_up().await;
        let recovered = session.recovers().await;
        session.check(start.elapsed());
        recovered
    }

    fn fail(&self, what: &str) -> ! {
        panic!("{}: {what}: {}", self.case, self.last)
    }

    /// Sends a record; whether it was acknowledged. `produce_value` sees to the time.
    async fn send(&mut self) -> bool {
        let value = format!("value {}", self.sent);
        self.sent += 1;
        match produce_value(&self.producer, &value).await {
            Ok(metadata) => {
                assert_eq!((metadata.topic(), metadata.partition()), (TOPIC, 0), "{}", self.case);
                self.acknowledged.insert(value);
                true
            }
            Err(Unsent::Refused(SendError::Fatal(_))) => {
                // A code of authorization cannot be told from a mangled one.
                self.producer = producer(&self.server);
                false
            }
            Err(error) => {
                self.last = error.text();
                says(&self.case, &self.last, &[TOPIC]);
                false
            }
        }
    }

    /// Polls once; whether records came.
    async fn poll(&mut self) -> bool {
        let limit = 2 * REQUEST_TIMEOUT;
        let start = Instant::now();
        let result = self.reader.poll(limit).await;
        assert!(start.elapsed() <= limit, "{}: a poll took {:?}", self.case, start.elapsed());
        match result {
            Ok(records) => {
                for record in &records {
                    let value = String::from_utf8(record.value.unwrap_or_default().to_vec());
                    self.read.insert(value.unwrap_or_else(|_| self.fail("bytes from nowhere")));
                }
                !records.is_empty()
            }
            Err(
                error @ (ConsumerError::OffsetOutOfRange { .. }
                | ConsumerError::LogTruncation { .. }
                | ConsumerError::TopicRecreated { .. }),
            ) => {
                self.last = error.to_string();
                // The place was mangled; the user decides where to go on.
                self.reader.seek(&partition(), StartAt::Earliest).unwrap();
                false
            }
            Err(error) => {
                self.last = error.to_string();
                says(&self.case, &self.last, &[TOPIC]);
                false
            }
        }
    }

    /// Whether the same clients go on; if not, others have to.
    async fn recovers(&mut self) -> bool {
        if self.flows().await {
            return true;
        }
        let last = self.last.to_lowercase();
        assert!(last.contains("leader"), "{}: {last}", self.case);
        (self.producer, self.reader) = (producer(&self.server), reader(&self.server));
        if !self.flows().await {
            self.fail("records do not flow again");
        }
        false
    }

    /// Whether what is sent from now on comes to be written and read.
    async fn flows(&mut self) -> bool {
        let known = self.read.len();
        let (mut written, mut read) = (false, false);
        for _ in 0..8 {
            // There may be nothing else from where the reader thinks that it is.
            written |= self.send().await;
            read |= self.poll().await && self.read.len() > known;
            if written && read {
                return true;
            }
        }
        false
    }

    fn check(&self, took: Duration) {
        let log: BTreeSet<String> = self
            .server
            .cluster
            .records(TOPIC, 0)
            .into_iter()
            .map(|record| String::from_utf8(record.value.unwrap().to_vec()).unwrap())
            .collect();
        assert!(self.acknowledged.is_subset(&log), "{}: an acknowledged record is lost", self.case);
        assert!(self.read.is_subset(&log), "{}: a record was made up: {:?}", self.case, self.read);
        let most = 150 + 60 * usize::try_from(took.as_secs()).unwrap();
        let effort = self.server.effort();
        assert!(effort <= most, "{}: {effort} requests in {took:?}", self.case);
    }
}
