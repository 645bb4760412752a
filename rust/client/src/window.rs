//! The sequences of one session that are in flight.

use std::collections::VecDeque;

/// Entries by sequence: numbered ascending from 1, and ended in any order.
#[derive(Debug)]
pub(crate) struct Window<T> {
    /// The entries from `low` on; `None` has ended.
    entries: VecDeque<Option<T>>,
    /// The lowest sequence in flight; the next one, if there is none.
    low: u64,
    in_flight: usize,
    in_flight_max: usize,
    spread_max: usize,
}

impl<T> Window<T> {
    /// An empty window. At most `in_flight_max` entries are in it, and the lowest and the highest are less than
    /// `spread_max` apart.
    pub(crate) fn new(in_flight_max: usize, spread_max: usize) -> Self {
        Self { entries: VecDeque::new(), low: 1, in_flight: 0, in_flight_max, spread_max }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.in_flight < self.in_flight_max && self.entries.len() < self.spread_max
    }

    /// The lowest sequence in flight, or the next one: the client waits for no reply to any below.
    pub(crate) fn low(&self) -> u64 {
        self.low
    }

    pub(crate) fn len(&self) -> usize {
        self.in_flight
    }

    /// The sequence that the next entry gets.
    pub(crate) fn next(&self) -> u64 {
        self.low + self.entries.len() as u64
    }

    /// Adds an entry.
    ///
    /// # Panics
    /// If there is no room.
    pub(crate) fn push(&mut self, entry: T) {
        assert!(self.has_room(), "the window is full");
        self.entries.push_back(Some(entry));
        self.in_flight += 1;
    }

    pub(crate) fn get_mut(&mut self, sequence: u64) -> Option<&mut T> {
        self.entries.get_mut(self.index(sequence)?)?.as_mut()
    }

    /// Ends an entry.
    pub(crate) fn remove(&mut self, sequence: u64) -> Option<T> {
        let index = self.index(sequence)?;
        let entry = self.entries.get_mut(index)?.take()?;
        self.in_flight -= 1;
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.low += 1;
        }
        Some(entry)
    }

    /// The entries in flight, by ascending sequence.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        let low = self.low;
        self.entries.iter_mut().zip(low..).filter_map(|(entry, sequence)| Some((sequence, entry.as_mut()?)))
    }

    /// Ends all entries and starts over at sequence 1, for a new session.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.low = 1;
        self.in_flight = 0;
        std::mem::take(&mut self.entries).into_iter().flatten()
    }

    fn index(&self, sequence: u64) -> Option<usize> {
        usize::try_from(sequence.checked_sub(self.low)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_rises_when_the_lowest_ends() {
        let mut window = Window::new(10, 100);
        for name in ["one", "two", "three"] {
            window.push(name);
        }
        assert_eq!(window.remove(2), Some("two"));
        assert_eq!((window.low(), window.next(), window.len()), (1, 4, 2));
        assert_eq!(window.remove(1), Some("one"));
        assert_eq!((window.low(), window.next(), window.len()), (3, 4, 1));
        assert_eq!(window.remove(1), None);
        assert_eq!(window.remove(2), None);
        assert_eq!(window.remove(9), None);
        assert_eq!(window.get_mut(3), Some(&mut "three"));
    }

    #[test]
    fn a_stuck_sequence_bounds_the_spread() {
        let mut window = Window::new(10, 4);
        window.push(0);
        for sequence in 2..=4 {
            assert!(window.has_room());
            window.push(0);
            window.remove(sequence);
        }
        assert_eq!(window.len(), 1);
        assert!(!window.has_room(), "sequence 1 and sequence 5 would be too far apart");
        window.remove(1);
        assert!(window.has_room());
        assert_eq!(window.low(), 5);
    }

    #[test]
    fn as_many_are_in_flight_as_allowed() {
        let mut window = Window::new(2, 100);
        window.push(0);
        window.push(0);
        assert!(!window.has_room());
    }

    #[test]
    fn a_new_session_starts_at_one() {
        let mut window = Window::new(2, 100);
        window.push('a');
        window.push('b');
        window.remove(1);
        assert_eq!(window.drain().collect::<Vec<_>>(), ['b']);
        assert_eq!((window.low(), window.next(), window.len()), (1, 1, 0));
    }
}
