//! What the records carry: texts that compress about as well as an application's do.

const WORDS: [&str; 32] = [
    "order",
    "customer",
    "payment",
    "shipped",
    "pending",
    "warehouse",
    "status",
    "region",
    "europe",
    "america",
    "price",
    "quantity",
    "product",
    "session",
    "event",
    "click",
    "device",
    "mobile",
    "browser",
    "created",
    "updated",
    "invoice",
    "address",
    "street",
    "number",
    "country",
    "currency",
    "amount",
    "total",
    "account",
    "balance",
    "transfer",
];

/// A power of two; so many that they span more than the window of LZ4, 64 KiB.
const COUNT: usize = 4096;

/// Values of `size` bytes: words and random hexadecimal numbers, about 1.5 to 1 under LZ4.
#[derive(Debug)]
pub(crate) struct Payloads(Vec<Vec<u8>>);

impl Payloads {
    pub(crate) fn new(size: usize) -> Self {
        let mut random = 0x9e37_79b9_7f4a_7c15;
        Self((0..COUNT).map(|_| payload(size, &mut random)).collect())
    }

    /// The value of record `index`; they come round again.
    #[inline]
    pub(crate) fn of(&self, index: u64) -> &[u8] {
        self.0.get(index as usize % COUNT).map_or(&[], Vec::as_slice)
    }
}

fn payload(size: usize, random: &mut u64) -> Vec<u8> {
    let mut value = Vec::with_capacity(size + 24);
    while value.len() < size {
        let drawn = xorshift(random);
        if drawn.is_multiple_of(2) {
            value.extend_from_slice(WORDS[(drawn >> 8) as usize % WORDS.len()].as_bytes());
        } else {
            value.extend_from_slice(format!("{:08x}", (drawn >> 16) as u32).as_bytes());
        }
        value.push(b',');
    }
    value.truncate(size);
    value
}

fn xorshift(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// So many keys of 16 bytes each.
pub(crate) fn keys(count: u64) -> Vec<Vec<u8>> {
    let key = |i: u64| format!("key-{:012x}", i.wrapping_mul(2_654_435_761) & 0xffff_ffff_ffff);
    (0..count).map(|i| key(i).into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn payloads_are_of_the_size_distinct_and_the_same_each_time() {
        for size in [100, 1024] {
            let payloads = Payloads::new(size);
            let all: HashSet<&[u8]> = (0..COUNT as u64).map(|i| payloads.of(i)).collect();
            assert_eq!(all.len(), COUNT);
            assert!(all.iter().all(|payload| payload.len() == size));
            assert_eq!(payloads.of(COUNT as u64 + 3), Payloads::new(size).of(3));
        }
    }

    #[test]
    fn keys_are_distinct_and_of_16_bytes() {
        let keys = keys(1000);
        assert!(keys.iter().all(|key| key.len() == 16));
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 1000);
    }
}
