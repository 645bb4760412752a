//! Reads: what a replica must have executed before it answers a query that is not ordered.
//!
//! A client believes a read by a quorum of answers of one epoch: Q equal results with Byzantine faults, or, with crash
//! faults only, that of the highest slot among Q. This is linearizable, though a client believes the result of a command by
//! f + 1 replies only, if each replica executes all that is on its chain before it answers:
//!
//! - What has completed at a client before the read began was decided: in some view, Q replicas had the slot on their chain,
//!   and said so. One of them, call it c, is correct and among the Q that answer.
//! - Where c votes in its view, its chain still has the slot: a view's base has all that may have been decided in views
//!   before. A replica that has not got its view's base, or that has forgotten how it voted, does not answer.
//! - So c has executed the slot before it answers. With Byzantine faults all Q results are equal to that of c; with crash
//!   faults, that of the highest slot is of a state at or after that of c.
//! - A read that has completed has shown nothing but what was executed, thus decided: whoever reads later sees that, too.
//! - The last slot of an epoch is decided by a quorum of that epoch: c has it on its chain, waits until it is decided, and
//!   then answers in the next epoch, or no more; and not at all while it waits for the proof of that epoch, in which others
//!   may decide already. Nobody gets Q answers in an epoch that is over.
//!
//! With crash faults a read always ends so; with Byzantine ones, replicas may have executed different numbers of conflicting
//! commands, and a client that gets no Q equal results has its query ordered.
//!
//! (The read-only requests of PBFT, Castro and Liskov 1999, section 4.4, have clients wait for Q replies to commands, too, or
//! are not linearizable; waiting for that can keep clients waiting for ever: Berger, Reiser and Bessani 2021. Waiting for the
//! chain instead is the rule here.)

use pssmr_types::Slot;

use crate::core::{Core, Phase};

impl Core {
    /// The slot up to which everything must be executed before a read is answered that has come before this call; `None` if
    /// the replica does not answer now.
    pub fn read_floor(&self) -> Option<Slot> {
        let votes = self.phase == Phase::Active && !self.is_learner() && !self.is_closing() && !self.halted;
        votes.then(|| self.chain.head())
    }
}
