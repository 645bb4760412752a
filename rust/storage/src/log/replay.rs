//! Reading a segment back, and judging how it ends.
//!
//! # What a crash can leave, and what it can't
//!
//! Three facts about how a segment is written:
//!
//! 1. A file is written once, front to back, from zeros; it has its name only after its header was synced, and nothing
//!    is written to it by a later process. So a sector holds what was meant for it or zeros. (A write that the system
//!    cut short leaves the beginning of what was meant for it, then zeros.)
//! 2. A sync makes everything before it durable. Each entry carries the number of records that were durable when it was
//!    appended, its *claim*; after each sync an entry that is only a claim (a mark) is written, and a new segment claims
//!    all before its first record. A claim is true wherever it is found.
//! 3. Only what was synced is ever acknowledged.
//!
//! Let record *i* be the first that is not whole. Batches that were not synced may be torn in any order of sectors, so
//! whole records after *i* prove nothing by themselves. But
//!
//! - if any valid entry after the break, or a later segment, claims more than *i* records, *i* was synced: damage;
//! - else, if all sectors of *i* have been written, that is no part of it that lies in one sector is zeros and its last
//!   byte is not zero, it can't be a tear (fact 1), so it is rot: damage;
//! - else, if the file is shorter than it was made, its end was lost, or a later segment was: damage. (A segment that is not
//!   the last is cut to its length; it is also sealed, once the next is durable, so that the loss of the next shows.)
//! - else *i* was torn off by the crash, no sync that covers it succeeded, so neither it nor anything after it was
//!   acknowledged: the log ends before *i*.
//!
//! What remains undetected: rot that turns the last synced group into zeros (or hits a record of which some sector is
//! zeros by nature), in a crash that also lost the mark written right after that group's sync. That takes two faults at
//! once within the seconds that the system keeps a page back; a mark of its own sync would cost each group a second one.

use std::collections::VecDeque;
use std::io;

use super::segment::{ENTRY_HEADER, EntryHeader, RECORD, SEAL, SECTOR, SEGMENT_HEADER, SegmentKey};
use super::window::Window;
use crate::disk;

/// How a segment ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With zeros or nothing, or where the next segment begins.
    Clean,
    /// With this many bytes that were never acknowledged.
    Torn { bytes: u64 },
    /// With bytes that are not what was written, or may not be.
    Damaged { what: &'static str },
}

/// What became of the reading of one segment.
#[derive(Clone, Debug)]
pub(crate) struct Replayed {
    /// The index after the last record.
    pub(crate) next_index: u64,
    /// Where the valid entries end.
    pub(crate) end_offset: u64,
    pub(crate) end: End,
    /// The first record of which nothing proves that it is durable, and where it is.
    pub(crate) unclaimed: Option<(u64, u64)>,
}

/// Which records of a segment count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Those below the next segment's first.
    Below(u64),
    /// All; there was a later segment, so all were synced.
    Sealed,
    /// All; it is the last. The file was made with this length.
    Last { reserved: u64 },
}

/// Hands the segment's records to `each`, in order, up to the first that is not whole.
///
/// # Errors
/// The system's, other than that a sector can't be read: that is damage.
pub(crate) fn replay(
    window: &mut Window<'_>,
    key: &SegmentKey,
    first_index: u64,
    extent: Extent,
    each: &mut dyn FnMut(u64, &[u8]),
) -> io::Result<Replayed> {
    let mut reading =
        Reading { window, key, next: first_index, at: SEGMENT_HEADER, claim: first_index, unclaimed: VecDeque::new() };
    let end = match reading.run(extent, each) {
        Err(error) if disk::is_unreadable(&error) => End::Damaged { what: "it can't be read" },
        end => end?,
    };
    let unclaimed = reading.unclaimed.front().copied();
    Ok(Replayed { next_index: reading.next, end_offset: reading.at, end, unclaimed })
}

/// Hands the records from index `from` on, which is at `offset`, up to `to`, to `each`; they were read before.
pub(crate) fn reread(
    window: &mut Window<'_>,
    key: &SegmentKey,
    (from, offset): (u64, u64),
    to: u64,
    each: &mut dyn FnMut(u64, &[u8]),
) -> io::Result<bool> {
    let mut reading = Reading { window, key, next: from, at: offset, claim: from, unclaimed: VecDeque::new() };
    reading.run(Extent::Below(to), each).map(|end| end == End::Clean)
}

struct Reading<'w, 'f> {
    window: &'w mut Window<'f>,
    key: &'w SegmentKey,
    /// The index of the next record.
    next: u64,
    at: u64,
    /// The highest number of records that a valid entry so far said was durable.
    claim: u64,
    /// The records from the claim on, and where they are.
    unclaimed: VecDeque<(u64, u64)>,
}

impl Reading<'_, '_> {
    fn run(&mut self, extent: Extent, each: &mut dyn FnMut(u64, &[u8])) -> io::Result<End> {
        loop {
            if matches!(extent, Extent::Below(first_of_next) if self.next >= first_of_next) {
                return Ok(End::Clean);
            }
            let header = self.key.decode(self.window.get(self.at, ENTRY_HEADER)?);
            match header {
                Some(header) if header.kind == SEAL && matches!(extent, Extent::Last { .. }) => {
                    return Ok(End::Damaged { what: "the segment after it is missing" });
                }
                Some(header) if header.index == self.next && self.is_whole(&header)? => self.take(&header, each)?,
                header => return self.judge(extent, header),
            }
        }
    }

    fn is_whole(&mut self, header: &EntryHeader) -> io::Result<bool> {
        let record = self.window.get(self.at + ENTRY_HEADER as u64, header.length as usize)?;
        Ok(self.key.matches(header, record))
    }

    fn take(&mut self, header: &EntryHeader, each: &mut dyn FnMut(u64, &[u8])) -> io::Result<()> {
        self.claim = self.claim.max(header.synced);
        while self.unclaimed.front().is_some_and(|&(index, _)| index < self.claim) {
            self.unclaimed.pop_front();
        }
        if header.kind == RECORD {
            self.unclaimed.push_back((self.next, self.at));
            each(self.next, self.window.get(self.at + ENTRY_HEADER as u64, header.length as usize)?);
            self.next += 1;
        }
        self.at += header.span();
        Ok(())
    }

    /// How the segment ends, given that no whole entry follows. `header` is the valid header there, if there is one.
    fn judge(&mut self, extent: Extent, header: Option<EntryHeader>) -> io::Result<End> {
        if matches!(extent, Extent::Last { reserved } if self.window.length() < reserved) {
            return Ok(End::Damaged { what: "its end is missing, or the segment after it" });
        }
        let is_empty = self.window.first_nonzero(self.at)?.is_none();
        match extent {
            Extent::Below(_) if is_empty => return Ok(End::Damaged { what: "records are missing at its end" }),
            Extent::Below(_) | Extent::Sealed if !is_empty => {
                return Ok(End::Damaged { what: "a record that was synced is broken" });
            }
            _ if is_empty => return Ok(End::Clean),
            _ => {}
        }
        let (claim, last_byte) = self.look_ahead()?;
        if claim > self.next {
            return Ok(End::Damaged { what: "a record that was synced is broken" });
        }
        if !self.lacks_a_sector(header)? {
            return Ok(End::Damaged { what: "a record is broken, but not by a crash: it was written to its end" });
        }
        Ok(End::Torn { bytes: last_byte + 1 - self.at })
    }

    /// The highest claim of any valid entry after the break, and the last byte that is not zero.
    fn look_ahead(&mut self) -> io::Result<(u64, u64)> {
        let (tag, mut claim, mut last_byte) = (self.key.tag(), self.claim, self.at);
        let mut at = self.at;
        while at < self.window.length() {
            let bytes = self.window.get(at, SECTOR as usize)?;
            if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
                last_byte = at + last as u64;
                for entry in bytes.chunks(ENTRY_HEADER).filter(|entry| entry.starts_with(&tag)) {
                    claim = claim.max(self.key.decode(entry).map_or(0, |header| header.synced));
                }
            }
            // Entries are aligned, so their headers are as sectors are.
            at += SECTOR;
            at -= at % SECTOR;
        }
        Ok((claim, last_byte))
    }

    /// Whether some sector of the broken entry was not written, or not to its end.
    fn lacks_a_sector(&mut self, header: Option<EntryHeader>) -> io::Result<bool> {
        let Some(header) = header.filter(|header| header.index == self.next) else {
            // A valid header of another entry is in the wrong place: no crash puts it there.
            let header_end = self.window.get(self.at, ENTRY_HEADER)?.get(ENTRY_HEADER - 1).copied();
            return Ok(header.is_none() && header_end.unwrap_or(0) == 0);
        };
        let end = self.at + header.span();
        if end > self.window.length() || self.window.get(end - 1, 1)? == [0] {
            return Ok(true);
        }
        let mut from = self.at + ENTRY_HEADER as u64;
        while from < end {
            let to = (from + 1).next_multiple_of(SECTOR).min(end);
            if self.window.get(from, (to - from) as usize)?.iter().all(|&byte| byte == 0) {
                return Ok(true);
            }
            from = to;
        }
        Ok(false)
    }
}
