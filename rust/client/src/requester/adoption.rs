//! The next membership is known: what is under way goes on under it.
//!
//! # Which votes count together
//! A vote is counted as long as the replica that cast it is a member of the newest membership known, under the same id and
//! with the same key, and an outcome is believed when k of these say the same, where k is that of this membership. So
//! whatever is believed was said by k = f + 1 members of one membership, of which at most f are faulty. That some of them
//! said it before that membership was known does no harm: what a correct replica says of a request is true for good.
//!
//! If votes of replicas that have left stayed, a faulty one of the old membership and a faulty one of the new, which are
//! each within their membership's f, could be believed together. So they are taken out. The vote of a key goes with its
//! member: whoever comes back later, or takes over an id, votes anew, on a new link.
//!
//! With another k the votes that remain are judged again. If it has risen, what one replica said is no more enough, and what
//! was sent to one only, the leader, goes to all.

use std::sync::Arc;
use std::time::Instant;

use pssmr_types::{Epoch, Membership, ReplicaId, View};

use super::{Requester, Session};
use crate::completion::Completion;
use crate::error::RequestError;
use crate::replica_set::ReplicaSet;

/// Who leads an epoch first, and that view. Only a guess for what comes later: a replica that is not the leader passes
/// requests on.
pub(super) fn first_leader(membership: &Membership) -> (ReplicaId, (Epoch, u64)) {
    let view = View::first(membership.epoch());
    (membership.leader(view), (view.epoch(), view.number()))
}

impl Requester {
    /// Goes on under the next membership. The links of whoever is no member of it are gone, also of those whose id has
    /// another key now; a new one is reported when it is up.
    pub(crate) fn adopt(&mut self, next: Arc<Membership>, now: Instant) {
        let stays = |replica| next.key(replica) == self.membership.key(replica);
        let gone: ReplicaSet = self.membership.replicas().filter(|replica| !stays(*replica)).collect();
        self.membership = next;
        self.up = self.up.without(gone);
        // A replica may have told of the new epoch's views before its beginning was proved.
        if self.leader_view.0 < self.membership.epoch() || gone.contains(self.leader) {
            (self.leader, self.leader_view) = first_leader(&self.membership);
        }
        self.end_status_queries(gone);
        self.forget_votes(gone, now);
        self.order_all_reads();
        self.judge_again(now);
        self.wake_at(now);
    }

    /// Ends the questions for those that are gone. Whoever has taken over an id can answer what was asked of it.
    fn end_status_queries(&mut self, gone: ReplicaSet) {
        for replica in gone.iter().filter(|replica| !self.membership.contains(*replica)) {
            for query in std::mem::take(&mut self.status_queries[replica.index()]) {
                self.completions.push(Completion { token: query.token, result: Err(RequestError::ReplicaGone) });
            }
        }
    }

    fn forget_votes(&mut self, gone: ReplicaSet, now: Instant) {
        let (up, to_all) = (self.up, !self.follows_leader());
        // A new replica is not up yet, and gets what it should have when it is.
        let lacks = |sent: ReplicaSet| to_all && !up.without(sent).is_empty();
        if let Session::Opening(opening) = &mut self.session {
            opening.tally.forget(gone);
            opening.attempts.forget(gone, now);
            if lacks(opening.attempts.sent) {
                opening.attempts.retry_at = Some(now);
            }
        }
        for (_, entry) in self.window.iter_mut() {
            let kept = entry.tally.kept_bytes();
            entry.tally.forget(gone);
            self.kept_bytes = self.kept_bytes - kept + entry.tally.kept_bytes();
            if let Some(digests) = &mut entry.digests {
                digests.retain(|replica, _| !gone.contains(*replica));
            }
            entry.attempts.forget(gone, now);
            if lacks(entry.attempts.sent) {
                entry.attempts.retry_at = Some(now);
            }
        }
    }

    fn judge_again(&mut self, now: Instant) {
        let needed = self.membership.quorums().weak();
        if let Session::Opening(opening) = &self.session {
            let verdict = opening.tally.verdict(needed);
            self.judge_opening(&verdict, now);
        }
        let sequences: Vec<_> = self.window.iter_mut().map(|(sequence, _)| sequence).collect();
        for sequence in sequences {
            // An earlier one may have ended the whole session.
            let Some(entry) = self.window.get_mut(sequence) else { continue };
            if entry.digests.is_some() {
                self.complete_digests(sequence);
            } else {
                let verdict = entry.tally.verdict(needed);
                self.judge(sequence, verdict, now);
            }
        }
    }
}
