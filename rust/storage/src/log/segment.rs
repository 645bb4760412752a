//! The layout of a segment.
//!
//! A segment is a file of a header and entries. Its header takes a sector: the preamble, the cluster, the replica, the
//! segment's number, the index of its first record, the length reserved, a random nonce, a checksum. Entries begin at multiples of
//! [`ALIGNMENT`], so an entry's header never straddles a sector:
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | the segment's tag, by which entries are found when what is before them is broken |
//! | 8..12 | kind: [`RECORD`], [`MARK`] or [`SEAL`] |
//! | 12..16 | length of the record |
//! | 16..24 | index of the record (of a mark or a seal: of the next record) |
//! | 24..32 | how many records of the log were durable when this was appended |
//! | 32..48 | checksum of the record |
//! | 48..63 | checksum of this header |
//! | 63 | [`END`] |
//!
//! The record follows, then zeros up to the last byte before the next multiple of [`ALIGNMENT`], which is [`END`] again.
//!
//! Tag and checksums are keyed by the segment's header, so an entry of another segment, of an older file in the same
//! place, or one that a client wrote into its request, is none here. The header's checksum binds the record's to its index.

use std::path::Path;

use pssmr_types::{ClusterId, Digest, ReplicaId};

use crate::directory::Place;
use crate::error::StorageError;
use crate::identity::Identity;
use crate::preamble::{self, take};

const MAGIC: [u8; 8] = *b"pssmrlog";
const FORMAT: u32 = 1;

/// What a device writes whole or not at all.
pub(crate) const SECTOR: u64 = 512;
/// Entries begin at multiples of it.
pub(crate) const ALIGNMENT: u64 = 64;
/// The size of a segment's header: where its entries begin.
pub(crate) const SEGMENT_HEADER: u64 = SECTOR;
/// The size of an entry's header.
pub(crate) const ENTRY_HEADER: usize = 64;
/// The last byte of an entry and of its header: where it is zero, the sector was not (wholly) written.
pub(crate) const END: u8 = 0xa5;

/// An entry that carries a record.
pub(crate) const RECORD: u32 = 1;
/// An entry that only says how much is durable.
pub(crate) const MARK: u32 = 2;
/// An entry that says that a segment after this one is durable.
pub(crate) const SEAL: u32 = 3;

const FIELDS_BYTES: usize = preamble::BYTES + 16 + 2 + 8 + 8 + 8 + 16;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) cluster: ClusterId,
    pub(crate) replica: ReplicaId,
    /// Segments are ordered by it; numbers may be left out, none is used twice.
    pub(crate) number: u64,
    /// All records below are in earlier segments, durable since before this segment had its name.
    pub(crate) first_index: u64,
    /// The file was made with this length, and is not shorter while it is the last; 0 if no space could be reserved.
    pub(crate) reserved: u64,
    pub(crate) nonce: [u8; 16],
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER as usize);
        bytes.extend_from_slice(&preamble::encode(MAGIC, FORMAT));
        bytes.extend_from_slice(&self.cluster.0);
        bytes.extend_from_slice(&self.replica.0.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.first_index.to_le_bytes());
        bytes.extend_from_slice(&self.reserved.to_le_bytes());
        bytes.extend_from_slice(&self.nonce);
        bytes.resize(SEGMENT_HEADER as usize - 32, 0);
        let checksum = Digest::of("pssmr log segment 1", &bytes);
        bytes.extend_from_slice(&checksum.0);
        bytes
    }

    /// The header of the segment at `path`, which must be this replica's.
    ///
    /// # Errors
    /// [`StorageError::Damaged`], [`StorageError::Format`], or whose it is instead.
    pub(crate) fn decode(path: &Path, bytes: &[u8], place: &Place) -> Result<Self, StorageError> {
        preamble::check(path, bytes, MAGIC, FORMAT)?;
        let damaged = |what| StorageError::Damaged { path: path.to_owned(), what };
        if bytes.len() != SEGMENT_HEADER as usize {
            return Err(damaged("its header is cut off"));
        }
        let (body, checksum) = bytes.split_at(SEGMENT_HEADER as usize - 32);
        if Digest::of("pssmr log segment 1", body).0 != checksum {
            return Err(damaged("the checksum of its header is wrong"));
        }
        let mut fields = &body[preamble::BYTES..FIELDS_BYTES];
        let found = Identity {
            cluster: ClusterId(take(&mut fields)),
            replica: ReplicaId(u16::from_le_bytes(take(&mut fields))),
        };
        Identity { cluster: place.cluster, replica: place.replica }.check(path, found)?;
        Ok(Self {
            cluster: found.cluster,
            replica: found.replica,
            number: u64::from_le_bytes(take(&mut fields)),
            first_index: u64::from_le_bytes(take(&mut fields)),
            reserved: u64::from_le_bytes(take(&mut fields)),
            nonce: take(&mut fields),
        })
    }
}

/// What an entry says of itself, once its header is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryHeader {
    pub(crate) kind: u32,
    pub(crate) length: u32,
    pub(crate) index: u64,
    /// The number of records that were durable when this was appended.
    pub(crate) synced: u64,
    checksum: [u8; 16],
}

impl EntryHeader {
    /// How many bytes the entry takes in the segment.
    pub(crate) fn span(&self) -> u64 {
        entry_bytes(self.kind, u64::from(self.length))
    }
}

/// How many bytes an entry takes.
pub(crate) fn entry_bytes(kind: u32, length: u64) -> u64 {
    let body = if kind == RECORD { (length + 1).next_multiple_of(ALIGNMENT) } else { 0 };
    ENTRY_HEADER as u64 + body
}

/// The key of one segment's entries.
#[derive(Clone, Debug)]
pub(crate) struct SegmentKey {
    header_key: [u8; 32],
    record_key: [u8; 32],
    tag: [u8; 8],
}

impl SegmentKey {
    pub(crate) fn new(header: &SegmentHeader) -> Self {
        let bytes = header.encode();
        let tag = Digest::of("pssmr log entry tag 1", &bytes).0;
        Self {
            header_key: Digest::of("pssmr log entry header key 1", &bytes).0,
            record_key: Digest::of("pssmr log record key 1", &bytes).0,
            tag: *tag.first_chunk().expect("a digest is longer"),
        }
    }

    /// What every entry of the segment begins with.
    pub(crate) fn tag(&self) -> [u8; 8] {
        self.tag
    }

    /// Appends an entry, of a record that comes in parts, to `into`.
    pub(crate) fn encode(&self, into: &mut Vec<u8>, kind: u32, index: u64, synced: u64, parts: &[&[u8]]) {
        let start = into.len();
        let length = parts.iter().map(|part| part.len()).sum::<usize>();
        let checksum = self.record_checksum(parts);
        into.extend_from_slice(&self.tag);
        into.extend_from_slice(&kind.to_le_bytes());
        into.extend_from_slice(&u32::try_from(length).expect("records are bounded").to_le_bytes());
        into.extend_from_slice(&index.to_le_bytes());
        into.extend_from_slice(&synced.to_le_bytes());
        into.extend_from_slice(&checksum);
        let checksum = self.header_checksum(&into[start..]);
        into.extend_from_slice(&checksum);
        into.push(END);
        if kind == RECORD {
            for part in parts {
                into.extend_from_slice(part);
            }
            into.resize(start + entry_bytes(kind, length as u64) as usize - 1, 0);
            into.push(END);
        }
    }

    /// The header at the beginning of `bytes`, if there is one of this segment.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Option<EntryHeader> {
        let bytes = bytes.first_chunk::<ENTRY_HEADER>()?;
        if bytes[..8] != self.tag || bytes[63] != END || bytes[48..63] != self.header_checksum(&bytes[..48]) {
            return None;
        }
        let mut fields = &bytes[8..48];
        let header = EntryHeader {
            kind: u32::from_le_bytes(take(&mut fields)),
            length: u32::from_le_bytes(take(&mut fields)),
            index: u64::from_le_bytes(take(&mut fields)),
            synced: u64::from_le_bytes(take(&mut fields)),
            checksum: take(&mut fields),
        };
        // What has the right checksum was written by us; this only keeps a defect from going further.
        let known = matches!(header.kind, RECORD | MARK | SEAL) && u64::from(header.length) <= super::RECORD_BYTES_MAX;
        known.then_some(header)
    }

    /// Whether `record` is what `header` speaks of.
    pub(crate) fn matches(&self, header: &EntryHeader, record: &[u8]) -> bool {
        record.len() == header.length as usize && self.record_checksum(&[record]) == header.checksum
    }

    fn header_checksum(&self, fields: &[u8]) -> [u8; 15] {
        *blake3::keyed_hash(&self.header_key, fields).as_bytes().first_chunk().expect("a digest is longer")
    }

    fn record_checksum(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.record_key);
        for part in parts {
            hasher.update(part);
        }
        *hasher.finalize().as_bytes().first_chunk().expect("a digest is longer")
    }
}
