//! Who may connect as a client, and what for.

use pssmr_transport::AcceptKeys;
use pssmr_types::{Membership, Operation, PublicKey};

/// What a client may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// Everything.
    All,
    /// What keeps the cluster in order, and no command: a replica whose operator wants something of all of them. A
    /// checkpoint is agreed, and a change of the membership or of the version has the administrator's signature.
    Upkeep,
}

impl Rights {
    /// Whether a request for this is taken.
    pub(super) fn allow(self, operation: Operation) -> bool {
        self == Self::All || operation != Operation::Command
    }
}

/// Who may connect: the clients, and the replicas.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    clients: AcceptKeys,
}

impl Admission {
    pub(crate) fn new(clients: AcceptKeys) -> Self {
        Self { clients }
    }

    /// The keys that are accepted while these are the replicas. None that could be mistaken for a client's.
    pub(crate) fn keys(&self, membership: &Membership) -> AcceptKeys {
        let AcceptKeys::Only(clients) = &self.clients else { return AcceptKeys::Any };
        let is_taken = |key: &PublicKey| clients.iter().any(|client| client.principal() == key.principal());
        let replicas = membership.members().iter().map(|member| member.key).filter(|key| !is_taken(key));
        AcceptKeys::only(clients.iter().copied().chain(replicas))
    }

    /// What the owner of an accepted key may ask for.
    pub(super) fn rights(&self, key: &PublicKey) -> Rights {
        if self.clients.contains(key) { Rights::All } else { Rights::Upkeep }
    }
}
