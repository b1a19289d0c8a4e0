//! The partition of a key, byte for byte as the Java client chooses it, so that programs of both kinds put the same key
//! to the same partition. What partitions there are and whether they can take records is not asked here: a key's
//! partition does not depend on it.

/// The partition of a key among `count`: murmur2 as in Kafka's `Utils.murmur2`, made positive, modulo.
pub(crate) fn partition_for_key(key: &[u8], count: usize) -> i32 {
    let count = i32::try_from(count).unwrap_or(i32::MAX).max(1);
    (murmur2(key).cast_signed() & i32::MAX) % count
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Java's length is an int: longer keys cannot be records anyway.
    let mut h = SEED ^ (data.len() as u32);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = chunk.iter().rev().fold(0u32, |k, &byte| (k << 8) | u32::from(byte));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        h ^= rest.iter().rev().fold(0u32, |k, &byte| (k << 8) | u32::from(byte));
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_javas() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    /// Of keys of 0 to 40 bytes, most of them negative in Java: what kafka-clients 4.3.1 says.
    const BY_LENGTH: [i32; 41] = [
        275646681,
        -1936891044,
        -1582362388,
        1234564747,
        -1681135543,
        920806748,
        1649581964,
        447878120,
        69037660,
        393578539,
        -2132703433,
        -973996471,
        1087517666,
        -2087203509,
        -83787742,
        -262779421,
        -1914006279,
        -1570722626,
        1123410502,
        -806213454,
        -2073624891,
        -2028131790,
        1814782453,
        -255546887,
        -1781142146,
        -1995777457,
        161455049,
        -90995805,
        1487141305,
        1510231979,
        1610664082,
        2049597325,
        1256588032,
        -237169261,
        -567913220,
        -1899817036,
        52013760,
        -1208667813,
        842358466,
        1905733797,
        -448426504,
    ];

    #[test]
    fn keys_of_every_length_have_the_hashes_of_java() {
        for (length, hash) in BY_LENGTH.into_iter().enumerate() {
            let byte = |at: usize| u8::try_from((at * 37 + length * 11 + 200) % 256).unwrap();
            let key: Vec<_> = (0..length).map(byte).collect();
            assert_eq!(murmur2(&key).cast_signed(), hash, "{length} bytes");
        }
    }

    /// A hundred thousand keys in one number, and how many of them go to each of seven partitions: what kafka-clients
    /// 4.3.1 says.
    #[test]
    fn many_keys_are_spread_as_java_spreads_them() {
        let (mut all, mut partitions) = (0_i32, [0; 7]);
        for i in 0..100_000 {
            let key = format!("key-{i}");
            all = all.wrapping_mul(31).wrapping_add(murmur2(key.as_bytes()).cast_signed());
            partitions[partition_for_key(key.as_bytes(), 7) as usize] += 1;
        }
        assert_eq!(all, -2_096_975_532);
        assert_eq!(partitions, [14350, 14198, 14192, 14346, 14380, 14438, 14096]);
    }

    /// Key; its partition among 1, 6, 100 and as many as there can be: by `BuiltInPartitioner.partitionForKey`.
    #[test]
    fn partitions_of_keys_are_javas() {
        for (key, partitions) in [
            ("", [0, 3, 81, 275646681]),
            ("kafka", [0, 4, 80, 1348980580]),
            ("übergrößenträger", [0, 4, 36, 2035496836]),
            ("日本", [0, 3, 27, 1446672627]),
            ("customer-42", [0, 3, 53, 1604496153]),
            ("\0", [0, 2, 88, 375494588]),
        ] {
            for (count, partition) in [1, 6, 100, i32::MAX as usize].into_iter().zip(partitions) {
                assert_eq!(partition_for_key(key.as_bytes(), count), partition, "{key} of {count}");
            }
        }
    }
}
