//! What was ever sent: messages by number, and sets of them.

use std::collections::HashMap;

use pssmr_types::{Epoch, PeerMessage, ReplicaId};

pub(super) const EPOCH: Epoch = Epoch(0);
const WORDS: usize = 64;

/// A set of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Messages([u64; WORDS]);

impl Default for Messages {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl Messages {
    pub(super) fn insert(&mut self, message: u16) {
        self.0[usize::from(message / 64)] |= 1 << (message % 64);
    }

    pub(super) fn union(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
        self
    }

    pub(super) fn intersection(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= other);
        self
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..).zip(self.0).flat_map(|(number, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| number * 64 + bit)
        })
    }
}

/// A message on the network.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) from: ReplicaId,
    pub(super) message: PeerMessage,
}

/// All messages that any node has sent in any state.
#[derive(Debug, Default)]
pub(super) struct Network {
    sent: Vec<Sent>,
    numbers: HashMap<(ReplicaId, Option<ReplicaId>, Vec<u8>), u16>,
    /// By replica, what is for it.
    inboxes: Vec<Messages>,
}

impl Network {
    pub(super) fn new(replicas: usize) -> Self {
        Self { inboxes: vec![Messages::default(); replicas], ..Self::default() }
    }

    /// The message's number.
    pub(super) fn number(&mut self, from: ReplicaId, to: Option<ReplicaId>, message: &PeerMessage) -> u16 {
        let mut bytes = Vec::new();
        message.encode(EPOCH, &mut bytes);
        let next = self.sent.len() as u16;
        let number = *self.numbers.entry((from, to, bytes)).or_insert(next);
        if number == next {
            assert!(usize::from(number) < WORDS * 64, "there are more messages than the model has room for");
            self.sent.push(Sent { from, message: message.clone() });
            for (replica, inbox) in self.inboxes.iter_mut().enumerate() {
                if replica != from.index() && to.is_none_or(|to| to.index() == replica) {
                    inbox.insert(number);
                }
            }
        }
        number
    }

    pub(super) fn message(&self, number: u16) -> &Sent {
        &self.sent[usize::from(number)]
    }

    /// What is for this replica.
    pub(super) fn inbox(&self, replica: ReplicaId) -> &Messages {
        &self.inboxes[replica.index()]
    }

    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }
}
