//! The task that runs a producer: it carries events to the [`Sender`] and its actions to the [`Client`], and decides
//! nothing itself. It ends when the producer is closed or its last handle is dropped, after what was accepted has
//! ended.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Fuse, pending, ready};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};

use crate::client::{Client, ClusterSnapshot, LeaderHint};
use crate::error::{Cause, ClientError, DeliveryErrorKind, ErrorCode, SendError};
use crate::producer::accumulator::Accumulator;
use crate::producer::commands::{Command, Finish, Left, Settled, Transact};
use crate::producer::coordination::ask;
use crate::producer::sender::{Action, Leadership, Produce, Sender};
use crate::producer::txn::{Support, TxnResponse};
use crate::protocol::messages::init_producer_id::InitProducerIdRequest;
use crate::protocol::messages::produce::{ProduceRequest, ProduceResponse};
use crate::time::{Duration, Instant, deadline};
use crate::types::{BrokerId, ProducerIdentity};

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// `request.timeout.ms`.
    pub(crate) request: Duration,
    /// What is left of a transactional producer when nobody holds it any more: a transaction ends by itself when its time
    /// is over. What other producers have accepted ends by `delivery.timeout.ms`.
    pub(crate) abandoned: Option<Duration>,
}

/// Who waits for something about transactions.
#[derive(Debug)]
enum Waiter {
    Begin(oneshot::Receiver<Finish>, oneshot::Sender<Settled>),
    Other(oneshot::Sender<Settled>),
}

/// What the task waits for, when it is over.
enum Event {
    Connected(BrokerId, Result<(), ClientError>),
    Produced(u64, Result<ProduceResponse, ClientError>),
    Unsent(u64),
    ProducerId(Result<ProducerIdentity, Cause>),
    Coordinator(u64, Result<(TxnResponse, Support), ClientError>),
}

pub(crate) struct Driver {
    sender: Sender,
    accumulator: Arc<Accumulator>,
    client: Client,
    commands: mpsc::Receiver<Command>,
    snapshot: Arc<ClusterSnapshot>,
    /// Resolves when there is a later snapshot.
    newer: Fuse<BoxFuture<'static, Result<(), ClientError>>>,
    pending: FuturesUnordered<BoxFuture<'static, Event>>,
    patience: Patience,
    /// Set while the producer is closing: when what is left is given up.
    give_up_at: Option<Instant>,
    closing: Vec<oneshot::Sender<Left>>,
    /// Who waits for something about transactions, by the number of it.
    waiters: HashMap<u64, Waiter>,
    last_operation: u64,
    /// Says how the transaction that is open is to end.
    open: Option<oneshot::Receiver<Finish>>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closing,
    /// Closing, and nobody is left who could ask for anything.
    Abandoned,
}

impl Driver {
    pub(crate) fn new(
        sender: Sender,
        accumulator: Arc<Accumulator>,
        client: Client,
        commands: mpsc::Receiver<Command>,
        patience: Patience,
    ) -> Self {
        let newer = client.changed().boxed();
        let snapshot = client.metadata();
        Self {
            sender,
            accumulator,
            client,
            commands,
            snapshot,
            newer: newer.fuse(),
            pending: FuturesUnordered::new(),
            patience,
            give_up_at: None,
            closing: Vec::new(),
            waiters: HashMap::new(),
            last_operation: 0,
            open: None,
            state: State::Open,
        }
    }

    /// Runs until the producer has closed.
    pub(crate) async fn run(mut self) {
        loop {
            self.absorb();
            let now = Instant::now();
            let mut hints = Vec::new();
            for action in self.sender.poll(now) {
                self.act(action, &mut hints);
            }
            // If any is no news, the client knows a later leader.
            self.client.update_leaders(&hints);
            self.tell_ended();
            if self.give_up_at.is_some_and(|at| at <= now) {
                break;
            }
            if self.state != State::Open && self.sender.is_idle() {
                if !self.look_everywhere() {
                    break;
                }
                continue;
            }
            self.wait().await;
        }
        self.end().await;
    }

    async fn end(mut self) {
        let now = Instant::now();
        let transaction = !self.sender.is_settled();
        let batches = self.sender.fail_all(&DeliveryErrorKind::Closed, now);
        // A send that was under way when the producer closed may have appended since.
        self.accumulator.close(SendError::Closed);
        // Whatever has not ended by then ends without being waited for.
        self.client.close(self.give_up_at.unwrap_or(now)).await;
        for reply in std::mem::take(&mut self.closing) {
            // Who asked may have gone.
            let _ = reply.send(Left { batches, transaction });
        }
    }

    /// Takes in what has happened without being waited for.
    fn absorb(&mut self) {
        if self.client.metadata().generation() != self.snapshot.generation() {
            self.absorb_metadata();
        }
        for queue in self.accumulator.take_unseen() {
            self.keep_fresh(&queue.topic);
            let known = leadership(&self.snapshot, &queue.topic, queue.partition);
            self.sender.handle_queue(queue, known.unwrap_or(Leadership::UNKNOWN));
        }
        let closed: Vec<_> =
            self.sender.connected().filter(|&id| self.client.connection(id).is_none()).collect();
        for node in closed {
            self.sender.handle_disconnected(node);
        }
    }

    fn absorb_metadata(&mut self) {
        self.snapshot = self.client.metadata();
        for topic in self.snapshot.topics() {
            let leaders = topic.partitions.iter().map(|partition| partition.leader);
            // Refused only when the producer is closed, and then no partition matters.
            let _ = self.accumulator.update_topic(&topic.name, leaders);
        }
        let snapshot = &self.snapshot;
        self.sender.handle_metadata(|topic, partition| leadership(snapshot, topic, partition));
        for topic in self.sender.active_topics() {
            self.keep_fresh(&topic);
        }
    }

    /// A topic that has records to send is in use (`metadata.max.idle.ms`), also if it was forgotten before.
    fn keep_fresh(&self, topic: &str) {
        match self.snapshot.topic(topic) {
            Some(topic) => topic.touch(),
            None => self.client.track(topic),
        }
    }

    /// Finds batches whose appender has not come to say so yet; whether there are any.
    fn look_everywhere(&mut self) -> bool {
        let queues = self.accumulator.queues_with_batches();
        let found = !queues.is_empty();
        for queue in queues {
            let known = leadership(&self.snapshot, &queue.topic, queue.partition);
            self.sender.handle_queue(queue, known.unwrap_or(Leadership::UNKNOWN));
        }
        found
    }

    async fn wait(&mut self) {
        let deadline = match (self.sender.next_deadline(), self.give_up_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        // Biased, so that a seed gives the same run. Only commands could be starved, so they come first: what the others
        // wait for is looked at in every turn.
        tokio::select! {
            biased;
            command = self.commands.recv(), if self.state != State::Abandoned => self.command(command),
            finish = told(&mut self.open), if self.open.is_some() => self.finish(finish),
            Some(event) = self.pending.next() => {
                self.handle(event);
                // Answers that came together are dealt with together.
                while let Some(Some(event)) = self.pending.next().now_or_never() {
                    self.handle(event);
                }
            }
            () = self.accumulator.changed() => {}
            news = &mut self.newer => if news.is_ok() {
                // Before the snapshot is looked at, so that none is missed between the two.
                self.newer = self.client.changed().boxed().fuse();
            },
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {}
        }
    }

    fn command(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Flush(reply)) => {
                self.absorb();
                self.look_everywhere();
                // Who asked may have gone.
                let _ = reply.send(self.sender.completions());
            }
            Some(Command::Close(deadline, reply)) => {
                self.give_up_at = Some(self.give_up_at.map_or(deadline, |at| at.min(deadline)));
                self.closing.push(reply);
                self.start_closing(State::Closing);
            }
            Some(Command::Transact(transact)) => self.transact(transact),
            // The last handle was dropped: each record still has its delivery time-out.
            None => {
                if let Some(patience) = self.patience.abandoned {
                    self.give_up_at.get_or_insert(deadline(Instant::now(), patience));
                }
                self.start_closing(State::Abandoned);
            }
        }
    }

    fn transact(&mut self, transact: Transact) {
        let operation = self.next_operation();
        let waiter = match transact {
            Transact::Begin { end, reply } => {
                self.finish_what_is_left();
                self.sender.handle_begin(operation);
                Waiter::Begin(end, reply)
            }
            Transact::SendOffsets { group, offsets, reply } => {
                self.sender.handle_offsets(operation, group, offsets);
                Waiter::Other(reply)
            }
            Transact::Settle(reply) => {
                self.finish_what_is_left();
                self.sender.handle_settle(operation);
                Waiter::Other(reply)
            }
        };
        self.waiters.insert(operation, waiter);
    }

    /// Who closes, begins or settles holds no transaction any more: it ends as was said, or it was forgotten and is aborted.
    fn finish_what_is_left(&mut self) {
        if let Some(mut open) = self.open.take() {
            self.finish(open.try_recv().ok());
        }
    }

    /// Ends the transaction that is open; one that was dropped is aborted.
    fn finish(&mut self, finish: Option<Finish>) {
        self.open = None;
        // What was sent before it belongs to it.
        self.absorb();
        let now = Instant::now();
        let Some(Finish { commit, reply }) = finish else {
            return self.sender.handle_finish(false, None, now);
        };
        let operation = self.next_operation();
        self.waiters.insert(operation, Waiter::Other(reply));
        self.sender.handle_finish(commit, Some(operation), now);
    }

    fn next_operation(&mut self) -> u64 {
        self.last_operation += 1;
        self.last_operation
    }

    /// Tells who waits for it what is over. Who asked may have gone.
    fn tell_ended(&mut self) {
        for (operation, result) in self.sender.take_ended() {
            match self.waiters.remove(&operation) {
                Some(Waiter::Begin(end, reply)) => {
                    self.open = result.is_ok().then_some(end);
                    let _ = reply.send(result);
                }
                Some(Waiter::Other(reply)) => _ = reply.send(result),
                None => {}
            }
        }
    }

    fn start_closing(&mut self, state: State) {
        self.state = state;
        self.finish_what_is_left();
        self.accumulator.refuse(SendError::Closed);
        self.sender.handle_close();
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Connected(node, Ok(())) => self.sender.handle_connected(node),
            Event::Connected(node, Err(error)) => self.sender.handle_unreachable(node, error, now),
            Event::Produced(token, result) => self.sender.handle_produced(token, result, now),
            Event::Unsent(token) => self.sender.handle_unsent(token, now),
            Event::ProducerId(result) => self.sender.handle_producer_id(result, now),
            Event::Coordinator(token, result) => {
                self.sender.handle_coordinator(token, result, now);
            }
        }
    }

    /// Hints are left for all to be taken up together.
    fn act(&mut self, action: Action, hints: &mut Vec<LeaderHint>) {
        match action {
            Action::Connect(node) => {
                let client = self.client.clone();
                let connect = async move {
                    let result = client.connect(node).await;
                    Event::Connected(node, result.map(|_connection| ()))
                };
                self.pending.push(Box::pin(connect));
            }
            Action::RefreshMetadata => self.client.request_refresh(),
            Action::InitProducerId => {
                let (client, deadline) =
                    (self.client.clone(), Instant::now() + self.patience.request);
                self.pending.push(Box::pin(async move {
                    Event::ProducerId(init_producer_id(&client, deadline).await)
                }));
            }
            Action::Produce(produce) => self.produce(produce),
            Action::AskCoordinator(asked) => {
                let (client, token) = (self.client.clone(), asked.token);
                self.pending.push(Box::pin(async move {
                    Event::Coordinator(token, ask(client, asked).await)
                }));
            }
            Action::LeaderHint(hint) => hints.push(hint),
            Action::Fatal(error) => self.accumulator.refuse(SendError::Fatal(error)),
        }
    }

    fn produce(&mut self, produce: Produce) {
        let Produce { token, node, request, versions } = produce;
        let Some(connection) = self.client.connection(node) else {
            return self.tell(Event::Unsent(token));
        };
        let version = match connection.version_within::<ProduceRequest>(versions) {
            Ok(version) => version,
            Err(error) => return self.tell(Event::Produced(token, Err(error))),
        };
        // The request is queued on the connection here, in order; what is awaited is the answer.
        let timeout = self.patience.request;
        self.pending.push(if request.acks == 0 {
            let sent = connection.send_at(&request, version, timeout);
            let answer = async move { sent.await.map(|()| ProduceResponse::default()) };
            answer.map(move |result| Event::Produced(token, result)).boxed()
        } else {
            let answer = connection.call_at(&request, version, timeout);
            answer.map(move |result| Event::Produced(token, result)).boxed()
        });
    }

    /// Not told to the sender at once: it is being asked what to do, and has said already when it
    /// wants to be asked again.
    fn tell(&self, event: Event) {
        self.pending.push(ready(event).boxed());
    }
}

/// The task may be dropped before it has run to its end, with its runtime or by a panic: the records end all the same.
impl Drop for Driver {
    fn drop(&mut self) {
        self.accumulator.close(SendError::Closed);
    }
}

/// How the transaction is to end; nothing if whoever could say so is gone.
async fn told(open: &mut Option<oneshot::Receiver<Finish>>) -> Option<Finish> {
    match open {
        Some(end) => end.await.ok(),
        None => pending().await,
    }
}

fn leadership(snapshot: &ClusterSnapshot, topic: &str, partition: i32) -> Option<Leadership> {
    let topic = snapshot.topic(topic)?;
    let partition = topic.partitions.get(usize::try_from(partition).ok()?)?;
    Some(Leadership { leader: partition.leader, epoch: partition.leader_epoch, topic_id: topic.id })
}

async fn init_producer_id(client: &Client, deadline: Instant) -> Result<ProducerIdentity, Cause> {
    let request = InitProducerIdRequest {
        transactional_id: None,
        // Only transactions have a time-out.
        transaction_timeout_ms: i32::MAX,
        ..InitProducerIdRequest::default()
    };
    let response = client.call_any(&request, deadline).await.map_err(Cause::Client)?;
    let identity = ProducerIdentity { id: response.producer_id, epoch: response.producer_epoch };
    match response.error_code {
        // With an id of -1 batches would go out as those of a producer without idempotence.
        ErrorCode::NONE if identity.id < 0 || identity.epoch < 0 => {
            Err(Cause::Client(ClientError::Broker {
                code: ErrorCode::UNKNOWN_SERVER_ERROR,
                api: "InitProducerId",
                subject: None,
                message: Some("the answer has no producer id".into()),
            }))
        }
        ErrorCode::NONE => Ok(identity),
        code => Err(Cause::Broker(code, None)),
    }
}
