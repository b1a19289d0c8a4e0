//! Java's `SplittableRandom`, so that the payloads are those of Kafka's tool, byte for byte.

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The generator that `new SplittableRandom(seed)` makes.
#[derive(Debug)]
pub(crate) struct SplittableRandom {
    state: u64,
}

impl SplittableRandom {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u32 {
        self.state = self.state.wrapping_add(GOLDEN_GAMMA);
        let z = (self.state ^ (self.state >> 33)).wrapping_mul(0x62a9_d9ed_7997_05f5);
        ((z ^ (z >> 28)).wrapping_mul(0xcb24_d0a5_c88c_35b3) >> 32) as u32
    }

    /// `nextInt(bound)`: evenly one of `0..bound`, for a bound of 1 to 2^31 - 1.
    #[inline]
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        if bound.is_power_of_two() {
            return self.next() & (bound - 1);
        }
        loop {
            let drawn = self.next() >> 1;
            let result = drawn % bound;
            // Values of the last, incomplete span would come up more often: draw again.
            if drawn - result + (bound - 1) < 1 << 31 {
                return result;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Java 17 draws.
    #[test]
    fn draws_what_java_draws() {
        let mut random = SplittableRandom::new(0);
        let text: String = (0..60).map(|_| char::from(b'A' + random.below(26) as u8)).collect();
        assert_eq!(text, "YQHHNEBSEPDNSEIFGAMSUJXKOLTXSPLGHDIOYZJFNIDSPWHZMKVJAXDBZFCO");
        let mut random = SplittableRandom::new(0);
        let drawn: Vec<u32> = (0..12).map(|_| random.below(8)).collect();
        assert_eq!(drawn, [5, 1, 3, 2, 2, 5, 7, 1, 5, 3, 7, 7]);
    }
}
