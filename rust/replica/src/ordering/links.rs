//! The links to the other replicas: one each. The replica with the higher id dials.

use bytes::Bytes;
use pssmr_ordering::Input;
use pssmr_transport::{CloseReason, DownReason, LinkId, SendError, Transport, TransportError};
use pssmr_types::{BatchLimits, Epoch, Hello, Membership, PeerMessage, PublicKey, ReplicaId, Status};

use crate::config::Member;
use crate::greeting::{self, Side};
use crate::status::{Counters, PeerStatus};

/// The links to the other replicas.
#[derive(Debug)]
pub(crate) struct PeerLinks {
    membership: Membership,
    me: ReplicaId,
    hello: Hello,
    /// What is known of each replica, by id.
    peers: Vec<Peer>,
    /// Links that are up. When a replica connects anew, its old link is there for a moment beside the new one.
    links: Vec<Link>,
    frame: Vec<u8>,
}

#[derive(Debug, Default)]
struct Peer {
    /// The link that this side dials.
    dialed: Option<LinkId>,
    /// The link that frames go to: up and greeted.
    link: Option<LinkId>,
    last_error: Option<String>,
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    replica: ReplicaId,
    greeted: bool,
}

impl PeerLinks {
    /// Dials the replicas with lower ids.
    ///
    /// # Errors
    /// [`TransportError`] if a key can't be used.
    pub(crate) fn new(
        membership: Membership,
        me: ReplicaId,
        hello: Hello,
        members: &[Member],
        transport: &mut Transport,
    ) -> Result<Self, TransportError> {
        let mut peers = Vec::new();
        for (id, member) in membership.replicas().zip(members) {
            let dialed = if id < me { Some(transport.dial(member.key, member.peer_address.clone())?) } else { None };
            peers.push(Peer { dialed, ..Peer::default() });
        }
        Ok(Self { membership, me, hello, peers, links: Vec::new(), frame: Vec::new() })
    }

    pub(crate) fn up(&mut self, link: LinkId, key: &PublicKey, transport: &mut Transport) {
        let replica = self.membership.replica_with(key).expect("only replicas may connect");
        self.links.push(Link { id: link, replica, greeted: false });
        let hello = self.hello;
        // The first frame finds an empty queue; if the link is gone already, its end follows.
        let _ = transport.send_with(link, |out| hello.encode(out));
    }

    /// Returns whose link is down and why, if it was in use.
    pub(crate) fn down(&mut self, link: LinkId, reason: &DownReason) -> Option<(ReplicaId, String)> {
        let at = self.links.iter().position(|known| known.id == link)?;
        let replica = self.links.swap_remove(at).replica;
        let peer = &mut self.peers[replica.index()];
        // Where this side closed the link, why is noted already.
        if !matches!(reason, DownReason::ClosedHere(_)) {
            peer.last_error = Some(reason.to_string());
        }
        if peer.link != Some(link) {
            return None;
        }
        peer.link = None;
        Some((replica, reason.to_string()))
    }

    pub(crate) fn dial_failed(&mut self, link: LinkId, reason: &DownReason) {
        let Some(at) = self.peers.iter().position(|peer| peer.dialed == Some(link)) else { return };
        let reason = reason.to_string();
        let last_error = &mut self.peers[at].last_error;
        if last_error.as_ref() != Some(&reason) {
            tracing::info!(replica = %ReplicaId(at as u16), reason, "cannot reach a replica");
            *last_error = Some(reason);
        }
    }

    /// Takes a frame: a greeting or a message. `None` if the link is on its way down.
    pub(crate) fn take_frame(
        &mut self,
        link: LinkId,
        frame: Bytes,
        limits: &BatchLimits,
    ) -> Result<Option<Input>, &'static str> {
        let Some(known) = self.links.iter_mut().find(|known| known.id == link) else { return Ok(None) };
        let from = known.replica;
        if known.greeted {
            let (epoch, message) = PeerMessage::decode(frame, limits).map_err(|error| {
                tracing::debug!(replica = %from, %error, "a frame that is no message");
                "it sent a frame that is no message"
            })?;
            return Ok(Some(Input::Message { from, epoch, message }));
        }
        greeting::check(&self.hello, frame, Side::Peer)?;
        known.greeted = true;
        let peer = &mut self.peers[from.index()];
        peer.link = Some(link);
        peer.last_error = None;
        Ok(Some(Input::Connected(from)))
    }

    /// Closes a link whose other side breaks the protocol; it may connect again.
    pub(crate) fn refuse(&mut self, link: LinkId, refusal: &'static str, transport: &mut Transport) {
        if let Some(at) = self.links.iter().position(|known| known.id == link) {
            let replica = self.links[at].replica;
            tracing::warn!(%replica, reason = refusal, "closing the link to a replica");
            self.peers[replica.index()].last_error = Some(refusal.to_owned());
        }
        transport.close(link, CloseReason::Violation(refusal));
    }

    pub(crate) fn send(
        &mut self,
        to: ReplicaId,
        message: &PeerMessage,
        epoch: Epoch,
        transport: &mut Transport,
        counters: &mut Counters,
    ) {
        let Some(link) = self.peers[to.index()].link else {
            counters.messages_dropped += 1;
            return;
        };
        let sent = transport.send_with(link, |out| message.encode(epoch, out));
        count(to, sent, counters);
    }

    /// How much is on its way to a replica; none if there is no link.
    pub(crate) fn queued_bytes(&self, to: ReplicaId, transport: &Transport) -> Option<usize> {
        self.peers[to.index()].link.map(|link| transport.queued_bytes(link))
    }

    /// Encodes once and sends the same bytes to all.
    pub(crate) fn broadcast(
        &mut self,
        message: &PeerMessage,
        epoch: Epoch,
        transport: &mut Transport,
        counters: &mut Counters,
    ) {
        self.frame.clear();
        message.encode(epoch, &mut self.frame);
        for (id, peer) in self.membership.replicas().zip(&self.peers) {
            match peer.link {
                Some(link) => count(id, transport.send(link, &self.frame), counters),
                None if id == self.me => {}
                None => counters.messages_dropped += 1,
            }
        }
        // A batch can be large; the next one rarely is.
        self.frame.shrink_to(1 << 20);
    }

    /// How the links are; `said` is what each replica last said of itself.
    pub(crate) fn status(&self, said: &[Option<Status>]) -> Vec<PeerStatus> {
        let others = self.membership.replicas().zip(&self.peers).filter(|(id, _)| *id != self.me);
        let status = |(id, peer): (ReplicaId, &Peer)| {
            let said = said.get(id.index()).copied().flatten();
            PeerStatus {
                id: id.0,
                up: peer.link.is_some(),
                last_error: peer.last_error.clone(),
                view: said.map(|status| status.view.0),
                decided: said.map(|status| status.decided.0),
            }
        };
        others.map(status).collect()
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
