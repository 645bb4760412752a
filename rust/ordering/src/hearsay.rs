//! Requests that other replicas forwarded, until enough of them say the same.
//!
//! What a single replica says may be forged, so it is kept apart from what clients sent: it takes up no room of theirs,
//! it is no reason to suspect a leader, and it does not hide the genuine request of that number. Each replica has a share
//! of its own; what it forwards beyond that pushes out its own oldest claims.

use std::collections::VecDeque;

use pssmr_types::{ReplicaId, Request};

use crate::hash::HashMap;
use crate::pool::{Key, key};

#[derive(Clone, Debug)]
struct Claim {
    request: Request,
    /// Who forwarded this very request, by bit.
    by: u64,
}

#[derive(Clone, Debug, Default)]
struct Share {
    /// What the replica claims, the oldest first; numbers that are settled meanwhile are still among them.
    keys: VecDeque<Key>,
    bytes: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Hearsay {
    claims: HashMap<Key, Vec<Claim>>,
    shares: Vec<Share>,
    requests_per_replica_max: usize,
    bytes_per_replica_max: usize,
}

impl Hearsay {
    pub(crate) fn new(replicas: usize, requests_per_replica_max: usize, bytes_per_replica_max: usize) -> Self {
        let shares = (0..replicas).map(|_| Share::default()).collect();
        Self { claims: HashMap::default(), shares, requests_per_replica_max, bytes_per_replica_max }
    }

    /// A replica forwards a request. Who has forwarded it so far, by bit; only what a replica says first of a number counts.
    pub(crate) fn add(&mut self, request: &Request, from: ReplicaId) -> u64 {
        let key = key(request);
        let bit = 1u64 << from.index();
        let claims = self.claims.entry(key).or_default();
        if claims.iter().all(|claim| claim.by & bit == 0) {
            match claims.iter_mut().find(|claim| claim.request == *request) {
                Some(claim) => claim.by |= bit,
                None => claims.push(Claim { request: request.clone(), by: bit }),
            }
            let share = &mut self.shares[from.index()];
            share.keys.push_back(key);
            share.bytes += request.batch_bytes();
            self.keep_to_share(from);
        }
        self.vouchers_of(request)
    }

    fn keep_to_share(&mut self, replica: ReplicaId) {
        loop {
            let share = &mut self.shares[replica.index()];
            if share.keys.len() <= self.requests_per_replica_max && share.bytes <= self.bytes_per_replica_max {
                return;
            }
            let oldest = share.keys.pop_front().expect("a share that is too large is not empty");
            self.withdraw(oldest, replica);
        }
    }

    /// Takes back what a replica said of a number; the number is no longer among its keys.
    fn withdraw(&mut self, key: Key, replica: ReplicaId) {
        let Some(claims) = self.claims.get_mut(&key) else { return };
        let bit = 1u64 << replica.index();
        if let Some(place) = claims.iter().position(|claim| claim.by & bit != 0) {
            self.shares[replica.index()].bytes -= claims[place].request.batch_bytes();
            claims[place].by &= !bit;
            if claims[place].by == 0 {
                claims.swap_remove(place);
            }
        }
        if claims.is_empty() {
            self.claims.remove(&key);
        }
    }

    /// Who has forwarded this very request, by bit.
    pub(crate) fn vouchers_of(&self, request: &Request) -> u64 {
        let claims = self.claims.get(&key(request));
        claims.and_then(|claims| claims.iter().find(|claim| claim.request == *request)).map_or(0, |claim| claim.by)
    }

    /// The number is settled: what was said of it no longer matters.
    pub(crate) fn forget(&mut self, key: &Key) {
        let Some(claims) = self.claims.remove(key) else { return };
        for claim in claims {
            for (index, share) in self.shares.iter_mut().enumerate() {
                if claim.by >> index & 1 == 1 {
                    share.bytes -= claim.request.batch_bytes();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pssmr_types::{ClientId, Operation, Principal};

    fn request(sequence: u64, payload: &[u8]) -> Request {
        let client = ClientId { principal: Principal(1), session: 1 };
        Request::new(client, sequence, 0, Operation::Command, payload)
    }

    #[test]
    fn a_forgery_does_not_hide_the_genuine_request() {
        let mut hearsay = Hearsay::new(4, 10, 1000);
        assert_eq!(hearsay.add(&request(1, b"forged"), ReplicaId(3)), 0b1000);
        assert_eq!(hearsay.add(&request(1, b"real"), ReplicaId(1)), 0b0010);
        assert_eq!(hearsay.add(&request(1, b"real"), ReplicaId(2)), 0b0110);
        assert_eq!(hearsay.add(&request(1, b"real"), ReplicaId(3)), 0b0110, "a replica has one word for a number");
    }

    #[test]
    fn a_flood_pushes_out_only_its_own_claims() {
        let mut hearsay = Hearsay::new(4, 10, 1000);
        hearsay.add(&request(1, b"real"), ReplicaId(0));
        for sequence in 1..=100 {
            hearsay.add(&request(sequence, b"forged"), ReplicaId(3));
        }
        assert_eq!(hearsay.claims.len(), 11);
        assert_eq!(hearsay.vouchers_of(&request(1, b"real")), 0b0001);
        assert_eq!(hearsay.vouchers_of(&request(1, b"forged")), 0);
        let big = vec![0; 900];
        hearsay.add(&request(200, &big), ReplicaId(3));
        hearsay.add(&request(201, &big), ReplicaId(3));
        assert_eq!(hearsay.claims.len(), 2);
    }

    #[test]
    fn what_is_settled_is_forgotten() {
        let mut hearsay = Hearsay::new(4, 10, 1000);
        hearsay.add(&request(1, b"real"), ReplicaId(0));
        hearsay.add(&request(1, b"forged"), ReplicaId(3));
        hearsay.forget(&key(&request(1, b"")));
        assert!(hearsay.claims.is_empty() && hearsay.shares.iter().all(|share| share.bytes == 0));
    }
}
