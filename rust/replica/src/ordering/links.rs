//! The links to the other replicas: one each. The replica with the higher id dials.
//!
//! They follow the membership. Replicas that were in it stay known for a while: one that was away when it was taken out still
//! believes to be a replica, and is told otherwise on its link.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use pssmr_transport::{AcceptKeys, CloseReason, DownReason, LinkId, SendError, Transport, TransportError};
use pssmr_types::{BatchLimits, Epoch, Hello, Member, Membership, PeerMessage, PublicKey, ReplicaId, Status};

use crate::greeting::{self, Side};
use crate::status::{Counters, PeerStatus};

/// So many replicas that are no longer of the membership may still connect: those that were in it last.
const FORMER_MAX: usize = 16;

/// The links to the other replicas.
#[derive(Debug)]
pub(crate) struct PeerLinks {
    me: ReplicaId,
    own_key: PublicKey,
    hello: Hello,
    /// Where replicas are reached, if not where their membership says.
    addresses: HashMap<PublicKey, String>,
    /// All that there ever were, but for this one. Their places stay.
    peers: Vec<Peer>,
    /// The members, ascending by id: id, and place among `peers`.
    members: Vec<(ReplicaId, usize)>,
    /// Links that are up. When a replica connects anew, its old link is there for a moment beside the new one.
    links: Vec<Link>,
    frame: Vec<u8>,
}

/// Another replica: a key.
#[derive(Debug)]
struct Peer {
    key: PublicKey,
    id: ReplicaId,
    address: String,
    /// It was dialed at another address.
    has_moved: bool,
    standing: Standing,
    /// It knows that it is no replica any more: nobody need dial it. If it forgets, it dials others.
    knows: bool,
    /// The link that this side dials.
    dialed: Option<LinkId>,
    /// The link that frames go to: up and greeted.
    link: Option<LinkId>,
    last_error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// One of the membership.
    Member,
    /// It was one, and may not know that it is none any more.
    Former,
    /// It was one too long ago.
    Gone,
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    peer: usize,
    greeted: bool,
}

/// What a frame was.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Nothing that concerns anybody.
    Nothing,
    /// A replica has greeted.
    Connected(ReplicaId),
    /// A message of a replica.
    Message(ReplicaId, Epoch, PeerMessage),
    /// A replica that is none any more has spoken, as one of this epoch.
    OfFormer(LinkId, Epoch),
}

impl PeerLinks {
    /// No links yet: they come with [`follow`](Self::follow).
    pub(crate) fn new(
        membership: &Membership,
        me: ReplicaId,
        own_key: PublicKey,
        hello: Hello,
        addresses: HashMap<PublicKey, String>,
    ) -> Self {
        let (peers, members, links) = (Vec::new(), Vec::new(), Vec::new());
        let mut new = Self { me, own_key, hello, addresses, peers, members, links, frame: Vec::new() };
        new.judge(membership, [].iter());
        new
    }

    /// From now on these are the replicas; `past` are the memberships before, the last one first. Gives the members whose
    /// links are up already, and were not a member's.
    ///
    /// # Errors
    /// [`TransportError`] if a key can't be used.
    pub(crate) fn follow<'a>(
        &mut self,
        membership: &Membership,
        past: impl Iterator<Item = &'a Membership>,
        transport: &mut Transport,
    ) -> Result<Vec<ReplicaId>, TransportError> {
        (self.hello.epoch, self.hello.membership) = (membership.epoch(), membership.digest());
        let before: Vec<_> = self.peers.iter().map(|peer| peer.standing).collect();
        self.judge(membership, past);
        let mut accepted = Vec::new();
        for at in 0..self.peers.len() {
            let wants_dial = self.wants_dial(at);
            let peer = &mut self.peers[at];
            if peer.standing == Standing::Former || (peer.standing == Standing::Member && peer.id > self.me) {
                accepted.push(peer.key);
            }
            let has_moved = std::mem::take(&mut peer.has_moved);
            if let Some(link) = peer.dialed.take_if(|_| has_moved || !wants_dial) {
                transport.forget(link);
            }
            if wants_dial && peer.dialed.is_none() {
                peer.dialed = Some(transport.dial(peer.key, peer.address.clone())?);
            }
        }
        transport.set_accept_keys(AcceptKeys::only(accepted));
        let joins = |(_, at): &&(ReplicaId, usize)| {
            before.get(*at) != Some(&Standing::Member) && self.peers[*at].link.is_some()
        };
        Ok(self.members.iter().filter(joins).map(|(id, _)| *id).collect())
    }

    /// Says of each replica what it is.
    fn judge<'a>(&mut self, membership: &Membership, past: impl Iterator<Item = &'a Membership>) {
        for peer in &mut self.peers {
            peer.standing = Standing::Gone;
        }
        for member in membership.members() {
            self.know(member, Standing::Member);
        }
        let mut former = 0;
        for member in past.flat_map(Membership::members) {
            let is_judged = self.peers.iter().any(|peer| peer.key == member.key && peer.standing != Standing::Gone);
            if !is_judged && former < FORMER_MAX {
                former += 1;
                self.know(member, Standing::Former);
            }
        }
        let members = self.peers.iter().enumerate().filter(|(_, peer)| peer.standing == Standing::Member);
        self.members = members.map(|(at, peer)| (peer.id, at)).collect();
        self.members.sort_unstable();
    }

    fn know(&mut self, member: &Member, standing: Standing) {
        if member.key == self.own_key {
            return;
        }
        let address = self.addresses.get(&member.key).unwrap_or(&member.peer_address);
        if let Some(known) = self.peers.iter_mut().find(|peer| peer.key == member.key) {
            known.knows &= standing == Standing::Former;
            (known.id, known.standing) = (member.id, standing);
            if known.address != *address {
                known.address.clone_from(address);
                known.has_moved = true;
            }
            return;
        }
        self.peers.push(Peer {
            key: member.key,
            id: member.id,
            address: address.clone(),
            has_moved: false,
            standing,
            knows: false,
            dialed: None,
            link: None,
            last_error: None,
        });
    }

    /// Whether this side dials. A former replica whose id another one has now may have left its machine to it.
    fn wants_dial(&self, at: usize) -> bool {
        let peer = &self.peers[at];
        peer.id < self.me
            && match peer.standing {
                Standing::Member => true,
                Standing::Former => !peer.knows && self.member(peer.id).is_none(),
                Standing::Gone => false,
            }
    }

    fn member(&self, id: ReplicaId) -> Option<&Peer> {
        let at = self.members.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.peers[self.members[at].1])
    }

    pub(crate) fn up(&mut self, link: LinkId, key: &PublicKey, transport: &mut Transport) {
        let peer = self.peers.iter().position(|peer| peer.key == *key).expect("only replicas may connect");
        self.links.push(Link { id: link, peer, greeted: false });
        let hello = self.hello;
        // The first frame finds an empty queue; if the link is gone already, its end follows.
        let _ = transport.send_with(link, |out| hello.encode(out));
    }

    /// Returns whose link is down and why, if it was in use.
    pub(crate) fn down(&mut self, link: LinkId, reason: &DownReason) -> Option<(ReplicaId, String)> {
        let at = self.links.iter().position(|known| known.id == link)?;
        let peer = &mut self.peers[self.links.swap_remove(at).peer];
        // Where this side closed the link, why is noted already.
        if !matches!(reason, DownReason::ClosedHere(_)) {
            peer.last_error = Some(reason.to_string());
        }
        if peer.link != Some(link) {
            return None;
        }
        peer.link = None;
        (peer.standing == Standing::Member).then(|| (peer.id, reason.to_string()))
    }

    pub(crate) fn dial_failed(&mut self, link: LinkId, reason: &DownReason) {
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.dialed == Some(link)) else { return };
        let reason = reason.to_string();
        if peer.last_error.as_ref() != Some(&reason) {
            tracing::info!(replica = %peer.id, reason, "cannot reach a replica");
            peer.last_error = Some(reason);
        }
    }

    /// Takes a frame: a greeting or a message.
    pub(crate) fn take_frame(
        &mut self,
        link: LinkId,
        frame: Bytes,
        limits: &BatchLimits,
        transport: &mut Transport,
    ) -> Result<Taken, Cow<'static, str>> {
        // Not if the link is on its way down.
        let Some(known) = self.links.iter_mut().find(|known| known.id == link) else { return Ok(Taken::Nothing) };
        let peer = &mut self.peers[known.peer];
        let from = peer.id;
        if !known.greeted {
            greeting::check(&self.hello, frame, Side::Peer)?;
            known.greeted = true;
            peer.link = Some(link);
            peer.last_error = None;
            let is_member = peer.standing == Standing::Member;
            return Ok(if is_member { Taken::Connected(from) } else { Taken::Nothing });
        }
        let (epoch, message) = PeerMessage::decode(frame, limits).map_err(|error| {
            tracing::debug!(replica = %from, %error, "a frame that is no message");
            "it sent a frame that is no message"
        })?;
        match peer.standing {
            Standing::Member => Ok(Taken::Message(from, epoch, message)),
            Standing::Former if epoch < self.hello.epoch => Ok(if matches!(message, PeerMessage::Status(_)) {
                Taken::OfFormer(link, epoch)
            } else {
                Taken::Nothing
            }),
            Standing::Former => {
                peer.knows = true;
                if let Some(dialed) = peer.dialed.take() {
                    transport.forget(dialed);
                }
                Ok(Taken::Nothing)
            }
            Standing::Gone => Ok(Taken::Nothing),
        }
    }

    /// Closes a link whose other side breaks the protocol; it may connect again.
    pub(crate) fn refuse(&mut self, link: LinkId, refusal: Cow<'static, str>, transport: &mut Transport) {
        if let Some(known) = self.links.iter().find(|known| known.id == link) {
            let peer = &mut self.peers[known.peer];
            tracing::warn!(replica = %peer.id, reason = &*refusal, "closing the link to a replica");
            peer.last_error = Some(refusal.clone().into_owned());
        }
        transport.close(link, CloseReason::Violation(refusal));
    }

    pub(crate) fn send(
        &mut self,
        to: ReplicaId,
        message: &PeerMessage,
        transport: &mut Transport,
        counters: &mut Counters,
    ) {
        match self.member(to).and_then(|peer| peer.link) {
            Some(link) => self.send_on(link, to, message, transport, counters),
            None => counters.messages_dropped += 1,
        }
    }

    /// Sends on a link, whoever is at the other side.
    pub(crate) fn answer(
        &self,
        link: LinkId,
        message: &PeerMessage,
        transport: &mut Transport,
        counters: &mut Counters,
    ) {
        if let Some(known) = self.links.iter().find(|known| known.id == link) {
            self.send_on(link, self.peers[known.peer].id, message, transport, counters);
        }
    }

    fn send_on(
        &self,
        link: LinkId,
        to: ReplicaId,
        message: &PeerMessage,
        transport: &mut Transport,
        counters: &mut Counters,
    ) {
        let epoch = self.hello.epoch;
        count(to, transport.send_with(link, |out| message.encode(epoch, out)), counters);
    }

    /// How much is on its way to a replica; none if there is no link.
    pub(crate) fn queued_bytes(&self, to: ReplicaId, transport: &Transport) -> Option<usize> {
        self.member(to).and_then(|peer| peer.link).map(|link| transport.queued_bytes(link))
    }

    /// Encodes once and sends the same bytes to all.
    pub(crate) fn broadcast(&mut self, message: &PeerMessage, transport: &mut Transport, counters: &mut Counters) {
        self.frame.clear();
        message.encode(self.hello.epoch, &mut self.frame);
        for (id, at) in &self.members {
            match self.peers[*at].link {
                Some(link) => count(*id, transport.send(link, &self.frame), counters),
                None => counters.messages_dropped += 1,
            }
        }
        // A batch can be large; the next one rarely is.
        self.frame.shrink_to(1 << 20);
    }

    /// How the links are; `said` is what each replica last said of itself.
    pub(crate) fn status(&self, said: &[Option<Status>]) -> Vec<PeerStatus> {
        let status = |(id, at): &(ReplicaId, usize)| {
            let (peer, said) = (&self.peers[*at], said.get(id.index()).copied().flatten());
            PeerStatus {
                id: id.0,
                up: peer.link.is_some(),
                last_error: peer.last_error.clone(),
                epoch: said.map(|status| status.view.epoch().0),
                view: said.map(|status| status.view.number()),
                decided: said.map(|status| status.decided.0),
            }
        };
        self.members.iter().map(status).collect()
    }
}

fn count(to: ReplicaId, sent: Result<(), SendError>, counters: &mut Counters) {
    match sent {
        Ok(()) => counters.messages_sent += 1,
        Err(error) => {
            // The protocol sends again what matters.
            counters.messages_dropped += 1;
            tracing::debug!(replica = %to, %error, "message not sent");
        }
    }
}
