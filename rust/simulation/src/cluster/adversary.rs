//! Byzantine replicas. Each runs real cores and means no good with what they say: it holds messages back, changes them,
//! sends old ones again; or it has two selves under one identity and one key, each of which talks to its own part of
//! the others (Twins: Bano et al., OPODIS'21), so that it equivocates in every message and still makes sense to each.

use std::collections::{HashMap, VecDeque};

use pssmr_types::{Digest, Membership, PeerMessage, REPLICAS_MAX, ReplicaId, SecretKey, Slot, Vote, chain_digest};

use super::counters::{Counters, Sometimes};
use super::tamper;
use crate::random::Random;

/// What a Byzantine replica is given to. Drawn anew now and then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Character {
    pub(super) twins: bool,
    /// Rates, in parts per million of messages.
    withholds: u32,
    tampers: u32,
    replays: u32,
    /// How often it changes what it proposes, what it says of itself at a view change, and what it proves as a leader.
    schemes: u32,
    /// How often it votes for whatever it hears others vote for, to some of them.
    echoes: u32,
    /// It forwards requests that no client sent.
    floods: bool,
    /// It lies to clients.
    pub(super) lies: bool,
    /// Kinds of messages that it never sends, by bit.
    mute_kinds: u32,
    /// Replicas that it never talks to, by bit.
    mute_to: u64,
}

impl Character {
    pub(super) fn new(random: &mut Random) -> Self {
        let twins = random.chance(1, 2);
        let rate = |random: &mut Random| if random.chance(1, 2) { 0 } else { random.magnitude(1000, 500_000) as u32 };
        let mut mute_kinds = 0;
        if random.chance(1, 3) {
            for _ in 0..random.between(1, 3) {
                mute_kinds |= 1 << random.below(u64::from(KINDS));
            }
        }
        let mute_to = if random.chance(1, 3) { random.any() & random.any() } else { 0 };
        Self {
            twins,
            withholds: rate(random),
            tampers: rate(random),
            replays: rate(random),
            schemes: rate(random),
            echoes: if random.chance(1, 2) { 0 } else { random.magnitude(100_000, 1_000_000) as u32 },
            floods: random.chance(1, 3),
            lies: random.chance(1, 2),
            mute_kinds,
            mute_to,
        }
    }
}

const KINDS: u32 = 18;

fn kind(message: &PeerMessage) -> u32 {
    match message {
        PeerMessage::Propose(_) => 0,
        PeerMessage::Write(_) => 1,
        PeerMessage::Accept(_) => 2,
        PeerMessage::Stop(_) => 3,
        PeerMessage::StopData(_) => 4,
        PeerMessage::Sync(_) => 5,
        PeerMessage::Forward(_) => 6,
        PeerMessage::Status(_) => 7,
        PeerMessage::Fetch { .. } => 8,
        PeerMessage::Entry(_) => 9,
        PeerMessage::Truncated { .. } => 10,
        PeerMessage::DigestRequest(_) => 11,
        PeerMessage::DigestReply { .. } => 12,
        PeerMessage::Checkpoint(_) => 13,
        PeerMessage::Certificate(_) => 14,
        PeerMessage::Snapshot(_) => 15,
        PeerMessage::Handover(_) => 16,
        PeerMessage::Handovers(_) => 17,
    }
}

/// Most old messages kept to be sent again.
const PAST_MAX: usize = 64;

/// Forged requests in one message.
const FLOOD: usize = 40;

#[derive(Debug)]
pub(super) struct Adversary {
    pub(super) id: ReplicaId,
    /// Its selves: one host or two.
    pub(super) hosts: Vec<usize>,
    pub(super) character: Character,
    /// By replica, which self talks to it.
    side: Vec<usize>,
    past: VecDeque<PeerMessage>,
    proposed: HashMap<(u64, u64), (usize, Digest)>,
    membership: Membership,
    secret: SecretKey,
    random: Random,
}

impl Adversary {
    pub(super) fn new(
        id: ReplicaId,
        hosts: Vec<usize>,
        character: Character,
        membership: Membership,
        secret: SecretKey,
        random: Random,
    ) -> Self {
        let side = vec![0; REPLICAS_MAX];
        let mut adversary = Self {
            id,
            hosts,
            character,
            side,
            past: VecDeque::new(),
            proposed: HashMap::new(),
            membership,
            secret,
            random,
        };
        adversary.regroup();
        adversary
    }

    /// The membership has changed.
    pub(super) fn follow(&mut self, membership: &Membership) {
        if membership.epoch() > self.membership.epoch() {
            self.membership = membership.clone();
        }
    }

    /// Its selves share the others anew, and it takes to other ways.
    pub(super) fn regroup(&mut self) {
        let selves = self.hosts.len();
        for side in &mut self.side {
            *side = self.random.index(selves);
        }
        self.character = Character { twins: self.character.twins, ..Character::new(&mut self.random) };
    }

    /// The host that hears what this replica says.
    pub(super) fn host_for(&self, from: ReplicaId) -> usize {
        self.hosts[self.side[from.index()]]
    }

    /// What becomes of a message that one of its selves wants to send; to one replica, or to all.
    pub(super) fn send(
        &mut self,
        host: usize,
        to: Option<ReplicaId>,
        message: &PeerMessage,
        counters: &mut Counters,
    ) -> Vec<(ReplicaId, PeerMessage)> {
        let this = self.hosts.iter().position(|other| *other == host).expect("a message of one of its selves");
        if let PeerMessage::Propose(propose) = message {
            let digest = propose.batch.digest();
            let first = self.proposed.entry((propose.view.0, propose.slot.0)).or_insert((this, digest));
            if first.0 != this && first.1 != digest {
                counters.count(Sometimes::Equivocated);
            }
        }
        let is_decisive = matches!(message, PeerMessage::Propose(_) | PeerMessage::StopData(_) | PeerMessage::Sync(_));
        let lies = self.character.tampers.max(if is_decisive { self.character.schemes } else { 0 });
        // One lie for all of them, or one for each.
        let lie = (self.random.chance(1, 2) && self.random.parts_per_million(lies))
            .then(|| tamper::tamper(&mut self.random, message, &self.membership, &self.secret));
        let mut out = Vec::new();
        for receiver in self.membership.replicas() {
            let is_meant = receiver != self.id && to.is_none_or(|to| to == receiver);
            if !is_meant || self.side[receiver.index()] != this {
                continue;
            }
            let mute = self.character.mute_kinds >> kind(message) & 1 == 1
                || self.character.mute_to >> receiver.index() & 1 == 1;
            if mute || self.random.parts_per_million(self.character.withholds) {
                counters.count(Sometimes::Withheld);
                continue;
            }
            if self.random.parts_per_million(self.character.replays)
                && let Some(old) = (!self.past.is_empty()).then(|| self.random.index(self.past.len()))
            {
                counters.count(Sometimes::Replayed);
                let old = self.past[old].clone();
                out.push((receiver, if self.random.chance(1, 2) { renew(old, message) } else { old }));
            }
            out.push((
                receiver,
                if let Some(lie) = &lie {
                    counters.count(Sometimes::Tampered);
                    lie.clone()
                } else if self.random.parts_per_million(lies) {
                    counters.count(Sometimes::Tampered);
                    tamper::tamper(&mut self.random, message, &self.membership, &self.secret)
                } else {
                    message.clone()
                },
            ));
        }
        if self.character.floods && matches!(message, PeerMessage::Status(_)) {
            counters.count(Sometimes::Flooded);
            let forged = PeerMessage::Forward(tamper::forge_many(&mut self.random, FLOOD));
            out.extend(self.membership.replicas().filter(|to| *to != self.id).map(|to| (to, forged.clone())));
        }
        if self.past.len() >= PAST_MAX {
            let place = self.random.index(PAST_MAX);
            self.past[place] = message.clone();
        } else {
            self.past.push_back(message.clone());
        }
        out
    }

    /// What it says to a message that it hears, besides what its selves have to say: it is for everything that anybody
    /// votes for.
    pub(super) fn echo(
        &mut self,
        from: ReplicaId,
        message: &PeerMessage,
        counters: &mut Counters,
    ) -> Vec<(ReplicaId, PeerMessage)> {
        let vote = match message {
            PeerMessage::Write(vote) | PeerMessage::Accept(vote) => *vote,
            PeerMessage::Propose(propose) => {
                let (cluster, epoch) = (self.membership.cluster(), self.membership.epoch());
                let digest = chain_digest(cluster, epoch, propose.slot, propose.parent, propose.batch.digest());
                Vote { view: propose.view, base: Slot(0), slot: propose.slot, digest }
            }
            _ => return Vec::new(),
        };
        if !self.random.parts_per_million(self.character.echoes) {
            return Vec::new();
        }
        counters.count(Sometimes::Echoed);
        let mut out = Vec::new();
        for receiver in self.membership.replicas().filter(|receiver| *receiver != self.id) {
            if receiver == from || self.random.chance(1, 2) {
                out.push((receiver, PeerMessage::Write(vote)));
                out.push((receiver, PeerMessage::Accept(vote)));
            }
        }
        out
    }
}

/// An old proposal or vote, in the view of a newer one.
fn renew(mut old: PeerMessage, newer: &PeerMessage) -> PeerMessage {
    let view = match newer {
        PeerMessage::Propose(propose) => propose.view,
        PeerMessage::Write(vote) | PeerMessage::Accept(vote) => vote.view,
        _ => return old,
    };
    match &mut old {
        PeerMessage::Propose(propose) => propose.view = view,
        PeerMessage::Write(vote) | PeerMessage::Accept(vote) => vote.view = view,
        _ => {}
    }
    old
}
