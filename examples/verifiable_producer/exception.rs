//! What the Java client would have thrown: tools that read the lines tell errors apart by the names of its classes.

use milena::{DeliveryError, DeliveryErrorKind, ErrorCode, SendError};

const ERRORS: &str = "org.apache.kafka.common.errors";

/// Java's class for a record that was not accepted.
pub(crate) fn of_send(error: &SendError) -> String {
    match error {
        SendError::InvalidTopic { .. } => errors("InvalidTopic"),
        SendError::InvalidPartition { .. }
        | SendError::MetadataTimeout { .. }
        | SendError::PartitionTimeout { .. } => errors("Timeout"),
        SendError::RecordTooLarge { .. } => errors("RecordTooLarge"),
        SendError::Serialization(_) => errors("Serialization"),
        SendError::BufferFull { .. } => {
            "org.apache.kafka.clients.producer.BufferExhaustedException".to_owned()
        }
        SendError::InvalidTimestamp { .. } => "java.lang.IllegalArgumentException".to_owned(),
        SendError::Closed => "java.lang.IllegalStateException".to_owned(),
        SendError::Fatal(error) => of_code(error.code),
        _ => general(),
    }
}

/// Java's class for a record that was accepted and not acknowledged.
pub(crate) fn of_delivery(error: &DeliveryError) -> String {
    match error.kind() {
        DeliveryErrorKind::TimedOut { .. } => errors("Timeout"),
        DeliveryErrorKind::Refused(code) => of_code(*code),
        DeliveryErrorKind::Disconnected => errors("Network"),
        DeliveryErrorKind::Unsendable => errors("UnsupportedVersion"),
        DeliveryErrorKind::Fatal(error) => of_code(error.code),
        _ => general(),
    }
}

/// Java's class for everything that has none of its own.
pub(crate) fn general() -> String {
    "org.apache.kafka.common.KafkaException".to_owned()
}

fn errors(name: &str) -> String {
    format!("{ERRORS}.{name}Exception")
}

/// Most classes are called as the code is; the others here are those with which a broker answers producers.
fn of_code(code: ErrorCode) -> String {
    match code {
        ErrorCode::CORRUPT_MESSAGE => errors("CorruptRecord"),
        ErrorCode::REQUEST_TIMED_OUT => errors("Timeout"),
        ErrorCode::MESSAGE_TOO_LARGE => errors("RecordTooLarge"),
        ErrorCode::RECORD_LIST_TOO_LARGE => errors("RecordBatchTooLarge"),
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER => errors("OutOfOrderSequence"),
        ErrorCode::INVALID_PRODUCER_ID_MAPPING => errors("InvalidPidMapping"),
        ErrorCode::INVALID_RECORD => "org.apache.kafka.common.InvalidRecordException".to_owned(),
        code => {
            let words = code.name().split('_');
            let words = words.filter(|word| !matches!(*word, "FAILED" | "EXCEPTION" | "ERROR"));
            errors(&words.map(camel).collect::<String>())
        }
    }
}

fn camel(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    first.to_owned() + &rest.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Kafka 4.3.1's `Errors` has them.
    #[test]
    fn classes_are_javas() {
        for (code, class) in [
            (ErrorCode::UNKNOWN_SERVER_ERROR, "UnknownServerException"),
            (ErrorCode::CORRUPT_MESSAGE, "CorruptRecordException"),
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, "UnknownTopicOrPartitionException"),
            (ErrorCode::NOT_LEADER_OR_FOLLOWER, "NotLeaderOrFollowerException"),
            (ErrorCode::REQUEST_TIMED_OUT, "TimeoutException"),
            (ErrorCode::MESSAGE_TOO_LARGE, "RecordTooLargeException"),
            (ErrorCode::NETWORK_EXCEPTION, "NetworkException"),
            (ErrorCode::INVALID_TOPIC_EXCEPTION, "InvalidTopicException"),
            (ErrorCode::RECORD_LIST_TOO_LARGE, "RecordBatchTooLargeException"),
            (ErrorCode::NOT_ENOUGH_REPLICAS, "NotEnoughReplicasException"),
            (ErrorCode::INVALID_REQUIRED_ACKS, "InvalidRequiredAcksException"),
            (ErrorCode::TOPIC_AUTHORIZATION_FAILED, "TopicAuthorizationException"),
            (ErrorCode::CLUSTER_AUTHORIZATION_FAILED, "ClusterAuthorizationException"),
            (ErrorCode::INVALID_TIMESTAMP, "InvalidTimestampException"),
            (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, "OutOfOrderSequenceException"),
            (ErrorCode::KAFKA_STORAGE_ERROR, "KafkaStorageException"),
            (ErrorCode::UNKNOWN_PRODUCER_ID, "UnknownProducerIdException"),
        ] {
            assert_eq!(of_code(code), format!("{ERRORS}.{class}"));
        }
        let record = of_code(ErrorCode::INVALID_RECORD);
        assert_eq!(record, "org.apache.kafka.common.InvalidRecordException");
    }
}
