//! Changes to a message that a Byzantine replica sends: structured ones, since random bytes get no further than the
//! decoder. What bears its own signature is signed anew.

use pssmr_types::{
    Batch, Certificate, Checkpoint, CheckpointVote, ClientId, ClusterId, Digest, Entry, HandoverVote, Lock, Membership,
    Operation, PeerMessage, Propose, Request, SecretKey, Slot, Status, StopData, Sync, View, Vote,
};

use super::client::Client;
use crate::random::Random;

/// A message of the same kind that says something else, or now and then another one.
pub(super) fn tamper(
    random: &mut Random,
    message: &PeerMessage,
    membership: &Membership,
    secret: &SecretKey,
) -> PeerMessage {
    let (cluster, epoch) = (membership.cluster(), membership.epoch());
    match message {
        PeerMessage::Propose(propose) => PeerMessage::Propose(self::propose(random, propose)),
        PeerMessage::Write(vote) if random.chance(1, 4) => PeerMessage::Accept(*vote),
        PeerMessage::Write(vote) => PeerMessage::Write(self::vote(random, vote)),
        PeerMessage::Accept(vote) => PeerMessage::Accept(self::vote(random, vote)),
        PeerMessage::Stop(view) => PeerMessage::Stop(View(near(random, view.0))),
        PeerMessage::StopData(state) => PeerMessage::StopData(self::state(random, state, cluster, secret)),
        PeerMessage::Sync(sync) => PeerMessage::Sync(self::sync(random, sync, cluster, secret)),
        PeerMessage::Forward(requests) => {
            PeerMessage::Forward(requests.iter().map(|request| forge(random, request)).collect())
        }
        PeerMessage::Status(status) => PeerMessage::Status(Status {
            view: View(near(random, status.view.0)),
            synced: random.chance(1, 2),
            decided: Slot(near(random, status.decided.0)),
            digest: digest(random, status.digest),
            head: Slot(near(random, status.head.0)),
            awaited: Slot(near(random, status.awaited.0)),
            is_newborn: random.chance(1, 4),
        }),
        PeerMessage::Fetch { slot, digest: known, floor } => {
            let (slot, floor) = (Slot(near(random, slot.0)), Slot(near(random, floor.0)));
            PeerMessage::Fetch { slot, digest: digest(random, *known), floor }
        }
        PeerMessage::Entry(entry) => PeerMessage::Entry(Entry {
            slot: Slot(near(random, entry.slot.0)),
            parent: digest(random, entry.parent),
            batch: self::batch(random, &entry.batch),
        }),
        PeerMessage::Truncated { oldest } => PeerMessage::Truncated { oldest: Slot(near(random, oldest.0)) },
        PeerMessage::DigestRequest(slot) => PeerMessage::DigestRequest(Slot(near(random, slot.0))),
        PeerMessage::DigestReply { slot, digest: known } => {
            PeerMessage::DigestReply { slot: *slot, digest: digest(random, *known) }
        }
        PeerMessage::Checkpoint(vote) => {
            PeerMessage::Checkpoint(CheckpointVote::sign(cluster, epoch, checkpoint(random, vote.checkpoint), secret))
        }
        PeerMessage::Certificate(certificate) => {
            let mut signatures = certificate.signatures.clone();
            if random.chance(1, 3) {
                signatures.pop();
            } else if random.chance(1, 2) {
                for (replica, _) in &mut signatures {
                    replica.0 = random.below(8) as u16;
                }
            }
            let checkpoint = checkpoint(random, certificate.checkpoint);
            PeerMessage::Certificate(Certificate { checkpoint, epoch: certificate.epoch, signatures })
        }
        PeerMessage::Snapshot(message) => PeerMessage::Snapshot(message.clone()),
        PeerMessage::Handover(vote) => {
            let (slot, digest) = (Slot(near(random, vote.slot.0)), digest(random, vote.digest));
            PeerMessage::Handover(HandoverVote::sign(cluster, epoch, slot, digest, vote.next, secret))
        }
        PeerMessage::Handovers(handovers) => {
            let mut handovers = handovers.clone();
            if let Some(first) = handovers.first_mut() {
                first.slot = Slot(near(random, first.slot.0));
            }
            PeerMessage::Handovers(handovers)
        }
    }
}

/// What is not so.
fn checkpoint(random: &mut Random, known: Checkpoint) -> Checkpoint {
    Checkpoint {
        slot: Slot(near(random, known.slot.0).max(1)),
        digest: digest(random, known.digest),
        root: digest(random, known.root),
    }
}

/// A number not far from this one, or at an end of the range.
fn near(random: &mut Random, number: u64) -> u64 {
    match random.below(8) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::MAX / 2,
        3 => number,
        4 => number.saturating_sub(1),
        5 => number.saturating_add(1),
        6 => number.saturating_add(random.below(300)),
        _ => number.saturating_sub(random.below(300)),
    }
}

fn digest(random: &mut Random, known: Digest) -> Digest {
    if random.chance(1, 2) {
        return known;
    }
    Digest::of("pssmr simulation 1", &random.below(4).to_le_bytes())
}

/// A request that its client did not send.
fn forge(random: &mut Random, request: &Request) -> Request {
    let ClientId { principal, session } = request.client;
    let (sequence, acknowledged) = (request.sequence, request.acknowledged);
    match random.below(5) {
        0 => request.clone(),
        1 if request.operation == Operation::Command => {
            Request::new(request.client, sequence, acknowledged, Operation::Command, b"forged")
        }
        2 if session > 0 => {
            let sequence = sequence + random.between(1, 5000);
            Request::new(request.client, sequence, sequence, Operation::Command, b"forged, to move the window")
        }
        3 => {
            let none = ClientId { principal, session: 0 };
            Request::new(none, random.any(), 0, Operation::OpenSession, b"")
        }
        _ => {
            let other = ClientId { principal, session: session + random.between(1, 3) };
            Request::new(other, 1, 1, Operation::Command, b"forged, for another session")
        }
    }
}

/// Requests in the names of clients that did not send them.
pub(super) fn forge_many(random: &mut Random, many: usize) -> Vec<Request> {
    (0..many)
        .map(|_| {
            let principal = Client::principal(random.index(4));
            let client = ClientId { principal, session: random.between(1, 8) };
            let sequence = random.between(1, 100);
            Request::new(client, sequence, 1, Operation::Command, b"forged")
        })
        .collect()
}

fn batch(random: &mut Random, batch: &Batch) -> Batch {
    let mut requests = batch.requests().to_vec();
    let mut timestamp = batch.timestamp();
    match random.below(6) {
        0 => random.shuffle(&mut requests),
        1 => {
            requests.pop();
        }
        2 if !requests.is_empty() => {
            let again = random.pick(&requests).clone();
            requests.push(again);
        }
        3 if !requests.is_empty() => {
            let place = random.index(requests.len());
            requests[place] = forge(random, &requests[place]);
        }
        4 => {
            timestamp = match random.below(3) {
                0 => 0,
                1 => u64::MAX,
                _ => timestamp.saturating_add_signed(random.around_zero(10_000_000_000)),
            }
        }
        _ => timestamp += 1,
    }
    Batch::new(timestamp, requests)
}

fn propose(random: &mut Random, propose: &Propose) -> Propose {
    let mut other = propose.clone();
    match random.below(6) {
        0 => other.view = View(near(random, propose.view.0)),
        1 => other.slot = Slot(near(random, propose.slot.0)),
        2 => other.parent = digest(random, propose.parent),
        _ => other.batch = batch(random, &propose.batch),
    }
    other
}

/// Slots and bases stay in the order that the decoder insists on, most of the time.
fn vote(random: &mut Random, vote: &Vote) -> Vote {
    let mut other = *vote;
    match random.below(5) {
        0 => other.view = View(near(random, vote.view.0)),
        1 => other.base = Slot(near(random, vote.base.0)),
        2 => other.slot = Slot(near(random, vote.slot.0)),
        3 => other.base = Slot(random.below(vote.slot.0)),
        _ => other.digest = digest(random, vote.digest),
    }
    other
}

fn state(random: &mut Random, state: &StopData, cluster: ClusterId, secret: &SecretKey) -> StopData {
    let (mut lock, mut writeset) = (state.lock, state.writeset.clone());
    match random.below(6) {
        0 => lock = None,
        1 if state.view.0 > 0 => {
            let view = View(random.below(state.view.0));
            let known = writeset.last().and_then(|written| written.digests.last().copied());
            lock = Some(Lock {
                view,
                slot: Slot(random.between(1, 20)),
                digest: digest(random, known.unwrap_or_default()),
            });
        }
        2 => writeset.clear(),
        3 => {
            if let Some(lock) = &mut lock {
                lock.view = View(near(random, lock.view.0));
                lock.slot = Slot(near(random, lock.slot.0));
            }
        }
        4 => {
            for written in &mut writeset {
                written.base = Slot(random.below(written.last().0));
            }
        }
        _ => {
            for written in &mut writeset {
                let place = random.index(written.digests.len());
                written.digests[place] = digest(random, written.digests[place]);
            }
        }
    }
    StopData::sign(cluster, state.epoch, state.view, state.replica, lock, writeset, secret)
}

fn sync(random: &mut Random, sync: &Sync, cluster: ClusterId, secret: &SecretKey) -> Sync {
    let mut states = sync.states.clone();
    random.shuffle(&mut states);
    let own = secret.public();
    let is_own = |state: &StopData| state.is_signed_by(cluster, &own);
    match random.below(5) {
        0 => {
            states.pop();
        }
        // In the names of others.
        1 => {
            let innocent = random.chance(1, 2);
            for other in &mut states {
                *other = if innocent {
                    let (epoch, view, replica) = (other.epoch, other.view, other.replica);
                    StopData::sign(cluster, epoch, view, replica, None, Vec::new(), secret)
                } else {
                    state(random, other, cluster, secret)
                };
            }
        }
        // One state for all.
        2 => {
            if let Some(own) = states.iter().find(|state| is_own(state)) {
                let StopData { epoch, view, replica, .. } = *own;
                let innocent = StopData::sign(cluster, epoch, view, replica, None, Vec::new(), secret);
                states.fill(innocent);
            }
        }
        _ => {
            for own in states.iter_mut().filter(|state| is_own(state)) {
                *own = state(random, own, cluster, secret);
            }
        }
    }
    let view = if random.chance(1, 4) { View(near(random, sync.view.0)) } else { sync.view };
    Sync::sign(cluster, view, states, secret)
}
