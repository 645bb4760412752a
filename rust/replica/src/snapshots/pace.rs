//! Which checkpoints a replica takes: all, unless writing them takes too much of its time.

use std::time::{Duration, Instant};

/// No more than this share of the time goes into writing snapshots: a large state is written more rarely.
const SHARE_MAX: u32 = 4;

/// From one in so many intervals on, twice as many are taken.
const SHARE_MIN: u32 = 16;

/// At least one in 2 to the power of this many is taken.
const LEVEL_MAX: u32 = 10;

/// Takes one in 2^level of the checkpoints that are due, by their number. So replicas of different levels have those of
/// the highest level in common, without saying anything to each other.
#[derive(Debug)]
pub(crate) struct Pace {
    level: u32,
    /// When the last checkpoint was due.
    due_at: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { level: 0, due_at: now }
    }

    /// Whether to take the checkpoint of this number, which is due `now`. `written` is how long writing the last one took;
    /// `is_busy`, that it goes on.
    pub(crate) fn takes(
        &mut self,
        number: u64,
        is_asked: bool,
        is_busy: bool,
        written: Duration,
        now: Instant,
    ) -> bool {
        let interval = now.saturating_duration_since(std::mem::replace(&mut self.due_at, now));
        let between = interval.saturating_mul(1 << self.level);
        if is_busy || written.saturating_mul(SHARE_MAX) > between {
            self.level = (self.level + 1).min(LEVEL_MAX);
        } else if written.saturating_mul(SHARE_MIN) < between {
            self.level = self.level.saturating_sub(1);
        }
        is_asked || (!is_busy && number.is_multiple_of(1 << self.level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers taken of so many that are due at this interval, if writing takes so long.
    fn taken(pace: &mut Pace, from: u64, count: u64, interval_ms: u64, written_ms: u64) -> Vec<u64> {
        let milliseconds = Duration::from_millis;
        (from..from + count)
            .filter(|number| {
                let now = pace.due_at + milliseconds(interval_ms);
                pace.takes(*number, false, false, milliseconds(written_ms), now)
            })
            .collect()
    }

    #[test]
    fn small_states_are_written_at_every_checkpoint() {
        let mut pace = Pace::new(Instant::now());
        assert_eq!(taken(&mut pace, 1, 5, 1000, 10), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn large_states_are_written_more_rarely_and_at_the_same_checkpoints() {
        let (mut fast, mut slow) = (Pace::new(Instant::now()), Pace::new(Instant::now()));
        taken(&mut fast, 1, 20, 1000, 900);
        taken(&mut slow, 1, 20, 1000, 1900);
        let of_fast = taken(&mut fast, 21, 40, 1000, 900);
        let of_slow = taken(&mut slow, 21, 40, 1000, 1900);
        assert_eq!(of_fast, (21..61).filter(|number| number % 4 == 0).collect::<Vec<_>>());
        assert_eq!(of_slow, (21..61).filter(|number| number % 8 == 0).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_asked_for_is_taken_and_nothing_else_while_one_is_written() {
        let mut pace = Pace::new(Instant::now());
        let now = pace.due_at + Duration::from_secs(1);
        assert!(!pace.takes(8, false, true, Duration::ZERO, now));
        assert!(pace.takes(9, true, true, Duration::ZERO, now));
    }

    #[test]
    fn when_there_is_time_again_more_are_taken() {
        let mut pace = Pace::new(Instant::now());
        taken(&mut pace, 1, 10, 1000, 3000);
        assert!(pace.level >= 3);
        taken(&mut pace, 11, 10, 1000, 10);
        assert_eq!(pace.level, 0);
    }
}
