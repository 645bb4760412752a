//! Keeps what strangers cause out of the log, except for a few lines.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(10);
const LINES_PER_WINDOW: u32 = 5;

/// Counts log lines that anyone on the network can cause.
#[derive(Debug, Default)]
pub(crate) struct Noise {
    window_start: Option<Instant>,
    lines: u32,
    hidden: u64,
}

impl Noise {
    /// Whether a line may be written now, and if so how many were not since the last one.
    pub(crate) fn allow(&mut self, now: Instant) -> Option<u64> {
        if self.window_start.is_none_or(|start| now.saturating_duration_since(start) >= WINDOW) {
            self.window_start = Some(now);
            self.lines = 0;
        }
        if self.lines == LINES_PER_WINDOW {
            self.hidden += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.hidden))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_leaves_a_few_lines_and_a_count() {
        let (mut noise, start) = (Noise::default(), Instant::now());
        let written = (0..100).filter(|_| noise.allow(start).is_some()).count();
        assert_eq!(written, 5);
        assert_eq!(noise.allow(start + WINDOW), Some(95));
        assert_eq!(noise.allow(start + WINDOW), Some(0));
    }
}
