//! What the settings of all scenarios have in common: how they are rolled, and how a client finds the cluster and tries
//! again. What a scenario is about it does not know.

use std::time::Duration;

/// One of these, at random.
pub(crate) fn one_of<T: Copy>(dice: &mut fastrand::Rng, choices: &[T]) -> T {
    *dice.choice(choices).expect("choices")
}

/// The value of a property in milliseconds.
pub(crate) fn ms(duration: Duration) -> String {
    duration.as_millis().to_string()
}

/// The properties of a client of so many nodes that gives a connection time until `setup`, and waits from `backoff` up to
/// `backoff_max` before it tries again.
pub(crate) fn connections(
    nodes: usize,
    setup: Duration,
    backoff: Duration,
    backoff_max: Duration,
) -> [(&'static str, String); 7] {
    let servers: Vec<_> = (1..=nodes).map(|node| format!("broker-{node}:9092")).collect();
    [
        ("bootstrap.servers", servers.join(",")),
        ("retry.backoff.ms", ms(backoff)),
        ("retry.backoff.max.ms", ms(backoff_max)),
        ("reconnect.backoff.ms", ms(backoff)),
        ("reconnect.backoff.max.ms", ms(backoff_max)),
        ("socket.connection.setup.timeout.ms", ms(setup)),
        ("socket.connection.setup.timeout.max.ms", ms(setup)),
    ]
}
