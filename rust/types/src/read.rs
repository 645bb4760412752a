//! Reads: queries that replicas answer without ordering them.
//!
//! (The read-only requests of PBFT, Castro and Liskov 1999, section 4.4; BFT-SMaRt calls them unordered.)

use bytes::Bytes;

use crate::client::Outcome;
use crate::ids::{Epoch, Slot};
use crate::wire::{DecodeError, Reader, Writer};

/// A query of the client that the link belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The client's number for it, of which it has one under way at a time.
    pub number: u64,
    /// The query and its arguments, as in a command.
    pub payload: Bytes,
}

/// One replica's answer to a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadReply {
    /// The read's number.
    pub number: u64,
    /// The epoch that the replica was in when it executed the query.
    pub epoch: Epoch,
    /// The query was executed after all commands up to this slot, and before those of later ones.
    pub slot: Slot,
    /// [`Outcome::Result`], [`Outcome::ResultDigest`], or [`Outcome::Busy`] if the replica does not answer; then `epoch` and
    /// `slot` mean nothing.
    pub outcome: Outcome,
}

impl Read {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut impl Writer) {
        out.put_u64(self.number);
        out.put_bytes(&self.payload);
    }

    /// Decodes one.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader, payload_bytes_max: usize) -> Result<Self, DecodeError> {
        Ok(Self { number: reader.u64("read")?, payload: reader.bytes("payload", payload_bytes_max)? })
    }
}

impl ReadReply {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut impl Writer) {
        out.put_u64(self.number);
        out.put_u64(self.epoch.0);
        out.put_u64(self.slot.0);
        self.outcome.encode(out);
    }

    /// Decodes one.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader, result_bytes_max: usize) -> Result<Self, DecodeError> {
        let (number, epoch, slot) = (reader.u64("read")?, reader.epoch()?, reader.slot("slot")?);
        let outcome = Outcome::decode(reader, result_bytes_max)?;
        if matches!(outcome, Outcome::Result(_) | Outcome::ResultDigest(_) | Outcome::Busy) {
            Ok(Self { number, epoch, slot, outcome })
        } else {
            Err(DecodeError::Invalid("outcome of a read"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{ClientMessage, ReplicaMessage};
    use crate::digest::Digest;
    use crate::ids::Principal;

    fn frame(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut frame = Vec::new();
        encode(&mut frame);
        frame
    }

    #[test]
    fn reads_survive_the_wire() {
        for full_replies in [false, true] {
            let reads = vec![
                Read { number: 7, payload: Bytes::from_static(b"query") },
                Read { number: u64::MAX, payload: Bytes::new() },
            ];
            let message = ClientMessage::Reads { full_replies, reads };
            let frame = frame(|out| message.encode(out));
            let decode =
                |frame: &[u8], bytes_max| ClientMessage::decode(Principal(1), frame.to_vec().into(), bytes_max);
            assert!((0..frame.len()).all(|end| decode(&frame[..end], 5).is_err()));
            assert!(decode(&frame, 4).is_err(), "a payload above the limit");
            assert_eq!(decode(&frame, 5), Ok(message));
        }
    }

    #[test]
    fn answers_to_reads_survive_the_wire() {
        let outcomes =
            [Outcome::Result(Bytes::from_static(b"r")), Outcome::ResultDigest(Digest([1; 32])), Outcome::Busy];
        let reply = |(number, outcome)| ReadReply { number, epoch: Epoch(2), slot: Slot(9), outcome };
        let message = ReplicaMessage::ReadReplies((1..).zip(outcomes).map(reply).collect());
        let frame = frame(|out| message.encode(out));
        assert!((0..frame.len()).all(|end| ReplicaMessage::decode(frame[..end].to_vec().into(), 100).is_err()));
        assert_eq!(ReplicaMessage::decode(frame.into(), 100), Ok(message));
    }

    #[test]
    fn a_read_has_no_outcome_of_a_session() {
        let reply = ReadReply { number: 1, epoch: Epoch(0), slot: Slot(0), outcome: Outcome::SessionExpired };
        let frame = frame(|out| ReplicaMessage::ReadReplies(vec![reply]).encode(out));
        assert_eq!(ReplicaMessage::decode(frame.into(), 100), Err(DecodeError::Invalid("outcome of a read")));
    }
}
