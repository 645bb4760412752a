//! The links to the replicas of the newest membership.

use std::collections::BTreeMap;

use pssmr_transport::{LinkId, Transport, TransportError};
use pssmr_types::{Member, Membership, PublicKey, ReplicaId};

use crate::status::LinkStatus;

/// One replica's link. It is dialed for as long as the replica is a member.
pub(crate) struct Link {
    pub(crate) id: LinkId,
    key: PublicKey,
    address: String,
    /// Whether the replica's greeting has come.
    pub(crate) greeted: bool,
    pub(crate) last_error: Option<String>,
}

impl Link {
    fn dial(transport: &mut Transport, member: &Member) -> Result<Self, TransportError> {
        let (key, address) = (member.key, member.client_address.clone());
        let id = transport.dial(key, address.clone())?;
        Ok(Self { id, key, address, greeted: false, last_error: None })
    }

    /// Whether it leads to this member. A link that works stays where it is even if the membership names another address:
    /// clients may be configured with addresses of their own, and a replica that has moved has left and joined again.
    fn leads_to(&self, member: &Member) -> bool {
        let address = &member.client_address;
        self.key == member.key && (self.greeted || address.is_empty() || *address == self.address)
    }
}

/// The links, by replica.
pub(crate) struct Links(BTreeMap<ReplicaId, Link>);

impl Links {
    /// Dials all members.
    pub(crate) fn dial(transport: &mut Transport, membership: &Membership) -> Result<Self, TransportError> {
        let link = |member: &Member| Ok((member.id, Link::dial(transport, member)?));
        membership.members().iter().map(link).collect::<Result<_, _>>().map(Self)
    }

    /// Forgets the links of whoever is no member, and dials those that have none.
    pub(crate) fn adopt(&mut self, transport: &mut Transport, membership: &Membership) {
        self.0.retain(|replica, link| {
            let keeps = membership.member(*replica).is_some_and(|member| link.leads_to(member));
            if !keeps {
                transport.forget(link.id);
            }
            keeps
        });
        for member in membership.members() {
            if self.0.contains_key(&member.id) {
                continue;
            }
            match Link::dial(transport, member) {
                Ok(link) => drop(self.0.insert(member.id, link)),
                Err(error) => tracing::error!(replica = %member.id, %error, "cannot dial a replica"),
            }
        }
    }

    /// Whose link it is; nobody's, if its replica has gone.
    pub(crate) fn find(&mut self, link: LinkId) -> Option<(ReplicaId, &mut Link)> {
        self.0.iter_mut().find(|(_, known)| known.id == link).map(|(replica, link)| (*replica, link))
    }

    /// The transport's name of a member's link.
    pub(crate) fn id_of(&self, replica: ReplicaId) -> Option<LinkId> {
        self.0.get(&replica).map(|link| link.id)
    }

    pub(crate) fn status(&self) -> BTreeMap<ReplicaId, LinkStatus> {
        let status = |link: &Link| LinkStatus { up: link.greeted, last_error: link.last_error.clone() };
        self.0.iter().map(|(replica, link)| (*replica, status(link))).collect()
    }
}
