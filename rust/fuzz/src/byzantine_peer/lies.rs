//! What the liar can say: every kind of message, made of what it knows.

use pssmr_types::{
    Batch, Certificate, Checkpoint, CheckpointVote, Digest, Entry, Lock, PeerMessage, Propose, ReplicaId, Slot, Status,
    StopData, Sync, View, Vote, Written, chain_digest,
};

use super::cluster::Cluster;
use super::requests;
use crate::choices::Choices;
use crate::four::{CLUSTER, EPOCH};

impl Cluster {
    /// The liar makes up something and says it to one correct replica, or to all of them.
    pub(super) fn lie(&mut self, choices: &mut Choices<'_>) {
        let about = self.any_correct(choices);
        let message = self.make_up(about, choices);
        if choices.flag() {
            self.tell(about, &message);
        } else {
            for to in self.correct() {
                self.tell(to, &message);
            }
        }
    }

    fn digest(&self, choices: &mut Choices<'_>) -> Digest {
        match choices.byte() {
            garbage @ 250.. => Digest([garbage; 32]),
            known => self.known[self.known.len() - 1 - usize::from(known) % self.known.len()],
        }
    }

    fn make_up(&mut self, about: ReplicaId, choices: &mut Choices<'_>) -> PeerMessage {
        let (view, decided, head) = self.place(about);
        match choices.below(16) {
            0..=2 => {
                let slot = Slot(choices.near(head.0 + 1));
                let (parent, batch) = (self.digest(choices), self.batch(choices));
                self.note(chain_digest(CLUSTER, EPOCH, slot, parent, batch.digest()));
                PeerMessage::Propose(Propose { view: View(choices.near(view.0)), slot, parent, batch })
            }
            3..=4 => PeerMessage::Write(self.vote(view, head, choices)),
            5..=6 => PeerMessage::Accept(self.vote(view, head, choices)),
            7 => PeerMessage::Stop(View(choices.near(view.0 + 1))),
            8 => PeerMessage::StopData(self.state(View(choices.near(view.0 + 1)), decided, choices)),
            9 => {
                let view = View(choices.near(view.0));
                let mut states: Vec<StopData> = self.states_heard(view);
                states.push(self.state(view, decided, choices));
                if choices.flag() {
                    states.remove(choices.below(states.len()));
                }
                PeerMessage::Sync(Sync::sign(CLUSTER, view, states, &self.secret()))
            }
            10 => PeerMessage::Forward(requests(choices)),
            11 => PeerMessage::Status(Status {
                view: View(choices.near(view.0)),
                synced: choices.flag(),
                decided: Slot(choices.near(decided.0)),
                digest: self.digest(choices),
                head: Slot(choices.near(head.0)),
                awaited: Slot(choices.near(decided.0)),
                is_newborn: choices.near(decided.0) % 2 == 1,
            }),
            12 => {
                let (slot, digest) = (Slot(choices.near(head.0)), self.digest(choices));
                PeerMessage::Fetch { slot, digest, floor: Slot(choices.near(decided.0)) }
            }
            13 => {
                let slot = Slot(choices.near(decided.0 + 1));
                PeerMessage::Entry(Entry { slot, parent: self.digest(choices), batch: self.batch(choices) })
            }
            14 => match choices.below(6) {
                4 => PeerMessage::Checkpoint(self.checkpoint(decided, choices)),
                5 => {
                    let vote = self.checkpoint(decided, choices);
                    let mut signatures = vec![(self.liar, vote.signature)];
                    signatures.extend((0..choices.below(3)).map(|of| (ReplicaId(of as u16), vote.signature)));
                    signatures.sort_unstable_by_key(|(replica, _)| *replica);
                    PeerMessage::Certificate(Certificate { checkpoint: vote.checkpoint, epoch: EPOCH, signatures })
                }
                0 => PeerMessage::Truncated { oldest: Slot(choices.near(decided.0)) },
                _ => PeerMessage::DigestRequest(Slot(choices.near(decided.0))),
            },
            _ => PeerMessage::DigestReply { slot: Slot(choices.near(decided.0)), digest: self.digest(choices) },
        }
    }

    fn batch(&self, choices: &mut Choices<'_>) -> Batch {
        let timestamp = if choices.below(8) == 0 { choices.number() } else { self.wall() };
        Batch::new(timestamp, requests(choices))
    }

    fn checkpoint(&self, decided: Slot, choices: &mut Choices<'_>) -> CheckpointVote {
        let (slot, digest) = (Slot(choices.near(decided.0).max(1)), self.digest(choices));
        CheckpointVote::sign(CLUSTER, EPOCH, Checkpoint { slot, digest, root: self.digest(choices) }, &self.secret())
    }

    fn vote(&self, view: View, head: Slot, choices: &mut Choices<'_>) -> Vote {
        let base = choices.number();
        Vote {
            view: View(choices.near(view.0)),
            base: Slot(if base < 8 { base } else { 0 }),
            slot: Slot(choices.near(head.0)),
            digest: self.digest(choices),
        }
    }

    fn state(&self, view: View, decided: Slot, choices: &mut Choices<'_>) -> StopData {
        let mut lock = None;
        if choices.flag() {
            let of = View(view.0.saturating_sub(1 + choices.below(3) as u64));
            lock = Some(Lock { view: of, slot: Slot(choices.near(decided.0 + 1)), digest: self.digest(choices) });
        }
        let mut writeset = Vec::new();
        for back in (1..=choices.below(3) as u64).rev().filter(|back| *back <= view.0) {
            let first = choices.near(decided.0.max(1));
            let digests: Vec<_> = (0..=choices.below(3)).map(|_| self.digest(choices)).collect();
            let base = Slot(first.saturating_sub(choices.below(3) as u64));
            writeset.push(Written { view: View(view.0 - back), base, first: Slot(first), digests });
        }
        StopData::sign(CLUSTER, EPOCH, view, self.liar, lock, writeset, &self.secret())
    }

    /// The true states for a view that the liar has heard, one of each replica.
    fn states_heard(&self, view: View) -> Vec<StopData> {
        let mut states: Vec<StopData> = Vec::new();
        for message in self.heard() {
            let PeerMessage::StopData(state) = message else { continue };
            if state.view == view && states.iter().all(|other| other.replica != state.replica) {
                states.push(state.clone());
            }
        }
        states
    }
}
