//! Progress: up to where everything is executed, though commands end in any order.

use std::collections::VecDeque;

use pssmr_types::Slot;

use crate::service::Watermark;

/// Keeps the watermark. Commands are counted by ordinals, without gaps, in the order in which they are submitted.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Position, and whether it is executed, of the commands from ordinal `first` on.
    commands: VecDeque<(u64, bool)>,
    first: u64,
    /// Slots that are submitted and not executed, each with the ordinal that follows its last command.
    slots: VecDeque<(u64, Slot)>,
    watermark: Watermark,
}

impl Progress {
    /// Everything up to `start` is executed.
    pub(crate) fn new(start: Watermark) -> Self {
        Self { watermark: start, ..Self::default() }
    }

    /// Takes note of the next command, which is of `slot`; returns its ordinal.
    pub(crate) fn submitted(&mut self, position: u64, slot: Slot) -> u64 {
        let last = self.commands.back().map_or(self.watermark.position, |(position, _)| *position);
        assert!(position > last, "positions ascend");
        assert!(slot > self.last_slot(), "slots ascend");
        // All slots before this one are complete.
        self.end_slot(Slot(slot.0 - 1));
        self.commands.push_back((position, false));
        self.next_ordinal() - 1
    }

    /// All commands of slots up to `slot` are submitted. Returns the watermark if it has moved.
    pub(crate) fn submitted_through(&mut self, slot: Slot) -> Option<Watermark> {
        assert!(slot >= self.last_slot(), "slots ascend");
        self.end_slot(slot);
        self.advance()
    }

    fn end_slot(&mut self, slot: Slot) {
        if slot > self.last_slot() {
            self.slots.push_back((self.next_ordinal(), slot));
        }
    }

    fn next_ordinal(&self) -> u64 {
        self.first + self.commands.len() as u64
    }

    /// The last slot that is submitted completely.
    fn last_slot(&self) -> Slot {
        self.slots.back().map_or(self.watermark.slot, |(_, slot)| *slot)
    }

    /// These commands are executed. Returns the watermark if it has moved.
    pub(crate) fn executed(&mut self, ordinals: &[u64]) -> Option<Watermark> {
        for ordinal in ordinals {
            let (_, executed) = &mut self.commands[(ordinal - self.first) as usize];
            assert!(!*executed, "a command is executed once");
            *executed = true;
        }
        self.advance()
    }

    fn advance(&mut self) -> Option<Watermark> {
        let before = self.watermark;
        while let Some(&(position, true)) = self.commands.front() {
            self.commands.pop_front();
            self.first += 1;
            self.watermark.position = position;
        }
        while let Some(&(end, slot)) = self.slots.front()
            && end <= self.first
        {
            self.slots.pop_front();
            self.watermark.slot = slot;
        }
        (self.watermark != before).then_some(self.watermark)
    }

    /// The watermark.
    pub(crate) fn watermark(&self) -> Watermark {
        self.watermark
    }

    /// The number of commands that were submitted and are above the watermark.
    pub(crate) fn pending(&self) -> usize {
        self.commands.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: u64, slot: u64) -> Watermark {
        Watermark { position, slot: Slot(slot) }
    }

    #[test]
    fn the_watermark_waits_for_the_oldest_command() {
        let mut progress = Progress::default();
        assert_eq!([3, 4, 8].map(|position| progress.submitted(position, Slot(1))), [0, 1, 2]);
        assert_eq!(progress.submitted_through(Slot(1)), None);
        assert_eq!(progress.executed(&[1]), None);
        assert_eq!(progress.executed(&[0]), Some(at(4, 0)));
        assert_eq!(progress.executed(&[2]), Some(at(8, 1)));
        assert_eq!(progress.pending(), 0);
    }

    #[test]
    fn an_empty_slot_is_executed_with_the_one_before() {
        let mut progress = Progress::default();
        assert_eq!(progress.submitted_through(Slot(1)), Some(at(0, 1)));
        progress.submitted(1, Slot(2));
        assert_eq!(progress.submitted_through(Slot(2)), None);
        assert_eq!(progress.submitted_through(Slot(4)), None);
        assert_eq!(progress.executed(&[0]), Some(at(1, 4)));
    }

    #[test]
    fn progress_goes_on_from_where_the_state_is() {
        let mut progress = Progress::new(at(10, 5));
        assert_eq!(progress.watermark(), at(10, 5));
        progress.submitted(11, Slot(6));
        assert_eq!(progress.executed(&[0]), Some(at(11, 5)));
    }

    #[test]
    fn the_first_command_of_a_slot_ends_the_slots_before() {
        let mut progress = Progress::default();
        progress.submitted(1, Slot(1));
        progress.submitted(2, Slot(3));
        assert_eq!(progress.executed(&[0]), Some(at(1, 2)));
        assert_eq!(progress.executed(&[1]), Some(at(2, 2)));
        assert_eq!(progress.submitted_through(Slot(3)), Some(at(2, 3)));
    }

    #[test]
    #[should_panic(expected = "slots ascend")]
    fn a_slot_does_not_go_on_after_its_end() {
        let mut progress = Progress::default();
        progress.submitted_through(Slot(1));
        progress.submitted(1, Slot(1));
    }

    #[test]
    #[should_panic(expected = "a command is executed once")]
    fn a_command_is_not_executed_twice() {
        let mut progress = Progress::default();
        progress.submitted(1, Slot(1));
        progress.submitted(2, Slot(1));
        progress.executed(&[1]);
        progress.executed(&[1]);
    }
}
