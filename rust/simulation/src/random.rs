//! The one source of chance: a run is a function of its seed.

/// `SplitMix64` (Steele, Lea and Flood, OOPSLA'14): small, fast, and good enough to draw faults with.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator whose numbers follow from `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ 0x5DEE_CE66_D1CE_4E5B)
    }

    /// A generator of its own for a part of the run, so that a change in one part does not change the draws of another.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.any())
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.any()) * u128::from(end)) >> 64) as u64
    }

    /// An index into something of this length, which is not 0.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// A number from `low` to `high` whose order of magnitude is as likely to be small as large. `low` is not 0.
    pub fn magnitude(&mut self, low: u64, high: u64) -> u64 {
        let doublings = u64::from((high / low).max(1).ilog2());
        let bottom = low << self.below(doublings + 1);
        self.between(bottom, (2 * bottom - 1).min(high.max(bottom)))
    }

    /// A number from `-most` to `most`.
    pub fn around_zero(&mut self, most: u64) -> i64 {
        self.between(0, 2 * most).cast_signed() - most.cast_signed()
    }

    /// True in `numerator` of `denominator` cases.
    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.below(denominator) < numerator
    }

    /// True with a probability in parts per million.
    pub fn parts_per_million(&mut self, parts: u32) -> bool {
        parts > 0 && self.below(1_000_000) < u64::from(parts)
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// Puts the elements into a random order.
    pub fn shuffle<T>(&mut self, elements: &mut [T]) {
        for end in (1..elements.len()).rev() {
            elements.swap(end, self.index(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            (0..9).map(|_| random.any()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(3), numbers(3));
        assert_ne!(numbers(3), numbers(4));
    }

    #[test]
    fn draws_reach_both_ends_and_no_further() {
        let mut random = Random::new(1);
        let drawn: Vec<u64> = (0..2000).map(|_| random.between(5, 9)).collect();
        assert!((5..=9).all(|number| drawn.contains(&number)) && drawn.iter().all(|number| (5..=9).contains(number)));
        assert!((0..2000).all(|_| (10..=1000).contains(&random.magnitude(10, 1000))));
        let (small, large) = (0..2000).fold((0, 0), |(small, large), _| match random.magnitude(10, 1000) {
            ..=30 => (small + 1, large),
            500.. => (small, large + 1),
            _ => (small, large),
        });
        assert!(small > 400 && large > 200, "{small} {large}");
        assert!((0..2000).all(|_| (-3..=3).contains(&random.around_zero(3))));
    }
}
