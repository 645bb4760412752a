//! Images: what has to be remembered beside a snapshot, so that the log before it can go.

use pssmr_types::Slot;

use crate::core::{Core, Phase};
use crate::interface::Effect;
use crate::record::{Image, Record};

impl Core {
    /// Puts what has to be remembered beside each snapshot taken since into the log, so that all before it can go.
    pub(crate) fn put_images(&mut self, effects: &mut Vec<Effect>) {
        for slot in std::mem::take(&mut self.checkpoints.due_images) {
            if self.gate.is_replaying || !self.gate.has_log() {
                continue;
            }
            let mut records = Vec::new();
            for (slot, parent, batch) in self.shelf.slots() {
                records.push(Record::Shelved { slot, parent, batch: batch.clone() });
            }
            let decided = self.chain.decided();
            for number in slot.0 + 1..=self.chain.head().0 {
                let slot = Slot(number);
                let batch = self.chain.batch(slot).expect("what was delivered since is kept until its image is taken");
                let proposed = self.chain.get(slot).is_some_and(|link| link.unproven > 0);
                records.push(Record::Slot { slot, proposed, batch });
            }
            if decided > slot {
                records.push(Record::Decided { slot: decided, in_view: false });
            }
            let image = Image {
                slot,
                view: self.view,
                base: (self.phase == Phase::Active).then(|| (self.base, self.change.sync.clone())),
                wrote: self.wrote,
                accepted: self.accepted,
                lock: self.lock,
                writeset: self.writeset.entries().to_vec(),
                handovers: self.handovers().to_vec(),
                follow: records.len() as u32,
            };
            self.persist(|| Record::Image(Box::new(image)), effects);
            for record in records {
                self.persist(|| Record::OfImage(Box::new(record)), effects);
            }
        }
    }

    /// Takes over what an image says, at the beginning of a log.
    pub(crate) fn take_image(&mut self, image: &Image) {
        self.restore_handovers(&image.handovers);
        self.note_retirement(&mut Vec::new());
        if image.view.epoch() < self.membership.epoch() {
            self.epochs.is_skipped = true;
            return;
        }
        self.view = image.view;
        self.phase = if image.base.is_some() { Phase::Active } else { Phase::AwaitingSync };
        if let Some((base, sync)) = &image.base {
            self.base = *base;
            self.change.sync.clone_from(sync);
        }
        (self.wrote, self.accepted, self.lock) = (image.wrote, image.accepted, image.lock);
        self.writeset.restore(&image.writeset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, CoreSnapshot, Durability, Now};
    use pssmr_types::{
        Batch, ClusterId, Digest, Epoch, FaultModel, Lock, Membership, ReplicaId, SecretKey, View, chain_digest,
    };

    /// What the lock speaks of is nowhere else once the log before a checkpoint has gone.
    #[test]
    fn an_image_has_what_is_on_the_shelf() {
        let secrets: Vec<_> = (1..=4).map(|seed| SecretKey::from_seed([seed; 32])).collect();
        let keys = secrets.iter().map(SecretKey::public).collect();
        let members = Membership::new(ClusterId([1; 16]), Epoch(0), FaultModel::Byzantine, keys).unwrap();
        let config = Config { durability: Durability::Sync, ..Config::default() };
        let below = Digest([1; 32]);
        let batch = Batch::new(7, vec![]);
        let ours = chain_digest(members.cluster(), members.epoch(), Slot(6), below, batch.digest());
        let snapshot = CoreSnapshot {
            slot: Slot(5),
            digest: below,
            timestamp: 0,
            position: 0,
            number: 1,
            asked_at: 0,
            membership: members.clone(),
            sessions: vec![],
            upgraded: None,
        };
        let restored = || {
            let me = ReplicaId(2);
            let mut core = Core::new(config.clone(), members.clone(), me, secrets[2].clone(), Now::default()).unwrap();
            core.restore(&snapshot);
            core
        };
        let mut core = restored();
        core.lock = Some(Lock { view: View(0), slot: Slot(6), digest: ours });
        core.shelf.put(Slot(6), ours, below, batch.clone());
        core.checkpoints.due_images.push(Slot(5));
        let mut effects = Vec::new();
        core.put_images(&mut effects);
        let mut again = restored();
        for effect in effects {
            if let Effect::Persist(record) = effect {
                again.replay(&record, &mut Vec::new()).unwrap();
            }
        }
        assert_eq!(again.shelf.get(Slot(6), ours), Some((below, &batch)));
    }
}
