//! Who the replicas are.

use crate::digest::{ClusterId, Digest};
use crate::ids::{Epoch, ReplicaId, View};
use crate::keys::PublicKey;
use crate::quorums::{FaultModel, Quorums, REPLICAS_MAX};
use crate::wire::{DecodeError, Reader, Writer};

/// The longest address, in bytes: the longest name that there is, and a port.
pub const ADDRESS_BYTES_MAX: usize = 262;

/// One replica of a membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: ReplicaId,
    /// Its key.
    pub key: PublicKey,
    /// Where the other replicas reach it: `host:port`. Empty if those who need it know it already.
    pub peer_address: String,
    /// Where clients reach it.
    pub client_address: String,
}

/// The replicas in force in one epoch.
///
/// The order is that of seniority: whoever joins comes last, so a replica that has just begun does not lead the first view
/// of its epoch. Ids are names; they need not be consecutive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    cluster: ClusterId,
    epoch: Epoch,
    quorums: Quorums,
    members: Vec<Member>,
    /// By id, the place among the members.
    places: Vec<Option<u8>>,
}

/// Why a list of replicas is not a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Too few or too many replicas.
    #[error("{0} replicas: a membership has 1 to 64")]
    Size(usize),
    /// Two replicas with one key: one of them could vote twice.
    #[error("replicas {} and {} have the same key", .0.0, .1.0)]
    SameKey(ReplicaId, ReplicaId),
    /// Two replicas of one id.
    #[error("there are two replicas {}", .0.0)]
    SameId(ReplicaId),
    /// An id beyond 63.
    #[error("{} is not an id that a replica can have: 0 to 63", .0.0)]
    Id(ReplicaId),
    /// An address that is too long.
    #[error("an address of replica {} is longer than 262 bytes", .0.0)]
    Address(ReplicaId),
}

/// A change of the membership: one replica at a time, so that quorums before and after share enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One more.
    Add(Member),
    /// One less.
    Remove(ReplicaId),
    /// One for another, which may have the same id but not the same key.
    Replace {
        /// Who goes.
        old: ReplicaId,
        /// Who comes.
        new: Member,
    },
}

/// Why a change can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It speaks of a replica that is not there.
    #[error("there is no replica {}", .0.0)]
    NoSuchReplica(ReplicaId),
    /// The key of a replica that comes is that of the one that goes.
    #[error("replica {} has this key already: one that takes its place needs a key of its own", .0.0)]
    NoNewKey(ReplicaId),
    /// What comes of it is no membership.
    #[error(transparent)]
    Membership(#[from] MembershipError),
}

impl Member {
    fn encode(&self, out: &mut impl Writer) {
        out.put_u16(self.id.0);
        out.put(self.key.as_bytes());
        out.put_bytes(self.peer_address.as_bytes());
        out.put_bytes(self.client_address.as_bytes());
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let id = reader.replica()?;
        let key = PublicKey::from_bytes(reader.array("key of a member")?)
            .map_err(|_| DecodeError::Invalid("key of a member"))?;
        let mut address = || {
            let bytes = reader.bytes("address of a member", ADDRESS_BYTES_MAX)?;
            String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::Invalid("address of a member"))
        };
        Ok(Self { id, key, peer_address: address()?, client_address: address()? })
    }
}

impl Change {
    /// Appends its encoding.
    pub fn encode(&self, out: &mut impl Writer) {
        match self {
            Self::Add(member) => {
                out.put_u8(1);
                member.encode(out);
            }
            Self::Remove(id) => {
                out.put_u8(2);
                out.put_u16(id.0);
            }
            Self::Replace { old, new } => {
                out.put_u8(3);
                out.put_u16(old.0);
                new.encode(out);
            }
        }
    }

    /// Takes one off the reader.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.u8("change of the membership")? {
            1 => Ok(Self::Add(Member::decode(reader)?)),
            2 => Ok(Self::Remove(reader.replica()?)),
            3 => Ok(Self::Replace { old: reader.replica()?, new: Member::decode(reader)? }),
            other => Err(DecodeError::UnknownTag("change of the membership", other)),
        }
    }
}

impl Membership {
    /// The membership of replicas that are numbered from 0, with these keys.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub fn new(
        cluster: ClusterId,
        epoch: Epoch,
        model: FaultModel,
        keys: Vec<PublicKey>,
    ) -> Result<Self, MembershipError> {
        let members = keys.into_iter().zip(0..).map(|(key, number)| Member {
            id: ReplicaId(number),
            key,
            peer_address: String::new(),
            client_address: String::new(),
        });
        Self::of(cluster, epoch, model, members.collect())
    }

    /// The membership of `members`, by seniority.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub fn of(
        cluster: ClusterId,
        epoch: Epoch,
        model: FaultModel,
        members: Vec<Member>,
    ) -> Result<Self, MembershipError> {
        let quorums = Quorums::new(model, members.len()).ok_or(MembershipError::Size(members.len()))?;
        let mut places = Vec::new();
        for (place, member) in members.iter().enumerate() {
            let Member { id, key, peer_address, client_address } = member;
            if id.index() >= REPLICAS_MAX {
                return Err(MembershipError::Id(*id));
            }
            if let Some(other) = members[..place].iter().find(|other| other.key == *key) {
                return Err(MembershipError::SameKey(other.id, *id));
            }
            if peer_address.len().max(client_address.len()) > ADDRESS_BYTES_MAX {
                return Err(MembershipError::Address(*id));
            }
            places.resize(places.len().max(id.index() + 1), None);
            if places[id.index()].replace(place as u8).is_some() {
                return Err(MembershipError::SameId(*id));
            }
        }
        Ok(Self { cluster, epoch, quorums, members, places })
    }

    /// The membership of the next epoch.
    ///
    /// # Errors
    /// [`ChangeError`].
    pub fn changed(&self, change: &Change) -> Result<Self, ChangeError> {
        let mut members = self.members.clone();
        let (goes, comes) = match change {
            Change::Add(member) => (None, Some(member)),
            Change::Remove(id) => (Some(*id), None),
            Change::Replace { old, new } => (Some(*old), Some(new)),
        };
        if let Some(goes) = goes {
            let place = self.place(goes).ok_or(ChangeError::NoSuchReplica(goes))?;
            let gone = members.remove(place);
            if comes.is_some_and(|comes| comes.key == gone.key) {
                return Err(ChangeError::NoNewKey(goes));
            }
        }
        members.extend(comes.cloned());
        Ok(Self::of(self.cluster, self.epoch.next(), self.quorums.model(), members)?)
    }

    /// The cluster.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The epoch.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The thresholds.
    pub fn quorums(&self) -> &Quorums {
        &self.quorums
    }

    /// The replicas, by seniority.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    fn place(&self, replica: ReplicaId) -> Option<usize> {
        self.places.get(replica.index()).copied().flatten().map(usize::from)
    }

    /// One replica, if there is one of this id.
    pub fn member(&self, replica: ReplicaId) -> Option<&Member> {
        self.place(replica).map(|place| &self.members[place])
    }

    /// Whether there is a replica of this id.
    pub fn contains(&self, replica: ReplicaId) -> bool {
        self.place(replica).is_some()
    }

    /// A replica's key, if there is such a replica.
    pub fn key(&self, replica: ReplicaId) -> Option<&PublicKey> {
        self.member(replica).map(|member| &member.key)
    }

    /// The replica with this key, if there is one.
    pub fn replica_with(&self, key: &PublicKey) -> Option<ReplicaId> {
        self.members.iter().find(|member| member.key == *key).map(|member| member.id)
    }

    /// The length of a table with a place for each id.
    pub fn table_len(&self) -> usize {
        self.places.len()
    }

    /// All ids, ascending.
    pub fn replicas(&self) -> impl Iterator<Item = ReplicaId> + use<> {
        let bits = self.members.iter().fold(0u64, |bits, member| bits | 1 << member.id.0);
        (0..REPLICAS_MAX as u16).filter(move |id| bits >> id & 1 == 1).map(ReplicaId)
    }

    /// The leader of `view`: the members take turns, by seniority.
    pub fn leader(&self, view: View) -> ReplicaId {
        self.members[(view.number() % self.members.len() as u64) as usize].id
    }

    /// Whom to turn to after `replica`, round and round.
    pub fn after(&self, replica: ReplicaId) -> ReplicaId {
        let place = self.place(replica).map_or(0, |place| (place + 1) % self.members.len());
        self.members[place].id
    }

    /// Appends its encoding.
    pub fn encode(&self, out: &mut impl Writer) {
        out.put(&self.cluster.0);
        out.put_u64(self.epoch.0);
        out.put_u8(match self.quorums.model() {
            FaultModel::Crash => 0,
            FaultModel::Byzantine => 1,
        });
        out.put_count(self.members.len());
        for member in &self.members {
            member.encode(out);
        }
    }

    /// Takes one off the reader.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (cluster, epoch) = (ClusterId(reader.array("cluster")?), reader.epoch()?);
        let model = match reader.u8("fault model")? {
            0 => FaultModel::Crash,
            1 => FaultModel::Byzantine,
            other => return Err(DecodeError::UnknownTag("fault model", other)),
        };
        let count = reader.count("members", REPLICAS_MAX)?;
        let mut members = Vec::with_capacity(count);
        for _ in 0..count {
            members.push(Member::decode(reader)?);
        }
        Self::of(cluster, epoch, model, members).map_err(|_| DecodeError::Invalid("members"))
    }

    /// The digest of its encoding.
    pub fn digest(&self) -> Digest {
        let mut bytes = Vec::new();
        self.encode(&mut bytes);
        Digest::of("pssmr membership 1", &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;

    fn key(number: u8) -> PublicKey {
        SecretKey::from_seed([number; 32]).public()
    }

    fn member(id: u16, number: u8) -> Member {
        let address = |port: u16| format!("replica-{id}.example.org:{port}");
        Member { id: ReplicaId(id), key: key(number), peer_address: address(7000), client_address: address(8000) }
    }

    fn of(members: Vec<Member>) -> Result<Membership, MembershipError> {
        Membership::of(ClusterId([1; 16]), Epoch(4), FaultModel::Byzantine, members)
    }

    fn ids(membership: &Membership) -> Vec<u16> {
        membership.replicas().map(|id| id.0).collect()
    }

    #[test]
    fn one_key_is_one_replica() {
        let of = |keys| Membership::new(ClusterId::default(), Epoch(0), FaultModel::Crash, keys);
        assert_eq!(of(vec![key(1), key(2), key(1)]), Err(MembershipError::SameKey(ReplicaId(0), ReplicaId(2))));
        assert_eq!(of(vec![]), Err(MembershipError::Size(0)));
        let three = of(vec![key(1), key(2), key(3)]).unwrap();
        assert_eq!(three.replica_with(&key(3)), Some(ReplicaId(2)));
        assert_eq!(three.replica_with(&key(4)), None);
    }

    #[test]
    fn ids_are_names() {
        let membership = of(vec![member(7, 1), member(2, 2), member(5, 3)]).unwrap();
        assert_eq!(ids(&membership), [2, 5, 7]);
        assert_eq!(membership.key(ReplicaId(5)), Some(&key(3)));
        assert_eq!((membership.key(ReplicaId(3)), membership.key(ReplicaId(63))), (None, None));
        assert_eq!((membership.table_len(), membership.quorums().replicas()), (8, 3));
        assert_eq!(of(vec![member(7, 1), member(7, 2)]), Err(MembershipError::SameId(ReplicaId(7))));
        assert_eq!(of(vec![member(64, 1)]), Err(MembershipError::Id(ReplicaId(64))));
    }

    #[test]
    fn members_lead_by_seniority_and_whoever_joins_is_the_last() {
        let four = of((0..4).map(|id| member(id, id as u8)).collect()).unwrap();
        let leaders = |membership: &Membership| -> Vec<u16> {
            let first = View::first(membership.epoch());
            (0..membership.members().len() as u64).map(|v| membership.leader(View(first.0 + v)).0).collect()
        };
        let replaced = four.changed(&Change::Replace { old: ReplicaId(0), new: member(0, 9) }).unwrap();
        assert_eq!((leaders(&replaced), replaced.epoch()), (vec![1, 2, 3, 0], Epoch(5)));
        let added = replaced.changed(&Change::Add(member(8, 8))).unwrap();
        assert_eq!(leaders(&added), [1, 2, 3, 0, 8]);
        let removed = added.changed(&Change::Remove(ReplicaId(2))).unwrap();
        assert_eq!(leaders(&removed), [1, 3, 0, 8]);
        assert_eq!((removed.after(ReplicaId(3)), removed.after(ReplicaId(8))), (ReplicaId(0), ReplicaId(1)));
    }

    #[test]
    fn a_change_that_makes_no_membership_is_refused() {
        let four = of((0..4).map(|id| member(id, id as u8)).collect()).unwrap();
        let refused = |change| four.changed(&change).unwrap_err();
        assert_eq!(refused(Change::Remove(ReplicaId(4))), ChangeError::NoSuchReplica(ReplicaId(4)));
        let same_key = Change::Replace { old: ReplicaId(1), new: member(6, 1) };
        assert_eq!(refused(same_key), ChangeError::NoNewKey(ReplicaId(1)));
        let same_id = refused(Change::Add(member(3, 7)));
        assert_eq!(same_id, ChangeError::Membership(MembershipError::SameId(ReplicaId(3))));
        let last = of(vec![member(0, 1)]).unwrap().changed(&Change::Remove(ReplicaId(0)));
        assert_eq!(last, Err(ChangeError::Membership(MembershipError::Size(0))));
    }

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_shorter() {
        let membership = of(vec![member(7, 1), member(2, 2), member(5, 3)]).unwrap();
        let mut bytes = Vec::new();
        membership.encode(&mut bytes);
        let decode = |bytes: &[u8]| Membership::decode(&mut Reader::new(bytes.to_vec().into()));
        assert_eq!(decode(&bytes), Ok(membership));
        assert!((0..bytes.len()).all(|length| decode(&bytes[..length]).is_err()));
        for change in [
            Change::Add(member(4, 4)),
            Change::Remove(ReplicaId(3)),
            Change::Replace { old: ReplicaId(1), new: member(1, 9) },
        ] {
            let mut bytes = Vec::new();
            change.encode(&mut bytes);
            let decode = |bytes: &[u8]| Change::decode(&mut Reader::new(bytes.to_vec().into()));
            assert_eq!(decode(&bytes), Ok(change));
            assert!((0..bytes.len()).all(|length| decode(&bytes[..length]).is_err()));
        }
    }
}
