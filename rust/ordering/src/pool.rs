//! Requests that wait to be decided: in what order they came, and what the leader proposes next.
//!
//! Each is known to be its client's: it came on the client's own link, or so many replicas forwarded it that a correct one
//! did. What fewer forwarded is hearsay.

use std::collections::VecDeque;

use pssmr_types::{BatchLimits, ClientId, Principal, ReplicaId, Request};

use crate::hash::HashMap;
use crate::hearsay::Hearsay;

/// Names a request.
pub(crate) type Key = (ClientId, u64);

/// A request's key.
pub(crate) fn key(request: &Request) -> Key {
    (request.client, request.sequence)
}

#[derive(Clone, Debug)]
struct Pending {
    request: Request,
    /// Ascending by arrival; tells this request from an earlier one with the same key.
    order: u64,
    arrived: u64,
    /// How many requests had been delivered when it arrived.
    delivered_before: u64,
    /// It came on the client's own link.
    from_client: bool,
    /// Which replicas forwarded it, by bit.
    forwarded_by: u64,
    /// This replica has forwarded it.
    forwarded: bool,
}

/// Why a request can't wait here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no room for more, of all clients or of this one.
    Full,
}

/// The pool.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pending: HashMap<Key, Pending>,
    by_client: HashMap<Principal, usize>,
    bytes: usize,
    requests_max: usize,
    bytes_max: usize,
    per_client_max: usize,
    /// By arrival; entries whose request is gone are skipped.
    arrivals: VecDeque<(u64, Key)>,
    /// What a leader proposes next, by arrival; entries whose request is gone are skipped.
    proposable: VecDeque<(u64, Key)>,
    hearsay: Hearsay,
    next_order: u64,
    delivered: u64,
    /// How many must vouch for a request that did not come from its client; 0 if nobody need.
    vouchers: usize,
}

/// All hearsay together is a quarter of what clients may send.
fn hearsay_of(requests_max: usize, bytes_max: usize, replicas: usize) -> Hearsay {
    let share = |whole: usize| (whole / (4 * replicas)).max(1);
    Hearsay::new(replicas, share(requests_max), share(bytes_max))
}

impl Pool {
    pub(crate) fn new(requests_max: usize, bytes_max: usize, vouchers: usize, replicas: usize) -> Self {
        Self {
            pending: HashMap::default(),
            by_client: HashMap::default(),
            bytes: 0,
            requests_max,
            bytes_max,
            // One client may fill a quarter, so that no three can shut out the others.
            per_client_max: (requests_max / 4).max(1),
            arrivals: VecDeque::new(),
            proposable: VecDeque::new(),
            hearsay: hearsay_of(requests_max, bytes_max, replicas),
            next_order: 0,
            delivered: 0,
            vouchers,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Takes a request from its client's own link. True if it can be proposed now and could not before.
    ///
    /// One that a slot of the chain waits for is taken also when the pool is full: pools that are full of different
    /// requests at different replicas would else keep each other's slots waiting for ever. So many more can come than the
    /// undecided slots hold.
    pub(crate) fn add_from_client(&mut self, request: Request, now: u64, awaited: bool) -> Result<bool, Refused> {
        let key = key(&request);
        if let Some(pending) = self.pending.get_mut(&key) {
            if pending.from_client {
                return Ok(false);
            }
            // What this client says to us stands above what it, being faulty, said to others.
            let differs = pending.request != request;
            pending.from_client = true;
            if differs {
                self.bytes = self.bytes + request.batch_bytes() - pending.request.batch_bytes();
                pending.forwarded_by = 0;
                pending.request = request;
            }
            return Ok(differs);
        }
        let forwarded_by = self.hearsay.vouchers_of(&request);
        self.insert(request, now, true, forwarded_by, awaited)?;
        self.hearsay.forget(&key);
        Ok(true)
    }

    /// Takes a request that another replica forwards. True if it is proven now and was not before. In a full pool it
    /// remains hearsay, but that is proof enough.
    pub(crate) fn add_forwarded(&mut self, request: Request, from: ReplicaId, now: u64) -> bool {
        let key = key(&request);
        let bit = 1u64 << from.index();
        if let Some(pending) = self.pending.get_mut(&key)
            && pending.request == request
        {
            pending.forwarded_by |= bit;
            return false;
        }
        let before = self.hearsay.vouchers_of(&request);
        let by = if self.vouchers > 1 { self.hearsay.add(&request, from) } else { bit };
        let is_proven = by.count_ones() as usize >= self.vouchers;
        if is_proven && !self.pending.contains_key(&key) && self.insert(request, now, false, by, false).is_ok() {
            self.hearsay.forget(&key);
        }
        is_proven && (before.count_ones() as usize) < self.vouchers.max(1)
    }

    fn insert(
        &mut self,
        request: Request,
        now: u64,
        from_client: bool,
        forwarded_by: u64,
        awaited: bool,
    ) -> Result<(), Refused> {
        let of_client = self.by_client.entry(request.client.principal).or_default();
        let is_full = self.pending.len() >= self.requests_max
            || self.bytes + request.batch_bytes() > self.bytes_max
            || *of_client >= self.per_client_max;
        if is_full && !awaited {
            if *of_client == 0 {
                self.by_client.remove(&request.client.principal);
            }
            return Err(Refused::Full);
        }
        *of_client += 1;
        self.bytes += request.batch_bytes();
        let key = key(&request);
        let order = self.next_order;
        self.next_order += 1;
        let pending = Pending {
            request,
            order,
            arrived: now,
            delivered_before: self.delivered,
            from_client,
            forwarded_by,
            forwarded: false,
        };
        self.proposable.push_back((order, key));
        self.pending.insert(key, pending);
        self.arrivals.push_back((order, key));
        self.compact();
        Ok(())
    }

    /// Both queues hold entries of requests that are gone; they may not outgrow what they are for.
    fn compact(&mut self) {
        let bound = 2 * self.pending.len() + 1024;
        let pending = &self.pending;
        let lives = |(order, key): &(u64, Key)| pending.get(key).is_some_and(|p| p.order == *order);
        if self.arrivals.len() > bound {
            self.arrivals.retain(lives);
        }
        if self.proposable.len() > bound {
            self.proposable.retain(lives);
        }
    }

    /// Whether this very request is known to be its client's.
    pub(crate) fn proves(&self, request: &Request) -> bool {
        self.pending.get(&key(request)).is_some_and(|pending| pending.request == *request)
            || self.hearsay.vouchers_of(request).count_ones() as usize >= self.vouchers.max(1)
    }

    /// The request was delivered.
    pub(crate) fn delivered(&mut self, key: &Key) {
        self.delivered += 1;
        self.remove(key);
        self.hearsay.forget(key);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(pending) = self.pending.remove(key) {
            self.bytes -= pending.request.batch_bytes();
            let principal = key.0.principal;
            let of_client = self.by_client.get_mut(&principal).expect("every pending request is counted");
            *of_client -= 1;
            if *of_client == 0 {
                self.by_client.remove(&principal);
            }
        }
    }

    /// Whether there is something to propose.
    pub(crate) fn has_proposable(&mut self) -> bool {
        while let Some((order, key)) = self.proposable.front() {
            if self.pending.get(key).is_some_and(|pending| pending.order == *order) {
                return true;
            }
            self.proposable.pop_front();
        }
        false
    }

    /// Takes what fits in a batch. What is taken stays pending until it is delivered.
    pub(crate) fn take_batch(&mut self, limits: &BatchLimits) -> Vec<Request> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < limits.requests_max && self.has_proposable() {
            let (_, key) = self.proposable.front().expect("there is something to propose");
            let request = &self.pending[key].request;
            if bytes + request.batch_bytes() > limits.bytes_max {
                break;
            }
            bytes += request.batch_bytes();
            batch.push(request.clone());
            self.proposable.pop_front();
        }
        batch
    }

    /// Everything that is pending may be proposed (again), but for what `on_chain` already has.
    pub(crate) fn propose_all_but(&mut self, on_chain: &dyn Fn(&Key) -> bool) {
        self.proposable = self
            .arrivals
            .iter()
            .filter(|(order, key)| self.pending.get(key).is_some_and(|p| p.order == *order) && !on_chain(key))
            .copied()
            .collect();
    }

    /// When the oldest request that replicas must not ignore arrived, and whether it was passed over: whether many
    /// more requests were delivered since than waited before it.
    pub(crate) fn oldest(&mut self) -> Option<Oldest> {
        while let Some((order, key)) = self.arrivals.front() {
            if self.pending.get(key).is_some_and(|pending| pending.order == *order) {
                break;
            }
            self.arrivals.pop_front();
        }
        let (_, key) = self.arrivals.front()?;
        let pending = &self.pending[key];
        Some(Oldest { arrived: pending.arrived, delivered_since: self.delivered - pending.delivered_before })
    }

    /// Whether some request that arrived by `until` is one that others have, too: k replicas vouch for it. This one does
    /// if it has the request from the client itself. What too few have is no reason to suspect the leader.
    pub(crate) fn has_vouched(&self, until: u64) -> bool {
        self.arrivals.iter().any(|(order, key)| {
            self.pending.get(key).is_some_and(|pending| {
                pending.order == *order
                    && pending.arrived <= until
                    && pending.forwarded_by.count_ones() as usize + usize::from(pending.from_client) >= self.vouchers
            })
        })
    }

    /// Requests that arrived by `until` and were not forwarded yet, at most `requests_max` of them and `bytes_max` bytes.
    pub(crate) fn take_to_forward(&mut self, until: u64, requests_max: usize, bytes_max: usize) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut bytes = 0;
        for (order, key) in &self.arrivals {
            let Some(pending) = self.pending.get_mut(key) else { continue };
            if pending.order != *order || pending.forwarded {
                continue;
            }
            bytes += pending.request.batch_bytes();
            if pending.arrived > until || requests.len() >= requests_max || bytes > bytes_max {
                break;
            }
            pending.forwarded = true;
            requests.push(pending.request.clone());
        }
        requests
    }

    /// Forwards everything again: the view is new, and messages may have been lost.
    pub(crate) fn forward_again(&mut self) {
        for pending in self.pending.values_mut() {
            pending.forwarded = false;
        }
    }

    /// Other replicas are there: what the former ones said counts no more.
    pub(crate) fn regroup(&mut self, vouchers: usize, replicas: usize) {
        self.hearsay = hearsay_of(self.requests_max, self.bytes_max, replicas);
        self.vouchers = vouchers;
        let unproven = |p: &Pending| vouchers > 0 && !p.from_client;
        let gone: Vec<Key> = self.pending.iter().filter(|(_, p)| unproven(p)).map(|(key, _)| *key).collect();
        for key in &gone {
            self.remove(key);
        }
        for pending in self.pending.values_mut() {
            (pending.forwarded, pending.forwarded_by) = (false, 0);
        }
        self.propose_all_but(&|_| false);
    }

    /// Forgets all but the requests that `is_new` says are still to be decided.
    pub(crate) fn keep_new(&mut self, is_new: impl Fn(&Request) -> bool) {
        let old: Vec<Key> = self.pending.iter().filter(|(_, p)| !is_new(&p.request)).map(|(key, _)| *key).collect();
        for key in &old {
            self.remove(key);
        }
    }

    /// Forgets requests that arrived before `until`: their clients, if they still wait, send them again.
    pub(crate) fn expire(&mut self, until: u64) {
        while let Some(oldest) = self.oldest()
            && oldest.arrived < until
        {
            let (_, key) = self.arrivals.pop_front().expect("the oldest request is in front");
            self.remove(&key);
        }
    }
}

/// See [`Pool::oldest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Oldest {
    pub(crate) arrived: u64,
    pub(crate) delivered_since: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use pssmr_types::Operation;

    fn request(client: u64, sequence: u64, payload: &[u8]) -> Request {
        let client = ClientId { principal: Principal(client), session: 1 };
        Request::new(client, sequence, 0, Operation::Command, payload)
    }

    fn pool() -> Pool {
        Pool::new(100, 100_000, 2, 4)
    }

    #[test]
    fn what_one_replica_forwards_is_not_proven() {
        let mut pool = pool();
        let forged = request(1, 1, b"forged");
        assert!(!pool.add_forwarded(forged.clone(), ReplicaId(3), 0));
        assert!(!pool.add_forwarded(forged.clone(), ReplicaId(3), 0));
        assert!(!pool.proves(&forged) && !pool.has_proposable());
        assert!(pool.add_forwarded(forged.clone(), ReplicaId(2), 0));
        assert!(pool.proves(&forged) && pool.has_proposable());
    }

    #[test]
    fn the_clients_own_word_stands_above_what_is_forwarded() {
        let mut pool = pool();
        pool.add_forwarded(request(1, 1, b"forged"), ReplicaId(3), 0);
        assert_eq!(pool.add_from_client(request(1, 1, b"real"), 0, false), Ok(true));
        assert!(pool.proves(&request(1, 1, b"real")) && !pool.proves(&request(1, 1, b"forged")));
        assert_eq!(pool.take_batch(&BatchLimits::default()), vec![request(1, 1, b"real")]);
    }

    #[test]
    fn a_client_cannot_say_two_things() {
        let mut pool = pool();
        assert_eq!(pool.add_from_client(request(1, 1, b"one"), 0, false), Ok(true));
        assert_eq!(pool.add_from_client(request(1, 1, b"two"), 0, false), Ok(false));
        assert!(pool.proves(&request(1, 1, b"one")) && !pool.proves(&request(1, 1, b"two")));
    }

    #[test]
    fn one_client_cannot_fill_the_pool() {
        let mut pool = pool();
        let taken = (1..=100).filter(|i| pool.add_from_client(request(1, *i, b""), 0, false).is_ok()).count();
        assert_eq!(taken, 25);
        assert_eq!(pool.add_from_client(request(2, 1, b""), 0, false), Ok(true));
    }

    #[test]
    fn a_request_that_a_slot_waits_for_is_taken_by_a_full_pool() {
        let mut pool = pool();
        for sequence in 1..=25 {
            pool.add_from_client(request(1, sequence, b""), 0, false).unwrap();
        }
        assert_eq!(pool.add_from_client(request(1, 26, b""), 0, false), Err(Refused::Full));
        assert_eq!(pool.add_from_client(request(1, 26, b""), 0, true), Ok(true));
        assert!(pool.proves(&request(1, 26, b"")));
    }

    #[test]
    fn a_batch_keeps_to_its_limits_and_takes_nothing_twice() {
        let mut pool = pool();
        for sequence in 1..=10 {
            pool.add_from_client(request(1, sequence, &[0; 100]), 0, false).unwrap();
        }
        let limits = BatchLimits { requests_max: 4, bytes_max: 1000 };
        let sequences = |batch: Vec<Request>| batch.iter().map(|r| r.sequence).collect::<Vec<_>>();
        assert_eq!(sequences(pool.take_batch(&limits)), [1, 2, 3, 4]);
        pool.delivered(&key(&request(1, 6, b"")));
        let limits = BatchLimits { requests_max: 100, bytes_max: 300 };
        assert_eq!(sequences(pool.take_batch(&limits)), [5, 7]);
        pool.propose_all_but(&|key| key.1 == 8);
        assert_eq!(sequences(pool.take_batch(&BatchLimits::default())), [1, 2, 3, 4, 5, 7, 9, 10]);
    }

    #[test]
    fn room_comes_back_when_requests_are_delivered() {
        let mut pool = pool();
        for sequence in 1..=10_000 {
            let request = request(1, sequence, &[0; 100]);
            pool.add_from_client(request.clone(), sequence, false).unwrap();
            pool.delivered(&key(&request));
        }
        assert!(pool.len() == 0 && pool.bytes == 0 && pool.by_client.is_empty());
        assert!(pool.arrivals.len() <= 2000 && pool.proposable.len() <= 2000);
    }

    #[test]
    fn a_request_that_only_this_replica_has_is_no_complaint() {
        let mut pool = pool();
        pool.add_from_client(request(1, 1, b""), 5, false).unwrap();
        assert!(!pool.has_vouched(10));
        pool.add_forwarded(request(1, 1, b""), ReplicaId(2), 6);
        assert!(pool.has_vouched(10) && !pool.has_vouched(4));
    }

    #[test]
    fn a_request_is_forwarded_once_until_told_otherwise() {
        let mut pool = pool();
        pool.add_from_client(request(1, 1, b""), 5, false).unwrap();
        assert_eq!(pool.take_to_forward(4, 10, 1000).len(), 0);
        assert_eq!(pool.take_to_forward(5, 10, 1000).len(), 1);
        assert_eq!(pool.take_to_forward(5, 10, 1000).len(), 0);
        pool.forward_again();
        assert_eq!(pool.take_to_forward(5, 10, 1000).len(), 1);
    }
}
