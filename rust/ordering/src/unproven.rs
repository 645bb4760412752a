//! Requests on the chain that nobody but the leader is known to vouch for, and the slots that wait for them.

use pssmr_types::{Batch, Slot};

use crate::chain::Chain;
use crate::hash::HashMap;
use crate::pool::{self, Key, Pool};

/// Where such requests stand: slot, and index in its batch. Each link of the chain counts its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unproven {
    places: HashMap<Key, Vec<(Slot, u32)>>,
}

impl Unproven {
    /// Whether some slot waits for this request.
    pub(crate) fn is_awaited(&self, key: &Key) -> bool {
        self.places.contains_key(key)
    }

    /// Notes the requests of a batch that are not proven yet, and tells how many there are.
    pub(crate) fn note(&mut self, slot: Slot, batch: &Batch, pool: &Pool) -> u32 {
        let mut count = 0;
        for (index, request) in batch.requests().iter().enumerate() {
            if !pool.proves(request) {
                self.places.entry(pool::key(request)).or_default().push((slot, index as u32));
                count += 1;
            }
        }
        count
    }

    /// A request with this key is now known to be its client's: places with the very same request wait no more.
    pub(crate) fn prove(&mut self, key: &Key, chain: &mut Chain, pool: &Pool) {
        let Some(places) = self.places.get_mut(key) else { return };
        places.retain(|(slot, index)| {
            let Some(link) = chain.get_mut(*slot) else { return false };
            let is_proven = pool.proves(&link.batch.requests()[*index as usize]);
            link.unproven -= u32::from(is_proven);
            !is_proven
        });
        if places.is_empty() {
            self.places.remove(key);
        }
    }

    /// A slot is decided, or off the chain: it waits for nothing.
    pub(crate) fn forget(&mut self, slot: Slot, chain: &mut Chain) {
        let Some(link) = chain.get_mut(slot) else { return };
        if link.unproven == 0 {
            return;
        }
        link.unproven = 0;
        for request in link.batch.requests() {
            let key = pool::key(request);
            if let Some(places) = self.places.get_mut(&key) {
                places.retain(|(waiting, _)| *waiting != slot);
                if places.is_empty() {
                    self.places.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Link;
    use pssmr_types::{ClientId, Digest, Operation, Principal, Request};

    fn request(sequence: u64, payload: &[u8]) -> Request {
        let client = ClientId { principal: Principal(1), session: 1 };
        Request::new(client, sequence, 0, Operation::Command, payload)
    }

    #[test]
    fn a_slot_waits_until_each_of_its_requests_came_from_the_client() {
        let (mut unproven, mut chain) = (Unproven::default(), Chain::new(Digest::default()));
        let mut pool = Pool::new(100, 100_000, 2, 4);
        pool.add_from_client(request(1, b"here"), 0, false).unwrap();
        let batch = Batch::new(0, vec![request(1, b"here"), request(2, b"real"), request(3, b"forged")]);
        let count = unproven.note(Slot(1), &batch, &pool);
        chain.push(Link { digest: Digest::default(), batch, unproven: count, may_end_epoch: false });
        let waits_for = |chain: &Chain| chain.get(Slot(1)).unwrap().unproven;
        assert_eq!(waits_for(&chain), 2);
        for request in [request(2, b"real"), request(3, b"not that")] {
            let key = pool::key(&request);
            assert!(unproven.is_awaited(&key));
            pool.add_from_client(request, 0, true).unwrap();
            unproven.prove(&key, &mut chain, &pool);
        }
        assert_eq!(waits_for(&chain), 1, "another request under the same sequence proves nothing");
        unproven.forget(Slot(1), &mut chain);
        assert!(unproven.places.is_empty());
    }
}
