//! The tables of what a consumer measures beside its connections, with the names of Kafka's Java
//! client. What goes in, and when, is decided in [`super`].

use crate::metrics::{Group, sensors};

sensors! {
    /// The calls of the user.
    pub(crate) struct PollSensors in Group::only("consumer-metrics");

    /// How long after the poll before each poll began, in ms.
    between {
        "time-between-poll-avg": Avg = "Average time in ms from the beginning of a poll to the next.",
        "time-between-poll-max": Max = "Longest time in ms from the beginning of a poll to the next.",
    }
    /// The part of the time since the last poll began that each poll waited.
    idle {
        "poll-idle-ratio-avg": Avg =
            "The part of the time that the user spent in polls, and not with records.",
    }
    /// See [`State`](super::State).
    last_poll {
        "last-poll-seconds-ago": Value = "Seconds since the last poll began; -1 if there was none.",
    }
    /// How long each commit took that the user waited for.
    commit_sync {
        "commit-sync-time-ns-total": Total = "Time in ns spent in commits that are waited for.",
    }
    /// How long each look-up of committed offsets took.
    committed {
        "committed-time-ns-total": Total = "Time in ns spent in looking up committed offsets.",
    }
}

sensors! {
    /// What was fetched and handed out, of all topics together.
    pub(crate) struct FetchSensors in Group::only("consumer-fetch-manager-metrics");

    /// How long each fetch took, in ms.
    latency {
        "fetch-latency-avg": Avg = "Average time in ms from a fetch to its response.",
        "fetch-latency-max": Max = "Longest time in ms from a fetch to its response.",
        "fetch-rate": CountRate = "Fetches answered per second.",
        "fetch-total": CountTotal = "Fetches answered.",
    }
    /// For how long each response says that the broker was held back, in ms.
    throttle {
        "fetch-throttle-time-avg": Avg = "Average time in ms for which a broker throttled a fetch.",
        "fetch-throttle-time-max": Max = "Longest time in ms for which a broker throttled a fetch.",
    }
    /// The bytes of the batches in each response.
    size {
        "fetch-size-avg": Avg = "Average size in bytes of the batches in a response, compressed.",
        "fetch-size-max": Max = "Size in bytes of the batches in the largest response, compressed.",
    }
    /// The records of the batches in each response.
    per_request {
        "records-per-request-avg": Avg = "Average number of records in a response.",
    }
    /// The bytes of what each poll handed out.
    bytes {
        "bytes-consumed-rate": Rate = "Bytes of records handed out per second, decompressed.",
        "bytes-consumed-total": Total = "Bytes of records handed out, decompressed.",
    }
    /// The records that each poll handed out.
    records {
        "records-consumed-rate": Rate = "Records handed out per second.",
        "records-consumed-total": Total = "Records handed out.",
    }
    /// How far behind each partition is that a poll handed records out of.
    lag {
        "records-lag-max": Max = "How many records the partition that is furthest behind is behind.",
    }
    /// How far ahead of deletion each partition is that a poll handed records out of.
    lead {
        "records-lead-min": Min =
            "How many records the partition nearest to the beginning of its log is ahead of it.",
    }
}

sensors! {
    /// What was fetched and handed out of one topic.
    pub(crate) struct TopicSensors in Group::only("consumer-fetch-manager-metrics"), by "topic";

    /// The bytes of its batches in each response that has some.
    size {
        "fetch-size-avg": Avg = "Average size in bytes of the topic's batches in a response, compressed.",
        "fetch-size-max": Max = "Largest size in bytes of the topic's batches in a response, compressed.",
    }
    /// The records of its batches in each response that has some.
    per_request {
        "records-per-request-avg": Avg = "Average number of the topic's records in a response.",
    }
    /// The bytes of what each poll handed out.
    bytes {
        "bytes-consumed-rate": Rate = "Bytes of the topic's records handed out per second, decompressed.",
        "bytes-consumed-total": Total = "Bytes of the topic's records handed out, decompressed.",
    }
    /// The records that each poll handed out.
    records {
        "records-consumed-rate": Rate = "Records of the topic handed out per second.",
        "records-consumed-total": Total = "Records of the topic handed out.",
    }
}

sensors! {
    /// How one assigned partition stands.
    pub(crate) struct PartitionSensors in Group::only("consumer-fetch-manager-metrics"),
        by "partition" and "topic";

    /// How far behind it was after each poll that handed records out of it.
    lag {
        "records-lag-avg": Avg = "Average number of records that the partition was behind.",
        "records-lag-max": Max = "The most records that the partition was behind.",
    }
    /// The last of those.
    last_lag {
        "records-lag": Value = "How many records the partition is behind.",
    }
    /// How far it was ahead of the beginning of its log after each such poll.
    lead {
        "records-lead-avg": Avg =
            "Average number of records between the beginning of the log and the position.",
        "records-lead-min": Min =
            "The fewest records between the beginning of the log and the position.",
    }
    /// The last of those.
    last_lead {
        "records-lead": Value = "How many records lie between the beginning of the log and the position.",
    }
    /// See [`PartitionState`](super::PartitionState).
    replica {
        "preferred-read-replica": Value = "The replica that it is fetched from; -1 for the leader.",
    }
}

sensors! {
    /// The membership in a group, and commits.
    pub(crate) struct GroupSensors in Group::only("consumer-coordinator-metrics");

    /// See [`State`](super::State).
    assigned {
        "assigned-partitions": Value = "How many partitions are assigned.",
    }
    /// How long each commit request took, in ms.
    commit {
        "commit-latency-avg": Avg = "Average time in ms from a commit request to its response.",
        "commit-latency-max": Max = "Longest time in ms from a commit request to its response.",
        "commit-rate": CountRate = "Commit requests answered per second.",
        "commit-total": CountTotal = "Commit requests answered.",
    }
    /// How long each heartbeat took, in ms.
    heartbeat {
        "heartbeat-response-time-max": Max = "Longest time in ms from a heartbeat to its response.",
        "heartbeat-rate": CountRate = "Heartbeats answered per second.",
        "heartbeat-total": CountTotal = "Heartbeats answered.",
    }
    /// See [`GroupStats`](crate::consumer::group::GroupStats).
    last_heartbeat {
        "last-heartbeat-seconds-ago": Value = "Seconds since the last heartbeat was sent; -1 if none was.",
    }
    /// How long each JoinGroup took, in ms.
    join {
        "join-time-avg": Avg = "Average time in ms that joining the group took.",
        "join-time-max": Max = "Longest time in ms that joining the group took.",
        "join-rate": CountRate = "Times per second that the group was joined.",
        "join-total": CountTotal = "Times that the group was joined.",
    }
    /// How long each SyncGroup took, in ms.
    sync {
        "sync-time-avg": Avg = "Average time in ms that waiting for the assignment took.",
        "sync-time-max": Max = "Longest time in ms that waiting for the assignment took.",
        "sync-rate": CountRate = "Times per second that an assignment was asked for.",
        "sync-total": CountTotal = "Times that an assignment was asked for.",
    }
    /// How long each rebalance took, in ms.
    rebalance {
        "rebalance-latency-avg": Avg = "Average time in ms that a rebalance took.",
        "rebalance-latency-max": Max = "Longest time in ms that a rebalance took.",
        "rebalance-latency-total": Total = "Time in ms that rebalances took.",
        "rebalance-rate-per-hour": CountPerHour = "Rebalances per hour.",
        "rebalance-total": CountTotal = "Rebalances.",
    }
    /// Each rebalance that failed.
    failed_rebalance {
        "failed-rebalance-rate-per-hour": CountPerHour = "Rebalances per hour that failed.",
        "failed-rebalance-total": CountTotal = "Rebalances that failed.",
    }
    /// See [`GroupStats`](crate::consumer::group::GroupStats).
    last_rebalance {
        "last-rebalance-seconds-ago": Value = "Seconds since the last rebalance ended; -1 if none has.",
    }
    /// How long the listener took each time that partitions were assigned, in ms.
    listener_assigned {
        "partition-assigned-latency-avg": Avg = "Average time in ms of the listener on assignments.",
        "partition-assigned-latency-max": Max = "Longest time in ms of the listener on an assignment.",
    }
    /// How long the listener took each time that partitions were revoked, in ms.
    listener_revoked {
        "partition-revoked-latency-avg": Avg = "Average time in ms of the listener on revocations.",
        "partition-revoked-latency-max": Max = "Longest time in ms of the listener on a revocation.",
    }
    /// How long the listener took each time that partitions were lost, in ms.
    listener_lost {
        "partition-lost-latency-avg": Avg = "Average time in ms of the listener on losses.",
        "partition-lost-latency-max": Max = "Longest time in ms of the listener on a loss.",
    }
}
