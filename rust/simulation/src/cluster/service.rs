//! The replicated application of the simulation: per key a hash of everything that was done to it, so that any
//! difference in order, content, position or time shows in the next result.

use std::collections::BTreeMap;

use bytes::Bytes;
use pssmr_ordering::{Command, Delivery};
use pssmr_types::Operation;

/// The application's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Service {
    keys: BTreeMap<u8, u64>,
    commands: u64,
}

/// Commands touch keys below this.
pub(super) const KEYS: u8 = 8;

fn mix(state: u64, word: u64) -> u64 {
    (state ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

impl Service {
    /// The hash of what was done to a key; 0 before.
    pub(super) fn value(&self, key: u8) -> u64 {
        self.keys.get(&key).copied().unwrap_or_default()
    }

    /// The key that a command changes, if it changes one.
    pub(super) fn key_of(command: &Command) -> Option<u8> {
        let changes = command.operation == Operation::Command;
        changes.then(|| command.payload.first().map_or(0, |byte| byte % KEYS))
    }

    /// Executes one command of a slot and gives its result.
    pub(super) fn execute(&mut self, delivery: &Delivery, command: &Command) -> Bytes {
        if matches!(command.operation, Operation::StateDigest | Operation::Checkpoint) {
            let digest =
                self.keys.iter().fold(self.commands, |digest, (key, value)| mix(mix(digest, u64::from(*key)), *value));
            return Bytes::copy_from_slice(&digest.to_le_bytes());
        }
        if command.operation == Operation::Reconfigure {
            return command.payload.clone();
        }
        self.commands += 1;
        let key = Self::key_of(command).unwrap_or_default();
        let value = self.keys.entry(key).or_default();
        *value = mix(mix(*value, command.position), delivery.timestamp);
        for chunk in command.payload.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            *value = mix(*value, u64::from_le_bytes(word));
        }
        let mut result = Vec::with_capacity(16);
        result.extend(value.to_le_bytes());
        result.extend(self.commands.to_le_bytes());
        result.into()
    }
}
