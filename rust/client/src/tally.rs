//! When an outcome is believed: the votes on one request.

use bytes::Bytes;
use pssmr_types::{Digest, Outcome, ReplicaId};

use crate::replica_set::ReplicaSet;

/// What the votes say so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Too few replicas agree.
    Open,
    /// Enough replicas agree on a result's digest, but nobody has sent the result: it has to be asked for.
    ResultMissing,
    /// Enough replicas agree on this outcome. A result is whole.
    Believed(Outcome),
}

/// The votes on one request: one per replica, its latest.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    votes: Vec<Vote>,
}

#[derive(Debug)]
struct Vote {
    replica: ReplicaId,
    digest: Digest,
    outcome: Outcome,
}

impl Tally {
    /// Counts the vote of `replica`, which its link proves, in the place of an earlier one, and looks whether `needed`
    /// replicas agree with it.
    ///
    /// Of a result above `keep_bytes_max` that is not believed at once, only the digest is kept.
    ///
    /// # Panics
    /// On [`Outcome::Busy`], which is no outcome of the request but of one attempt.
    pub(crate) fn vote(
        &mut self,
        replica: ReplicaId,
        outcome: Outcome,
        needed: usize,
        keep_bytes_max: usize,
    ) -> Verdict {
        assert!(outcome != Outcome::Busy, "a busy replica has no vote");
        if needed == 1 {
            return match outcome {
                Outcome::ResultDigest(_) => Verdict::ResultMissing,
                outcome => Verdict::Believed(outcome),
            };
        }
        let digest = outcome.digest();
        self.votes.retain(|vote| vote.replica != replica);
        let is_large = matches!(&outcome, Outcome::Result(result) if result.len() > keep_bytes_max);
        self.votes.push(Vote { replica, digest, outcome });
        let verdict = self.verdict_on(digest, needed);
        if verdict == Verdict::Open
            && is_large
            && let Some(vote) = self.votes.last_mut()
        {
            vote.outcome = Outcome::ResultDigest(digest);
        }
        verdict
    }

    /// What the votes say where `needed` must agree.
    pub(crate) fn verdict(&self, needed: usize) -> Verdict {
        let verdicts = self.votes.iter().map(|vote| self.verdict_on(vote.digest, needed));
        verdicts.into_iter().find(|verdict| *verdict != Verdict::Open).unwrap_or(Verdict::Open)
    }

    fn verdict_on(&self, digest: Digest, needed: usize) -> Verdict {
        let agreeing = || self.votes.iter().filter(|vote| vote.digest == digest);
        if agreeing().count() < needed {
            return Verdict::Open;
        }
        let whole = agreeing().find(|vote| !matches!(vote.outcome, Outcome::ResultDigest(_)));
        whole.map_or(Verdict::ResultMissing, |vote| Verdict::Believed(vote.outcome.clone()))
    }

    /// How many replicas say what most say.
    pub(crate) fn most_agreeing(&self) -> usize {
        let agreeing = |vote: &Vote| self.votes.iter().filter(|other| other.digest == vote.digest).count();
        self.votes.iter().map(agreeing).max().unwrap_or(0)
    }

    /// Takes the votes of these replicas out.
    pub(crate) fn forget(&mut self, replicas: ReplicaSet) {
        self.votes.retain(|vote| !replicas.contains(vote.replica));
    }

    /// Bytes of results that are kept until they are believed.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.votes
            .iter()
            .map(|vote| if let Outcome::Result(result) = &vote.outcome { Bytes::len(result) } else { 0 })
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use pssmr_types::result_digest;

    use super::*;

    const BFT: usize = 2;

    fn result(text: &'static [u8]) -> Outcome {
        Outcome::Result(Bytes::from_static(text))
    }

    fn digest(text: &[u8]) -> Outcome {
        Outcome::ResultDigest(result_digest(text))
    }

    fn vote(tally: &mut Tally, replica: u16, outcome: Outcome) -> Verdict {
        tally.vote(ReplicaId(replica), outcome, BFT, 1000)
    }

    #[test]
    fn a_result_is_believed_when_enough_replicas_say_the_same() {
        let mut tally = Tally::default();
        assert_eq!(vote(&mut tally, 0, result(b"yes")), Verdict::Open);
        assert_eq!(vote(&mut tally, 3, result(b"yes")), Verdict::Believed(result(b"yes")));
    }

    #[test]
    fn a_lying_replica_is_not_believed_however_often_it_speaks() {
        let mut tally = Tally::default();
        for _ in 0..5 {
            assert_eq!(vote(&mut tally, 1, result(b"lie")), Verdict::Open);
        }
        assert_eq!(vote(&mut tally, 0, result(b"yes")), Verdict::Open);
        assert_eq!(vote(&mut tally, 2, result(b"yes")), Verdict::Believed(result(b"yes")));
    }

    #[test]
    fn a_replica_that_changes_its_mind_has_one_vote() {
        let mut tally = Tally::default();
        assert_eq!(vote(&mut tally, 1, result(b"yes")), Verdict::Open);
        assert_eq!(vote(&mut tally, 1, result(b"no")), Verdict::Open);
        assert_eq!(vote(&mut tally, 2, result(b"yes")), Verdict::Open, "the vote for yes was withdrawn");
        assert_eq!(vote(&mut tally, 3, result(b"no")), Verdict::Believed(result(b"no")));
    }

    #[test]
    fn a_digest_confirms_a_result_in_either_order() {
        let mut tally = Tally::default();
        vote(&mut tally, 0, result(b"a long result"));
        assert_eq!(vote(&mut tally, 1, digest(b"a long result")), Verdict::Believed(result(b"a long result")));
        let mut tally = Tally::default();
        vote(&mut tally, 1, digest(b"a long result"));
        assert_eq!(vote(&mut tally, 0, result(b"a long result")), Verdict::Believed(result(b"a long result")));
    }

    #[test]
    fn a_result_must_have_the_digest_that_others_confirm() {
        let mut tally = Tally::default();
        vote(&mut tally, 0, result(b"forged"));
        assert_eq!(vote(&mut tally, 1, digest(b"true")), Verdict::Open);
        assert_eq!(vote(&mut tally, 2, digest(b"true")), Verdict::ResultMissing);
        assert_eq!(vote(&mut tally, 3, result(b"true")), Verdict::Believed(result(b"true")));
    }

    #[test]
    fn a_digest_alone_is_no_result_even_of_a_trusted_replica() {
        let mut tally = Tally::default();
        assert_eq!(tally.vote(ReplicaId(0), digest(b"result"), 1, 1000), Verdict::ResultMissing);
        assert_eq!(tally.vote(ReplicaId(1), result(b"result"), 1, 1000), Verdict::Believed(result(b"result")));
    }

    #[test]
    fn results_too_large_to_keep_are_asked_for_again_once_confirmed() {
        let mut tally = Tally::default();
        let large = Outcome::Result(Bytes::from(vec![7; 1001]));
        assert_eq!(vote(&mut tally, 0, large.clone()), Verdict::Open);
        assert_eq!(tally.kept_bytes(), 0);
        assert_eq!(vote(&mut tally, 1, digest(&[7; 1001])), Verdict::ResultMissing);
        assert_eq!(vote(&mut tally, 0, large.clone()), Verdict::Believed(large));
    }

    #[test]
    fn an_expired_session_needs_as_many_votes_as_a_result() {
        let mut tally = Tally::default();
        assert_eq!(vote(&mut tally, 0, Outcome::SessionExpired), Verdict::Open);
        assert_eq!(vote(&mut tally, 1, result(b"yes")), Verdict::Open);
        assert_eq!(vote(&mut tally, 2, Outcome::SessionExpired), Verdict::Believed(Outcome::SessionExpired));
    }
}
