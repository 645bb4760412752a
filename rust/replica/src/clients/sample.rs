//! How long requests take, measured on one at a time: to remember when each of them came would cost more than to know it
//! of some is worth.

use std::time::{Duration, Instant};

use pssmr_execution::Histogram;
use pssmr_types::{ClientId, Request};

/// A request that has no result after so long is given up: its session may have ended, or the replica was behind and got
/// no result of its own.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(60);

/// The request that is being timed.
#[derive(Debug, Default)]
pub(crate) struct Sample(Option<Timed>);

#[derive(Debug)]
struct Timed {
    client: ClientId,
    sequence: u64,
    since: Instant,
}

impl Sample {
    /// Requests came: one of them is timed, if none is.
    pub(crate) fn requests(&mut self, burst: &[Request]) {
        let Some(request) = burst.iter().find(|request| request.client.session != 0) else { return };
        let now = Instant::now();
        if self.0.as_ref().is_none_or(|timed| now.duration_since(timed.since) >= GIVEN_UP_AFTER) {
            self.0 = Some(Timed { client: request.client, sequence: request.sequence, since: now });
        }
    }

    /// A request has its result.
    pub(crate) fn result(&mut self, client: ClientId, sequence: u64, to: &Histogram) {
        if let Some(timed) = self.take(client, sequence) {
            to.add_duration(timed.since.elapsed());
        }
    }

    /// A request was refused: it is timed no more.
    pub(crate) fn refused(&mut self, client: ClientId, sequence: u64) {
        self.take(client, sequence);
    }

    fn take(&mut self, client: ClientId, sequence: u64) -> Option<Timed> {
        self.0.take_if(|timed| timed.sequence == sequence && timed.client == client)
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
        sample.0.as_ref().map(|timed| timed.sequence)
    }

    #[test]
    fn one_request_is_timed_until_its_result_then_the_next() {
        let (mut sample, histogram) = (Sample::default(), Histogram::default());
        sample.requests(&[request(0, 1), request(7, 2), request(7, 3)]);
        assert_eq!(timed(&sample), Some(2), "the opening of a session is no command");
        sample.requests(&[request(7, 4)]);
        for other in [request(8, 2), request(7, 3)] {
            sample.result(other.client, other.sequence, &histogram);
        }
        assert_eq!((timed(&sample), histogram.read().buckets.len()), (Some(2), 0));
        sample.result(request(7, 2).client, 2, &histogram);
        assert_eq!((timed(&sample), histogram.read().buckets.len()), (None, 1));
        sample.requests(&[request(7, 5)]);
        assert_eq!(timed(&sample), Some(5));
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
