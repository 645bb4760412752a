//! Delays between attempts to connect.

use std::time::Duration;

/// An exponential back-off whose delays are jittered over their upper half, so that the peers of a restarted replica
/// do not all come back at the same instant.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        assert!(!min.is_zero() && min <= max, "the configuration was checked");
        Self { min, max, next: min }
    }

    /// The next delay: `share` of 0 gives half of it, `u32::MAX` all of it.
    pub(crate) fn delay(&mut self, share: u32) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.max);
        let half = whole / 2;
        half + half.mul_f64(f64::from(share) / f64::from(u32::MAX))
    }

    /// The next delay is the shortest again.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }
}

/// A random share for [`Backoff::delay`]. Without randomness the delay is whole, which is correct too.
pub(crate) fn random_share() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(10);
    const MAX: Duration = Duration::from_millis(70);

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut backoff = Backoff::new(MIN, MAX);
        let delays: Vec<_> = (0..5).map(|_| backoff.delay(u32::MAX).as_millis()).collect();
        assert_eq!(delays, [10, 20, 40, 70, 70]);
    }

    #[test]
    fn jitter_takes_at_most_half_of_a_delay() {
        let mut backoff = Backoff::new(MIN, MAX);
        assert_eq!(backoff.delay(0), MIN / 2);
        assert!(backoff.delay(u32::MAX / 2) < MIN * 2);
    }

    #[test]
    fn a_reset_starts_over() {
        let mut backoff = Backoff::new(MIN, MAX);
        backoff.delay(0);
        backoff.delay(0);
        backoff.reset();
        assert_eq!(backoff.delay(u32::MAX), MIN);
    }
}
