//! What a core answered a call with, as far as it is recorded: a mark of each effect, and what it signed.

use pssmr_ordering::{Command, CoreSnapshot, Delivery, Effect};
use pssmr_types::wire::{DecodeError, Reader, Writer};
use pssmr_types::{Digest, Epoch, Operation, PeerMessage, Signature};

/// An effect's kind, and 56 bits of the digest of what it says: two that differ have different marks, but for chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark(u64);

/// The kinds of effects; a mark has the index.
const KINDS: [&str; 15] = [
    "promise",
    "persist",
    "send",
    "broadcast",
    "deliver",
    "reply",
    "session_evicted",
    "checkpoint",
    "stable",
    "transfer",
    "install",
    "reconfigured",
    "stepped_down",
    "event",
    "halt",
];

fn kind_number(effect: &Effect) -> u8 {
    match effect {
        Effect::Promise(_) => 0,
        Effect::Persist(_) => 1,
        Effect::Send { .. } => 2,
        Effect::Broadcast(_) => 3,
        Effect::Deliver(_) => 4,
        Effect::Reply { .. } => 5,
        Effect::SessionEvicted(_) => 6,
        Effect::Checkpoint { .. } => 7,
        Effect::Stable(_) => 8,
        Effect::Transfer(_) => 9,
        Effect::Install(_) => 10,
        Effect::Reconfigured(_) => 11,
        Effect::SteppedDown(_) => 12,
        Effect::Event(_) => 13,
        Effect::Halt(_) => 14,
    }
}

/// What kind of effect it is, in one word.
pub fn effect_kind(effect: &Effect) -> &'static str {
    KINDS[usize::from(kind_number(effect))]
}

impl Mark {
    pub(crate) fn of(effect: &Effect, buffer: &mut Vec<u8>) -> Self {
        buffer.clear();
        put_effect(effect, buffer);
        let digest = Digest::of("pssmr recorded effect 1", buffer).0;
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&digest[..8]);
        bytes[0] = kind_number(effect);
        Self(u64::from_le_bytes(bytes))
    }

    /// The effect's kind; none if this version knows of none.
    pub(crate) fn kind(self) -> Option<&'static str> {
        KINDS.get(usize::from(self.0.to_le_bytes()[0])).copied()
    }
}

/// Appends all that an effect says. For the bytes of a batch there is its digest, which is at hand.
fn put_effect(effect: &Effect, out: &mut Vec<u8>) {
    match effect {
        Effect::Promise(promise) => {
            out.put_u64(promise.view.0);
            out.put_u64(promise.slot_limit.0);
        }
        Effect::Persist(record) => {
            record.encode(out);
            if let Some(batch) = record.batch() {
                out.put_digest(&batch.digest());
            }
        }
        Effect::Send { to, message } => {
            out.put_u16(to.0);
            put_message(message, out);
        }
        Effect::Broadcast(message) => put_message(message, out),
        Effect::Deliver(delivery) => put_delivery(delivery, out),
        Effect::Reply { client, sequence, outcome } => {
            out.put_client(*client);
            out.put_u64(*sequence);
            out.put_digest(&outcome.digest());
        }
        Effect::SessionEvicted(client) => out.put_client(*client),
        Effect::Checkpoint { snapshot, is_asked } => {
            out.put_u8(u8::from(*is_asked));
            put_snapshot(snapshot, out);
        }
        Effect::Stable(certificate) | Effect::Transfer(certificate) => certificate.encode(out),
        Effect::Install(slot) => out.put_u64(slot.0),
        Effect::Reconfigured(membership) => membership.encode(out),
        Effect::SteppedDown(answer) => out.put(format!("{answer:?}").as_bytes()),
        Effect::Event(event) => out.put(format!("{event:?}").as_bytes()),
        Effect::Halt(reason) => out.put(reason.as_bytes()),
    }
}

fn put_message(message: &PeerMessage, out: &mut Vec<u8>) {
    match message {
        PeerMessage::Propose(propose) => {
            out.put_u8(0);
            out.put_u64(propose.view.0);
            out.put_u64(propose.slot.0);
            out.put_digest(&propose.parent);
            out.put_digest(&propose.batch.digest());
        }
        PeerMessage::Entry(entry) => {
            out.put_u8(1);
            out.put_u64(entry.slot.0);
            out.put_digest(&entry.parent);
            out.put_digest(&entry.batch.digest());
        }
        other => {
            out.put_u8(2);
            other.encode(Epoch(0), out);
        }
    }
}

/// What commands say is in the chain digest. What the core itself makes of changes is not.
fn put_delivery(delivery: &Delivery, out: &mut Vec<u8>) {
    let Delivery { slot, digest, timestamp, commands } = delivery;
    out.put_u64(slot.0);
    out.put_digest(digest);
    out.put_u64(*timestamp);
    for command in commands {
        let Command { position, client, sequence, acknowledged, operation, version, payload } = command;
        out.put_u64(*position);
        out.put_client(*client);
        out.put_u64(*sequence);
        out.put_u64(*acknowledged);
        out.put_u32(*version);
        if matches!(operation, Operation::Reconfigure | Operation::Upgrade) {
            out.put_bytes(payload);
        }
    }
}

/// The sessions, which may be very many, are only counted: replicas compare the snapshots themselves.
fn put_snapshot(snapshot: &CoreSnapshot, out: &mut Vec<u8>) {
    let CoreSnapshot { slot, digest, timestamp, position, number, asked_at, membership, sessions, upgraded } = snapshot;
    out.put_u64(slot.0);
    out.put_digest(digest);
    for number in [timestamp, position, number, asked_at] {
        out.put_u64(*number);
    }
    membership.encode(out);
    out.put_count(sessions.len());
    out.put_u32(upgraded.map_or(0, |version| version.number));
}

/// A core's answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) effects: Vec<Mark>,
    pub(crate) signatures: Vec<Signature>,
}

impl Answer {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_count(self.effects.len());
        for mark in &self.effects {
            out.put_u64(mark.0);
        }
        out.put_count(self.signatures.len());
        for signature in &self.signatures {
            out.put(&signature.0);
        }
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let count = reader.count("effects", reader.rest().len() / 8)?;
        let mut effects = Vec::with_capacity(count);
        for _ in 0..count {
            effects.push(Mark(reader.u64("mark of an effect")?));
        }
        let count = reader.count("signatures", reader.rest().len() / 64)?;
        let mut signatures = Vec::with_capacity(count);
        for _ in 0..count {
            signatures.push(reader.signature("signature")?);
        }
        Ok(Self { effects, signatures })
    }
}
