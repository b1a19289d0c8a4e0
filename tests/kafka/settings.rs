//! The `server.properties` of a test's nodes: small, quick, and internal topics that fit the number of nodes. Every
//! release is given the same; what one does not know it warns of in its log and ignores.

use std::collections::BTreeMap;
use std::path::Path;

/// Names and values, as in a properties file.
pub(crate) type Settings = BTreeMap<String, String>;

/// Who holds the cluster's metadata.
#[derive(Debug)]
pub(crate) enum Quorum {
    /// The nodes themselves, each a controller too, with these ports for that role.
    KRaft(Vec<u16>),
    /// A ZooKeeper on this port, for releases whose KRaft was a preview.
    ZooKeeper(u16),
}

/// The settings of node `id` of `nodes`, which listens on `port` of 127.0.0.1 and keeps its files in `folder`.
pub(crate) fn node(id: usize, nodes: usize, port: u16, folder: &Path, quorum: &Quorum) -> Settings {
    let address = format!("PLAINTEXT://127.0.0.1:{port}");
    let mut settings = common(nodes);
    let mut set = |name: &str, value: &str| settings.insert(name.to_owned(), value.to_owned());
    set("log.dirs", &folder.join("data").display().to_string());
    set("advertised.listeners", &address);
    match quorum {
        Quorum::KRaft(controllers) => {
            let voters: Vec<String> =
                (1..).zip(controllers).map(|(id, port)| format!("{id}@127.0.0.1:{port}")).collect();
            let controller = controllers[id - 1];
            set("process.roles", "broker,controller");
            set("node.id", &id.to_string());
            set("controller.quorum.voters", &voters.join(","));
            set("controller.listener.names", "CONTROLLER");
            set("listeners", &format!("{address},CONTROLLER://127.0.0.1:{controller}"));
        }
        Quorum::ZooKeeper(zookeeper) => {
            set("broker.id", &id.to_string());
            set("zookeeper.connect", &format!("127.0.0.1:{zookeeper}"));
            set("zookeeper.session.timeout.ms", "6000");
            set("listeners", &address);
        }
    }
    settings
}

/// The settings of a ZooKeeper on `port` of 127.0.0.1.
pub(crate) fn zookeeper(port: u16, folder: &Path) -> Settings {
    let pairs = [
        ("dataDir", folder.join("data").display().to_string()),
        ("clientPort", port.to_string()),
        ("clientPortAddress", "127.0.0.1".to_owned()),
        ("admin.enableServer", "false".to_owned()),
        ("maxClientCnxns", "0".to_owned()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}

/// A file's text.
pub(crate) fn text(settings: &Settings) -> String {
    settings.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

fn common(nodes: usize) -> Settings {
    let replication = nodes.min(3).to_string();
    let min_isr = nodes.min(2).to_string();
    let pairs = [
        ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        ("auto.create.topics.enable", "false"),
        ("offsets.topic.replication.factor", &replication),
        ("offsets.topic.num.partitions", "4"),
        ("transaction.state.log.replication.factor", &replication),
        ("transaction.state.log.min.isr", &min_isr),
        ("transaction.state.log.num.partitions", "4"),
        ("share.coordinator.state.topic.replication.factor", &replication),
        ("share.coordinator.state.topic.min.isr", &min_isr),
        ("share.coordinator.state.topic.num.partitions", "4"),
        ("group.initial.rebalance.delay.ms", "0"),
        // Members hear of a rebalance by a heartbeat.
        ("group.consumer.min.heartbeat.interval.ms", "100"),
        ("group.consumer.heartbeat.interval.ms", "300"),
        ("group.consumer.min.session.timeout.ms", "1000"),
        ("group.consumer.session.timeout.ms", "10000"),
        // Transactions that take too long are looked for so often.
        ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "500"),
        // Records of tests may be as old as they like.
        ("log.retention.ms", "-1"),
        ("log.cleaner.backoff.ms", "500"),
        ("num.network.threads", "2"),
        ("num.io.threads", "4"),
        // The defaults reserve half of a small heap, and 20 MB of disk for each partition.
        ("log.cleaner.dedupe.buffer.size", "2097152"),
        ("log.index.size.max.bytes", "1048576"),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}
