//! How long requests take, measured on one at a time: to remember when each of them came would cost more than to know it
//! of some is worth.

use std::time::{Duration, Instant};

use pssmr_execution::Histogram;
use pssmr_types::{ClientId, Request};

/// A request that has no result after so long is given up: its session may have ended, or it was executed before it came
/// here by its own link.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(10);

/// The request that is being timed.
#[derive(Debug, Default)]
pub(crate) struct Sample {
    timed: Option<Timed>,
    /// The session that had a result last, and the highest of its sequences with one.
    newest: Option<(ClientId, u64)>,
}

#[derive(Debug)]
struct Timed {
    client: ClientId,
    sequence: u64,
    since: Instant,
}

impl Sample {
    /// Requests came: one of them is timed, if none is.
    pub(crate) fn requests(&mut self, burst: &[Request]) {
        let Some(request) = burst.iter().find(|request| self.is_new(request)) else { return };
        let now = Instant::now();
        if self.timed.as_ref().is_none_or(|timed| now.duration_since(timed.since) >= GIVEN_UP_AFTER) {
            self.timed = Some(Timed { client: request.client, sequence: request.sequence, since: now });
        }
    }

    /// Whether the request is a command that is not likely to be executed already.
    fn is_new(&self, request: &Request) -> bool {
        let is_late = |(client, sequence)| client == request.client && request.sequence <= sequence;
        request.client.session != 0 && !self.newest.is_some_and(is_late)
    }

    /// A request has its result.
    pub(crate) fn result(&mut self, client: ClientId, sequence: u64, to: &Histogram) {
        if let Some(timed) = self.take(client, sequence) {
            to.add_duration(timed.since.elapsed());
        }
        self.newest = match self.newest {
            Some((same, newest)) if same == client => Some((client, newest.max(sequence))),
            _ => Some((client, sequence)),
        };
    }

    /// A request was refused: it is timed no more.
    pub(crate) fn refused(&mut self, client: ClientId, sequence: u64) {
        self.take(client, sequence);
    }

    fn take(&mut self, client: ClientId, sequence: u64) -> Option<Timed> {
        self.timed.take_if(|timed| timed.sequence == sequence && timed.client == client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pssmr_types::{Operation, Principal};

    fn request(session: u64, sequence: u64) -> Request {
        let client = ClientId { principal: Principal(1), session };
        Request::new(client, sequence, 1, Operation::Command, b"")
    }

    fn timed(sample: &Sample) -> Option<u64> {
        sample.timed.as_ref().map(|timed| timed.sequence)
    }

    #[test]
    fn one_request_is_timed_until_its_result_then_the_next() {
        let (mut sample, histogram) = (Sample::default(), Histogram::default());
        sample.requests(&[request(0, 1), request(7, 2), request(7, 3)]);
        assert_eq!(timed(&sample), Some(2), "the opening of a session is no command");
        sample.requests(&[request(7, 5)]);
        for other in [request(8, 2), request(7, 3)] {
            sample.result(other.client, other.sequence, &histogram);
        }
        assert_eq!((timed(&sample), histogram.read().buckets.len()), (Some(2), 0));
        sample.result(request(7, 2).client, 2, &histogram);
        assert_eq!((timed(&sample), histogram.read().buckets.len()), (None, 1));
        sample.requests(&[request(7, 3), request(7, 4)]);
        assert_eq!(timed(&sample), Some(4), "3 has its result already: it came late");
    }

    #[test]
    fn a_refused_request_is_not_counted() {
        let (mut sample, histogram) = (Sample::default(), Histogram::default());
        sample.requests(&[request(7, 2)]);
        sample.refused(request(7, 2).client, 2);
        sample.result(request(7, 2).client, 2, &histogram);
        assert_eq!((timed(&sample), histogram.read().buckets.len()), (None, 0));
    }
}
