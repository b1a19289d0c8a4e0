//! The length in front of each frame, and what it betrays about a peer that does not speak Kafka.

/// The bytes of a frame's length.
pub const LENGTH_SIZE: usize = 4;

/// A length that no Kafka peer of ours would send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    #[error("the peer answered in {0}, not in Kafka's protocol; check port and security protocol")]
    NotKafka(&'static str),
    #[error("the frame's length {0} is negative; the peer does not seem to speak Kafka's protocol")]
    Negative(i32),
    #[error("the frame's length {length} exceeds the limit of {max} bytes")]
    TooLarge { length: usize, max: usize },
}

/// The length of the frame that follows, at most `max`.
pub fn frame_length(prefix: [u8; LENGTH_SIZE], max: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(length) if length <= max => Ok(length),
        _ if prefix == *b"HTTP" => Err(FrameError::NotKafka("HTTP")),
        // A TLS record: alert or handshake, then the major version.
        _ if matches!(prefix, [0x15 | 0x16, 0x03, ..]) => Err(FrameError::NotKafka("TLS")),
        _ if prefix == *b"SSH-" => Err(FrameError::NotKafka("SSH")),
        Ok(length) => Err(FrameError::TooLarge { length, max }),
        Err(_) => Err(FrameError::Negative(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_within_the_limit_is_taken() {
        assert_eq!(frame_length([0, 0, 1, 2], 258), Ok(258));
        assert_eq!(frame_length([0; 4], 0), Ok(0));
    }

    #[test]
    fn other_lengths_are_refused_with_what_they_look_like() {
        let refused = |prefix: &[u8; 4]| frame_length(*prefix, 100 << 20).expect_err("refused");
        assert_eq!(refused(b"HTTP"), FrameError::NotKafka("HTTP"));
        assert_eq!(refused(b"SSH-"), FrameError::NotKafka("SSH"));
        // A TLS alert, as a listener sends that gets plain text.
        assert_eq!(refused(b"\x15\x03\x03\0"), FrameError::NotKafka("TLS"));
        assert_eq!(refused(b"\xff\xff\xff\xfe"), FrameError::Negative(-2));
        let length = 0x7fff_ffff;
        let too_large = FrameError::TooLarge { length, max: 100 << 20 };
        assert_eq!(refused(&[0x7f, 0xff, 0xff, 0xff]), too_large);
    }
}
