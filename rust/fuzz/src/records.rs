//! A replica's log as its core reads it: records that follow on each other or not.

use bytes::Bytes;
use pssmr_ordering::{Config, Core, CoreSnapshot, Durability, Effect, Input, Now, Promise, Record};
use pssmr_types::{Batch, Digest, FaultModel, ReplicaId, Signature, Slot, Sync, View};

use crate::byzantine_peer::requests;
use crate::choices::Choices;
use crate::four::{membership, secret};

const RECORDS_MAX: usize = 100;

/// Records as a log hands them out: each has one encoding, and a replay of any sequence of them ends well or with an
/// error; a replica that it leaves runs.
pub fn records(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let model = if choices.flag() { FaultModel::Byzantine } else { FaultModel::Crash };
    let membership = membership(model);
    let config = Config {
        durability: Durability::Sync,
        window: 4,
        retained_slots_max: 16,
        checkpoint_slots: 3,
        ..Config::default()
    };
    let me = choices.below(4);
    let now = Now { monotonic: 0, wall: 1 << 60 };
    let mut core = Core::new(config, membership, ReplicaId(me as u16), secret(me), now).expect("good settings");
    let mut effects = Vec::new();
    let mut delivered = Slot(0);
    for _ in 0..RECORDS_MAX {
        if choices.is_over() {
            break;
        }
        let Some(record) = draw(&mut choices, &core) else { continue };
        if let Some(slot) = core.snapshot_before(&record) {
            if slot < core.decided() || core.head() > core.decided() {
                return;
            }
            let digest = Digest([choices.byte(); 32]);
            let membership = core.membership().clone();
            core.restore(&CoreSnapshot {
                slot,
                digest,
                timestamp: 0,
                position: slot.0,
                number: 1,
                asked_at: 0,
                membership,
                sessions: Vec::new(),
                upgraded: None,
            });
            delivered = slot;
        }
        if core.replay(&record, &mut effects).is_err() {
            return;
        }
        for effect in effects.drain(..) {
            match effect {
                Effect::Deliver(delivery) => {
                    assert_eq!(delivery.slot, delivered.next(), "slots are delivered in order");
                    delivered = delivery.slot;
                }
                Effect::SessionEvicted(_) | Effect::Checkpoint { .. } => {}
                other => panic!("a replay has nothing to say: {other:?}"),
            }
        }
        core.step(now, [Input::Executed(delivered)], &mut Vec::new());
    }
    core.set_promise(Promise { view: View(3), slot_limit: Slot(100) });
    core.resume(&mut effects);
    for milliseconds in [0, 300, 900, 2000] {
        let now = Now { monotonic: milliseconds * 1_000_000, wall: now.wall };
        core.step(now, [Input::Connected(ReplicaId(1)), Input::Tick], &mut effects);
    }
}

/// The next record: one that may follow, or any that the input's bytes are.
fn draw(choices: &mut Choices<'_>, core: &Core) -> Option<Record> {
    let head = core.head().0;
    Some(match choices.below(16) {
        0 => {
            let length = choices.below(256);
            let bytes = choices.bytes(length);
            let record = Record::decode(Bytes::copy_from_slice(bytes)).ok()?;
            let mut again = Vec::new();
            if let Some(tail) = record.encode(&mut again) {
                let tail = tail.clone();
                again.extend_from_slice(&tail);
            }
            assert_eq!(again, bytes, "a record has one encoding");
            record
        }
        // Views of which a replica counts more in its life than there are end it; none gets there one by one.
        1 | 2 => Record::View(View(choices.near(core.view().0 + 1).min(u64::MAX / 2))),
        3 | 4 => {
            let view = View(choices.near(core.view().0));
            let sync = choices.flag().then(|| Sync { view, states: Vec::new(), signature: Signature([0; 64]) });
            Record::Base { slot: Slot(choices.near(head)), sync }
        }
        5 => Record::Cut(Slot(choices.near(head))),
        6..=9 => {
            let batch = Batch::new(choices.number(), requests(choices));
            Record::Slot { slot: Slot(choices.near(head + 1)), proposed: choices.flag(), batch }
        }
        10 => Record::Installed(Slot(choices.near(core.decided().0))),
        11 => Record::Wrote(Slot(choices.near(head))),
        12 | 13 => {
            let slot = Slot(choices.near(head));
            let digest = if choices.flag() { core.status().digest } else { Digest([choices.byte(); 32]) };
            Record::Accepted { slot, digest }
        }
        _ => Record::Decided { slot: Slot(choices.near(head)), in_view: choices.flag() },
    })
}
