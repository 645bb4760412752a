//! The numbers that name things. Each is a type of its own, so that a slot can't be passed where a view is meant.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number after this one.
            ///
            /// # Panics
            /// On overflow, which no run reaches: at a million a second it takes half a million years.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("the number space is used up"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.0)
            }
        }
    };
}

number! {
    /// A numbered set of replicas in force (BFT-SMaRt: view).
    Epoch(u64), "e"
}
number! {
    /// A leader's term (PBFT and VR: view; BFT-SMaRt: regency). `leader(v) = members[v mod n]`. The upper half is the epoch,
    /// the lower half counts the views of the epoch: so views go up over changes of the membership, too.
    View(u64), "v"
}

impl View {
    /// The first view of an epoch. Its base is the end of the epoch before, and needs no proof.
    pub fn first(epoch: Epoch) -> Self {
        Self(epoch.0 << 32)
    }

    /// The epoch that it is of.
    pub fn epoch(self) -> Epoch {
        Epoch(self.0 >> 32)
    }

    /// Its number in its epoch, from 0.
    pub fn number(self) -> u64 {
        self.0 & 0xffff_ffff
    }

    /// Whether it is the first view of its epoch.
    pub fn is_first(self) -> bool {
        self.number() == 0
    }
}
number! {
    /// A position in the total order of batches (BFT-SMaRt: consensus id). Slot 0 is the genesis: nothing is decided there.
    Slot(u64), "s"
}

/// A replica's name in its membership: 0 to 63. Not all of them need be in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(pub u16);

impl ReplicaId {
    /// The id as an index into a table of replicas.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// Who a client is: the first eight bytes of the BLAKE3 digest of its public key, so the same at every replica.
/// A configuration in which two clients share a principal is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal(pub u64);

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:016x}", self.0)
    }
}

/// One session of one client: the unit of exactly-once.
///
/// A session's number is the position in the total order at which it was opened, so it is never used twice, and a
/// request of an evicted session can't be mistaken for one of a later session. Number 0 is no session: the one
/// request sent in it is the one that opens a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId {
    /// The client's key.
    pub principal: Principal,
    /// The session's number.
    pub session: u64,
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.principal, self.session)
    }
}
