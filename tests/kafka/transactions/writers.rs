//! Transactional producers of ours that take the steps of a script: each is an actor, since a transaction borrows its
//! producer for as long as it is open.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use milena::{Delivery, Transaction, TransactionalProducer};
use tokio::sync::{mpsc, oneshot};

use crate::consumers::isolation::{Act, Script};
use crate::oracle::Record;
use crate::ours;

/// It would make itself felt if a commit or a flush waited for it.
const LINGER: (&str, &str) = ("linger.ms", "60000");
/// A broker must not end what the script leaves open.
const OPEN: (&str, &str) = ("transaction.timeout.ms", "600000");

/// Where records were written, by their numbers.
pub(crate) type Placed = BTreeMap<usize, (i32, i64)>;

/// What an actor is to do, and who is told when it is done.
struct Order<'r> {
    what: What<'r>,
    done: oneshot::Sender<Placed>,
}

enum What<'r> {
    Begin,
    Send(usize, &'r Record),
    Flush,
    Commit,
    Abort,
}

type Desk<'r> = mpsc::UnboundedSender<Order<'r>>;

/// Takes the steps of a script with producers of ours, does something else, and then commits the transaction that the
/// script leaves open.
pub(crate) async fn run(
    script: &Script,
    bootstrap: &str,
    topic: &str,
    ids: &[String; 2],
    meanwhile: impl AsyncFnOnce(&Placed),
) {
    let make = async |id| ours::transactional(bootstrap, id, &[LINGER, OPEN]).await.unwrap();
    let (a, b) = (make(&ids[0]).await, make(&ids[1]).await);
    let (to_a, of_a) = mpsc::unbounded_channel();
    let (to_b, of_b) = mpsc::unbounded_channel();
    let conduct = async move {
        let desks = [to_a, to_b];
        let placed = take_steps(script, bootstrap, topic, &desks).await;
        meanwhile(&placed).await;
        ask(&desks[1], What::Commit).await;
    };
    tokio::join!(conduct, live(a, topic, of_a), live(b, topic, of_b));
}

/// Whoever has sent flushes before another one sends, and before it aborts: a commit has to do so by itself.
async fn take_steps<'r>(
    script: &'r Script,
    bootstrap: &str,
    topic: &str,
    desks: &[Desk<'r>; 2],
) -> Placed {
    let plain = ours::producer(bootstrap, &[]);
    let mut placed = Placed::new();
    let mut last = None;
    for &(act, number) in &script.steps {
        let by = match act {
            Act::Send(by) => by,
            Act::Begin | Act::Commit | Act::Abort => Some(number),
        };
        if let Some(last) = last.take_if(|last| Some(*last) != by || matches!(act, Act::Abort)) {
            placed.append(&mut ask(&desks[last], What::Flush).await);
        }
        let (what, by) = match (act, by) {
            (Act::Send(_), None) => {
                let record = std::slice::from_ref(&script.records[number]);
                placed.insert(number, ours::send_all(&plain, topic, record).await[0]);
                continue;
            }
            (Act::Send(_), Some(by)) => (What::Send(number, &script.records[number]), by),
            (Act::Begin, _) => (What::Begin, number),
            (Act::Commit, _) => (What::Commit, number),
            (Act::Abort, _) => (What::Abort, number),
        };
        placed.append(&mut ask(&desks[by], what).await);
        last = matches!(act, Act::Send(_)).then_some(by);
    }
    ours::close(plain).await;
    placed
}

async fn ask<'r>(desk: &Desk<'r>, what: What<'r>) -> Placed {
    let (done, told) = oneshot::channel();
    assert!(desk.send(Order { what, done }).is_ok(), "it listens as long as there are steps");
    told.await.unwrap()
}

async fn live(
    mut producer: TransactionalProducer,
    topic: &str,
    mut orders: mpsc::UnboundedReceiver<Order<'_>>,
) {
    while let Some(Order { what, done }) = orders.recv().await {
        assert!(matches!(what, What::Begin), "no transaction is open");
        let transaction = producer.begin().await.unwrap();
        done.send(Placed::new()).unwrap();
        serve(transaction, topic, &mut orders).await;
    }
    ours::close_transactional(producer).await;
}

/// Until the transaction is over.
async fn serve(
    transaction: Transaction<'_>,
    topic: &str,
    orders: &mut mpsc::UnboundedReceiver<Order<'_>>,
) {
    let mut deliveries = Vec::new();
    while let Some(Order { what, done }) = orders.recv().await {
        match what {
            What::Begin => panic!("a transaction is open"),
            What::Send(number, record) => {
                let headers = ours::headers(record);
                let shaped = ours::shaped(topic, record, &headers);
                deliveries.push((number, transaction.send(&shaped).await.unwrap()));
                done.send(Placed::new()).unwrap();
            }
            What::Flush => {
                transaction.flush().await;
                done.send(placed(deliveries.drain(..))).unwrap();
            }
            What::Commit => {
                transaction.commit().await.unwrap();
                return done.send(placed(deliveries.into_iter())).unwrap();
            }
            What::Abort => {
                transaction.abort().await.unwrap();
                return done.send(placed(deliveries.into_iter())).unwrap();
            }
        }
    }
    panic!("the script left it open");
}

/// Where the records of deliveries are that are over.
fn placed(deliveries: impl Iterator<Item = (usize, Delivery)>) -> Placed {
    let place = |(number, delivery): (usize, Delivery)| {
        let metadata = delivery.now_or_never().expect("a flush waits for it").unwrap();
        (number, (metadata.partition(), metadata.offset().unwrap()))
    };
    deliveries.map(place).collect()
}
