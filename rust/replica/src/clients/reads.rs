//! Reads of clients: whose they are, while they are executed.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

use pssmr_types::{Read, RequestTrace, TraceContext};

use crate::reads::TakenRead;

/// Reads that a client has under way at most: more than its commands can be.
const OF_LINK_MAX: usize = 4096;

/// Reads that all clients have under way at most, and the bytes of their payloads.
const ALL_MAX: usize = 1 << 16;
const BYTES_MAX: usize = 64 << 20;

/// Who has asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked<L> {
    pub(super) link: L,
    /// The client's number for the read.
    pub(super) number: u64,
    /// Whether a digest won't do.
    pub(super) full_replies: bool,
}

#[derive(Debug)]
struct UnderWay<L> {
    asked: Asked<L>,
    bytes: usize,
}

/// The reads under way, by their tickets.
#[derive(Debug)]
pub(super) struct Reads<L> {
    under_way: HashMap<u64, UnderWay<L>>,
    by_link: HashMap<L, usize>,
    bytes: usize,
    tickets: u64,
}

impl<L> Default for Reads<L> {
    fn default() -> Self {
        Self { under_way: HashMap::new(), by_link: HashMap::new(), bytes: 0, tickets: 0 }
    }
}

impl<L: Copy + Eq + Hash> Reads<L> {
    /// Takes a read. `None` if there are too many under way.
    pub(super) fn take(&mut self, link: L, read: Read, full_replies: bool) -> Option<TakenRead> {
        let of_link = self.by_link.entry(link).or_default();
        let bytes = read.payload.len();
        if *of_link >= OF_LINK_MAX || self.under_way.len() >= ALL_MAX || self.bytes + bytes > BYTES_MAX {
            return None;
        }
        *of_link += 1;
        self.bytes += bytes;
        self.tickets += 1;
        let asked = Asked { link, number: read.number, full_replies };
        self.under_way.insert(self.tickets, UnderWay { asked, bytes });
        Some(TakenRead { ticket: self.tickets, payload: read.payload })
    }

    /// Who waits for this one, if the link is still there. It is no longer under way.
    pub(super) fn end(&mut self, ticket: u64) -> Option<Asked<L>> {
        let UnderWay { asked, bytes } = self.under_way.remove(&ticket)?;
        self.bytes -= bytes;
        let of_link = self.by_link.get_mut(&asked.link)?;
        *of_link -= 1;
        Some(asked)
    }

    /// A link is gone: nobody waits for what it has asked.
    pub(super) fn link_down(&mut self, link: L) {
        self.by_link.remove(&link);
    }
}

/// How many announced traces are looked at for a read.
const PASSED_OVER_MAX: usize = 64;

/// Where the next reads on a link belong: a client says so before it sends them, in the same order.
#[derive(Debug, Default)]
pub(super) struct AnnouncedTraces(VecDeque<RequestTrace>);

impl AnnouncedTraces {
    pub(super) fn announce(&mut self, traces: impl Iterator<Item = RequestTrace>) {
        for trace in traces {
            if self.0.len() >= OF_LINK_MAX {
                self.0.pop_front();
            }
            self.0.push_back(trace);
        }
    }

    /// Where the read of this number belongs. What was announced before it and never came is forgotten.
    pub(super) fn of_read(&mut self, number: u64) -> Option<TraceContext> {
        let at = self.0.iter().take(PASSED_OVER_MAX).position(|trace| trace.sequence == number)?;
        self.0.drain(..=at).next_back().map(|found| found.context)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn read(number: u64) -> Read {
        Read { number, payload: Bytes::from_static(b"query") }
    }

    #[test]
    fn a_client_has_a_bounded_number_under_way() {
        let mut reads = Reads::default();
        let tickets: Vec<u64> =
            (0..OF_LINK_MAX as u64).map(|n| reads.take('a', read(n), false).unwrap().ticket).collect();
        assert_eq!(reads.take('a', read(9999), false), None);
        assert!(reads.take('b', read(1), true).is_some(), "others have room");
        let asked = reads.end(tickets[7]).unwrap();
        assert_eq!((asked.link, asked.number, asked.full_replies), ('a', 7, false));
        assert_eq!(reads.end(tickets[7]), None, "once");
        assert!(reads.take('a', read(9999), false).is_some());
    }

    #[test]
    fn traces_are_of_the_reads_that_follow_and_bounded() {
        let trace = |number| {
            let context = TraceContext { trace: [1; 16], span: [2; 8], flags: number as u8 };
            RequestTrace { session: RequestTrace::READ, sequence: number, context }
        };
        let mut announced = AnnouncedTraces::default();
        announced.announce([2, 4].into_iter().map(trace));
        let flags: Vec<_> = (1..=5).map(|number| announced.of_read(number).map(|context| context.flags)).collect();
        assert_eq!(flags, [None, Some(2), None, Some(4), None]);
        announced.announce([6, 7, 8].into_iter().map(trace));
        assert_eq!(announced.of_read(7), Some(trace(7).context), "read 6 was lost on the way");
        assert_eq!(announced.of_read(6), None);
        assert_eq!(announced.of_read(8), Some(trace(8).context));
        announced.announce((0..2 * OF_LINK_MAX as u64).map(trace));
        assert_eq!(announced.0.len(), OF_LINK_MAX);
        assert_eq!(announced.of_read(OF_LINK_MAX as u64), Some(trace(OF_LINK_MAX as u64).context));
    }

    #[test]
    fn nobody_waits_on_a_link_that_is_gone() {
        let mut reads = Reads::default();
        let read = reads.take('a', read(1), false).unwrap();
        reads.link_down('a');
        assert_eq!(reads.end(read.ticket), None);
        assert!(reads.under_way.is_empty());
        assert_eq!(reads.bytes, 0);
    }

    #[test]
    fn what_is_under_way_is_bounded_in_bytes() {
        let mut reads = Reads::default();
        let half = |number| Read { number, payload: Bytes::from(vec![0; BYTES_MAX / 2]) };
        let first = reads.take('a', half(1), false).unwrap();
        assert!(reads.take('b', half(2), false).is_some());
        assert_eq!(reads.take('c', read(3), false), None);
        reads.end(first.ticket).unwrap();
        assert!(reads.take('c', read(3), false).is_some());
    }
}
