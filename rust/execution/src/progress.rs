//! Progress: up to where everything is executed, though commands end in any order.

use std::collections::VecDeque;

use pssmr_types::Slot;

use crate::service::{CommandKind, Watermark};
use crate::snapshot::{SnapshotError, SnapshotSource};

/// What became of a snapshot command.
pub(crate) struct SnapshotOutcome {
    pub(crate) ordinal: u64,
    pub(crate) slot: Slot,
    pub(crate) position: u64,
    pub(crate) source: Result<Box<dyn SnapshotSource>, SnapshotError>,
}

/// Keeps the watermark. Commands are counted by ordinals, without gaps, in the order in which they are submitted.
#[derive(Default)]
pub(crate) struct Progress {
    /// Position, and whether it is executed, of the commands from ordinal `first` on.
    commands: VecDeque<(u64, bool)>,
    first: u64,
    /// Slots that are submitted and not executed, each with the ordinal that follows its last command.
    slots: VecDeque<(u64, Slot)>,
    /// Snapshots that were taken, in order: each waits until the replies to all commands before it are handed over.
    snapshots: VecDeque<SnapshotOutcome>,
    watermark: Watermark,
}

impl Progress {
    /// Everything up to `start` is executed.
    pub(crate) fn new(start: Watermark) -> Self {
        Self { watermark: start, ..Self::default() }
    }

    /// Takes note of the next command, which is of `slot`; returns its ordinal.
    pub(crate) fn submitted(&mut self, kind: CommandKind, position: u64, slot: Slot) -> u64 {
        let last = self.commands.back().map_or(self.watermark.position, |(position, _)| *position);
        if kind == CommandKind::Read {
            self.commands.push_back((last, false));
            return self.next_ordinal() - 1;
        }
        let is_snapshot = kind == CommandKind::Snapshot;
        assert!(position > last || (is_snapshot && position == last), "positions ascend");
        // One is often wanted only when its slot is submitted completely.
        assert!(slot > self.last_slot() || (is_snapshot && slot == self.last_slot()), "slots ascend");
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

    /// A snapshot was taken. It is called before [`Progress::executed`] has its ordinal.
    pub(crate) fn snapshot_taken(&mut self, outcome: SnapshotOutcome) {
        self.snapshots.push_back(outcome);
    }

    /// A snapshot that the watermark has passed.
    pub(crate) fn pop_snapshot(&mut self) -> Option<SnapshotOutcome> {
        let due = self.snapshots.front().is_some_and(|outcome| outcome.ordinal < self.first);
        if due { self.snapshots.pop_front() } else { None }
    }

    /// The state was replaced by that of `watermark`.
    pub(crate) fn restored(&mut self, watermark: Watermark) {
        assert!(self.commands.is_empty(), "no command is pending");
        let low = self.watermark;
        assert!(watermark.position >= low.position && watermark.slot >= low.slot, "the state does not go back");
        self.slots.clear();
        self.watermark = watermark;
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
    use CommandKind::{Application, Snapshot};

    fn at(position: u64, slot: u64) -> Watermark {
        Watermark { position, slot: Slot(slot) }
    }

    #[test]
    fn the_watermark_waits_for_the_oldest_command() {
        let mut progress = Progress::default();
        assert_eq!([3, 4, 8].map(|position| progress.submitted(Application, position, Slot(1))), [0, 1, 2]);
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
        progress.submitted(Application, 1, Slot(2));
        assert_eq!(progress.submitted_through(Slot(2)), None);
        assert_eq!(progress.submitted_through(Slot(4)), None);
        assert_eq!(progress.executed(&[0]), Some(at(1, 4)));
    }

    #[test]
    fn a_read_holds_the_watermark_and_does_not_move_it() {
        let mut progress = Progress::default();
        progress.submitted(Application, 5, Slot(1));
        assert_eq!(progress.submitted(CommandKind::Read, 0, Slot(1)), 1);
        progress.submitted(Application, 6, Slot(2));
        assert_eq!(progress.executed(&[0, 2]), Some(at(5, 0)), "the read is before the second command");
        assert_eq!(progress.executed(&[1]), Some(at(6, 1)));
        progress.submitted(CommandKind::Read, 0, Slot(2));
        assert_eq!(progress.executed(&[3]), None);
    }

    #[test]
    fn progress_goes_on_from_where_the_state_is() {
        let mut progress = Progress::new(at(10, 5));
        assert_eq!(progress.watermark(), at(10, 5));
        progress.submitted(Application, 11, Slot(6));
        assert_eq!(progress.executed(&[0]), Some(at(11, 5)));
    }

    #[test]
    fn a_snapshot_needs_no_position_of_its_own_and_waits_for_all_before_it() {
        let mut progress = Progress::default();
        progress.submitted(Application, 1, Slot(1));
        let ordinal = progress.submitted(Snapshot, 1, Slot(1));
        progress.submitted(Application, 2, Slot(1));
        let source = Err(SnapshotError::Unsupported);
        progress.snapshot_taken(SnapshotOutcome { ordinal, slot: Slot(1), position: 1, source });
        assert_eq!(progress.executed(&[ordinal]), None);
        assert!(progress.pop_snapshot().is_none());
        assert_eq!(progress.executed(&[0]), Some(at(1, 0)));
        assert_eq!(progress.pop_snapshot().map(|outcome| outcome.position), Some(1));
    }

    #[test]
    fn a_snapshot_can_be_asked_for_when_its_slot_is_complete() {
        let mut progress = Progress::default();
        progress.submitted(Application, 1, Slot(1));
        progress.submitted_through(Slot(1));
        let ordinal = progress.submitted(Snapshot, 2, Slot(1));
        progress.submitted(Application, 3, Slot(2));
        progress.submitted_through(Slot(2));
        let source = Err(SnapshotError::Unsupported);
        progress.snapshot_taken(SnapshotOutcome { ordinal, slot: Slot(1), position: 2, source });
        assert_eq!(progress.executed(&[0, ordinal]), Some(at(2, 1)));
        assert_eq!(progress.pop_snapshot().map(|outcome| outcome.slot), Some(Slot(1)));
        assert_eq!(progress.executed(&[2]), Some(at(3, 2)));
    }

    #[test]
    fn after_a_restoration_progress_goes_on_from_there() {
        let mut progress = Progress::new(at(3, 1));
        progress.restored(at(10, 5));
        assert_eq!((progress.watermark(), progress.pending()), (at(10, 5), 0));
        progress.submitted(Application, 11, Slot(6));
        assert_eq!(progress.executed(&[0]), Some(at(11, 5)));
    }

    #[test]
    #[should_panic(expected = "the state does not go back")]
    fn progress_does_not_go_back() {
        Progress::new(at(3, 1)).restored(at(3, 0));
    }

    #[test]
    fn the_first_command_of_a_slot_ends_the_slots_before() {
        let mut progress = Progress::default();
        progress.submitted(Application, 1, Slot(1));
        progress.submitted(Application, 2, Slot(3));
        assert_eq!(progress.executed(&[0]), Some(at(1, 2)));
        assert_eq!(progress.executed(&[1]), Some(at(2, 2)));
        assert_eq!(progress.submitted_through(Slot(3)), Some(at(2, 3)));
    }

    #[test]
    #[should_panic(expected = "slots ascend")]
    fn a_slot_does_not_go_on_after_its_end() {
        let mut progress = Progress::default();
        progress.submitted_through(Slot(1));
        progress.submitted(Application, 1, Slot(1));
    }

    #[test]
    #[should_panic(expected = "a command is executed once")]
    fn a_command_is_not_executed_twice() {
        let mut progress = Progress::default();
        progress.submitted(Application, 1, Slot(1));
        progress.submitted(Application, 2, Slot(1));
        progress.executed(&[1]);
        progress.executed(&[1]);
    }
}
