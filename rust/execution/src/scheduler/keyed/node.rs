//! Nodes: the whole state and the whole tables, above the keys.
//!
//! A command that touches a key announces that at the key's table and at the root with an *intent*, so that a command
//! that touches all of a table, or of the state, meets it there. Intents don't conflict with each other: without wide
//! commands a node is two counters, and nobody waits at it.

use std::collections::VecDeque;

use crate::footprint::Mode;

/// How a command touches a node: somewhere below it (an intent), or as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum NodeMode {
    ReadBelow = 0,
    CommuteBelow = 1,
    WriteBelow = 2,
    Read = 3,
    Commute = 4,
    Write = 5,
}

use NodeMode::{Commute, CommuteBelow, Read, ReadBelow, Write, WriteBelow};

/// For each mode, the set of modes that it conflicts with.
const CONFLICTS: [u8; 6] = [
    set(&[Commute, Write]),
    set(&[Read, Write]),
    set(&[Read, Commute, Write]),
    set(&[CommuteBelow, WriteBelow, Commute, Write]),
    set(&[ReadBelow, WriteBelow, Read, Write]),
    set(&[ReadBelow, CommuteBelow, WriteBelow, Read, Commute, Write]),
];

/// The set of all modes.
const ALL: u8 = 0b11_1111;

const fn set(modes: &[NodeMode]) -> u8 {
    let (mut set, mut index) = (0, 0);
    while index < modes.len() {
        set |= 1 << modes[index] as u8;
        index += 1;
    }
    set
}

impl NodeMode {
    /// Touching something below in this mode.
    pub(super) fn below(mode: Mode) -> Self {
        match mode {
            Mode::Read => ReadBelow,
            Mode::Commute => CommuteBelow,
            Mode::Write => WriteBelow,
        }
    }

    /// Touching all of it in this mode.
    pub(super) fn whole(mode: Mode) -> Self {
        match mode {
            Mode::Read => Read,
            Mode::Commute => Commute,
            Mode::Write => Write,
        }
    }
}

/// The root, or a table. Whoever must wait here waits in order of submission: nobody overtakes, so nobody starves.
#[derive(Debug, Default)]
pub(super) struct Node {
    held: [u32; 6],
    /// The set of modes that may not enter. It can have too many: a mode that leaves does not clear what it has closed.
    closed: u8,
    /// While somebody waits, all modes are closed.
    waiting: VecDeque<(NodeMode, u32)>,
    /// How many at the front of `waiting` were returned by [`Node::follower`].
    followed: usize,
}

impl Node {
    /// Enters the node, or waits at it as `waiter`; whether it has entered.
    #[inline]
    pub(super) fn enter(&mut self, mode: NodeMode, waiter: u32) -> bool {
        if self.closed & (1 << mode as u8) != 0 && self.must_wait(mode) {
            self.waiting.push_back((mode, waiter));
            return false;
        }
        self.hold(mode);
        true
    }

    #[cold]
    fn must_wait(&mut self, mode: NodeMode) -> bool {
        if self.waiting.is_empty() {
            self.closed = self.excluded();
        }
        let must_wait = self.closed & (1 << mode as u8) != 0;
        if must_wait {
            self.closed = ALL;
        }
        must_wait
    }

    /// Leaves the node; whether somebody may enter because of that.
    #[inline]
    pub(super) fn leave(&mut self, mode: NodeMode) -> bool {
        let held = &mut self.held[mode as usize];
        *held -= 1;
        *held == 0 && !self.waiting.is_empty()
    }

    /// Lets the first of those who wait enter, if it can.
    #[cold]
    pub(super) fn admit(&mut self) -> Option<u32> {
        let &(mode, waiter) = self.waiting.front()?;
        if self.excluded() & (1 << mode as u8) != 0 {
            return None;
        }
        self.waiting.pop_front();
        self.followed = self.followed.saturating_sub(1);
        self.hold(mode);
        Some(waiter)
    }

    /// The writer of all that waits next after `waiter`, which writes all too, and has entered or is the last that
    /// this method returned.
    pub(super) fn follower(&self, waiter: u32) -> Option<u32> {
        let last = self.followed.checked_sub(1).map(|last| self.waiting[last].1);
        match self.waiting.get(self.followed) {
            Some(&(Write, next)) if last.is_none_or(|last| last == waiter) => Some(next),
            _ => None,
        }
    }

    /// Takes note that the last result of [`Node::follower`] is used.
    pub(super) fn follow(&mut self) {
        self.followed += 1;
    }

    /// The set of modes that conflict with one that is held.
    fn excluded(&self) -> u8 {
        let held = CONFLICTS.iter().zip(self.held).filter(|(_, held)| *held > 0);
        held.fold(0, |set, (conflicts, _)| set | conflicts)
    }

    #[inline]
    fn hold(&mut self, mode: NodeMode) {
        self.held[mode as usize] += 1;
        self.closed |= CONFLICTS[mode as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_mutual() {
        for (a, conflicts) in CONFLICTS.iter().enumerate() {
            for (b, mutual) in CONFLICTS.iter().enumerate() {
                assert_eq!(conflicts >> b & 1, mutual >> a & 1, "{a} {b}");
            }
        }
    }

    #[test]
    fn modes_conflict_as_the_keys_below_would() {
        let modes = [Mode::Read, Mode::Commute, Mode::Write];
        for a in modes {
            for b in modes {
                let conflict = |a: NodeMode, b: NodeMode| CONFLICTS[a as usize] >> b as u8 & 1 == 1;
                assert!(!conflict(NodeMode::below(a), NodeMode::below(b)));
                assert_eq!(conflict(NodeMode::whole(a), NodeMode::below(b)), a.conflicts(b));
                assert_eq!(conflict(NodeMode::whole(a), NodeMode::whole(b)), a.conflicts(b));
            }
        }
    }

    #[test]
    fn an_intent_does_not_overtake_a_wide_command() {
        let mut node = Node::default();
        assert!(node.enter(WriteBelow, 1));
        assert!(!node.enter(Read, 2));
        assert!(!node.enter(WriteBelow, 3));
        assert!(node.leave(WriteBelow));
        assert_eq!((node.admit(), node.admit()), (Some(2), None));
        assert!(node.leave(Read));
        assert_eq!((node.admit(), node.admit()), (Some(3), None));
    }
}
