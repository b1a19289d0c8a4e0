//! Every message at every version: round trips, and bytes that are not what they should be.

use bytes::Bytes;
use proptest::prelude::*;

use super::error::{DecodeError, DecodeProblem};
use super::message::{Message, form_of};
use super::messages::{Visitor, visit};
use super::reader::Reader;
use super::writer::Writer;

/// A message with random values, in the version's own terms.
fn arbitrary<M: Message>(seed: u64, version: i16) -> M {
    M::arbitrary(&mut fastrand::Rng::with_seed(seed), form_of::<M>(version).expect("a version"))
}

fn encoded(message: &impl Message, version: i16) -> Bytes {
    let mut w = Writer::new();
    message.encode(&mut w, version).expect("an arbitrary message fits its version");
    let (total, segments) = w.into_segments();
    let bytes = segments.concat();
    assert_eq!(total, bytes.len());
    bytes.into()
}

fn decoded<M: Message>(bytes: Bytes, version: i16) -> Result<M, DecodeError> {
    M::decode(&mut Reader::new(bytes), version)
}

/// Runs a closure's worth of checks for every version of every message.
macro_rules! for_each_version {
    (|$version:ident, $message:ident, $seed:ident| $check:block) => {{
        struct Check(u64);
        impl Visitor for Check {
            fn message<$message: Message>(&mut self) {
                let $seed = self.0;
                for $version in $message::VERSIONS.min..=$message::VERSIONS.max {
                    $check
                }
            }
        }
        |seed: u64| visit(&mut Check(seed))
    }};
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_written_is_read_back(seed: u64) {
        for_each_version!(|version, M, seed| {
            let message: M = arbitrary(seed, version);
            let bytes = encoded(&message, version);
            assert_eq!(decoded(bytes, version), Ok(message), "{} v{version}", M::NAME);
        })(seed);
    }

    #[test]
    fn every_truncation_is_an_error(seed: u64) {
        for_each_version!(|version, M, seed| {
            let bytes = encoded(&arbitrary::<M>(seed, version), version);
            for length in 0..bytes.len() {
                let error = decoded::<M>(bytes.slice(..length), version).expect_err("cut off");
                assert!(
                    matches!(
                        error.problem,
                        DecodeProblem::Truncated { .. } | DecodeProblem::Count { .. }
                    ),
                    "{} v{version} cut at {length}: {error}",
                    M::NAME
                );
                assert!(!error.place.is_empty(), "{error:?}");
            }
        })(seed);
    }
}
