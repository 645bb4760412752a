//! A leader whose link is lost: the connections of a process end with it, so the others know long before a time-out.
//!
//! A view whose leader cannot be reached for a tenth of its time-out, while nothing is decided, is left, whether something
//! waits or not: so a leader that is killed, or a machine that is shut down, costs a tenth of what one costs that says nothing
//! (no power, no network). A lost link proves nothing, and need not: it is a replica's own reason to wish for another view,
//! as silence is, and weighs what any wish weighs. Nobody but the leader and the network can make an honest replica lose it,
//! and both can do worse by silence. A wish outlasts the loss, like any: it may have taken a replica to the next view, where the
//! others must be able to follow. As the time-out grows with views that fail, so does its tenth: links that break again
//! and again cannot keep views from lasting as long as a decision takes.

use pssmr_types::ReplicaId;

use crate::core::Core;

/// This part of a time-out has a leader to come back.
const PART_OF_TIMEOUT: u64 = 10;

impl Core {
    pub(crate) fn on_disconnected(&mut self, peer: ReplicaId) {
        if peer != self.me && self.membership.contains(peer) {
            self.lost_links[peer.index()].get_or_insert(self.now.monotonic);
        }
    }

    /// When the leader will have been out of reach for too long; `None` if it is not known to be.
    pub(crate) fn leader_awaited_until(&self) -> Option<u64> {
        let lost = self.lost_links[self.leader().index()].filter(|_| !self.is_closing())?;
        Some(lost.max(self.quiet_since()) + self.timeout() / PART_OF_TIMEOUT)
    }

    /// Whether the link to a replica is lost.
    pub(crate) fn has_lost(&self, replica: ReplicaId) -> bool {
        self.lost_links[replica.index()].is_some()
    }
}
