//! What clients and replicas say to each other, and how a link begins.

use bytes::Bytes;

use crate::digest::{ClusterId, Digest};
use crate::handover::{HANDOVERS_MAX, Handover};
use crate::ids::{Epoch, Principal, ReplicaId};
use crate::read::{Read, ReadReply};
use crate::request::Request;
use crate::trace::RequestTrace;
use crate::wire::{DecodeError, PROTOCOL_VERSION, Reader, Writer};

/// Most requests or replies in one frame.
pub const FRAME_ITEMS_MAX: usize = 4096;

/// The first frame on every link, in both directions: whether the two sides can work together at all. Who the other
/// side is, the link has proved before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// The cluster.
    pub cluster: ClusterId,
    /// The digest of all settings that must be the same at every replica.
    pub agreed_settings: Digest,
    /// The last epoch whose membership it knows.
    pub epoch: Epoch,
    /// The digest of that membership; a client, which may know other addresses, says zeros.
    pub membership: Digest,
}

impl Hello {
    /// A greeting in this version of the protocol, of somebody who knows this membership.
    pub fn new(cluster: ClusterId, agreed_settings: Digest, epoch: Epoch, membership: Digest) -> Self {
        Self { version: PROTOCOL_VERSION, cluster, agreed_settings, epoch, membership }
    }

    /// Appends the frame's bytes.
    pub fn encode(&self, out: &mut impl Writer) {
        out.put(b"pssmr");
        out.put_u32(self.version);
        out.put(&self.cluster.0);
        out.put_digest(&self.agreed_settings);
        out.put_u64(self.epoch.0);
        out.put_digest(&self.membership);
    }

    /// Decodes a frame. Of another version's, only the version is read.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(frame: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame);
        if &reader.array::<5>("greeting")? != b"pssmr" {
            return Err(DecodeError::Invalid("greeting"));
        }
        let version = reader.u32("version")?;
        if version != PROTOCOL_VERSION {
            return Ok(Self { version, ..Self::default() });
        }
        let hello = Self {
            version,
            cluster: ClusterId(reader.array("cluster")?),
            agreed_settings: reader.digest("agreed settings")?,
            epoch: reader.epoch()?,
            membership: reader.digest("membership")?,
        };
        reader.finish()?;
        Ok(hello)
    }
}

/// A message from a client to a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// Requests to order. With `full_replies`, the replica sends results whole even where a digest would do: a client
    /// asks for it when it sends a request again.
    Requests {
        /// Whether digests won't do.
        full_replies: bool,
        /// The requests.
        requests: Vec<Request>,
    },
    /// Asks the replica how it is.
    StatusQuery,
    /// Which traces requests belong to that follow on the same link. Only sent of those that belong to one.
    Traces(Vec<RequestTrace>),
    /// Queries to answer without ordering them.
    Reads {
        /// Whether digests won't do, as for requests.
        full_replies: bool,
        /// The queries.
        reads: Vec<Read>,
    },
}

/// What became of a request, at one replica. The first four are the same at every correct replica that executed the
/// request, and a client believes one when k replicas say the same; the last two are the replica's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was executed, and this is the result.
    Result(Bytes),
    /// It was executed, and this is the digest of the result: another replica sends the whole.
    ResultDigest(Digest),
    /// The session is open, and this is its number.
    SessionOpened(u64),
    /// The session is not open, or no more. Whether the request was executed earlier is not known.
    SessionExpired,
    /// The sequence is outside the session's window: its reply was acknowledged and forgotten, or it is too far ahead.
    OutsideWindow,
    /// The replica has too much to do to take the request now. Of a read: or it does not vote now.
    Busy,
}

impl Outcome {
    /// The digest by which a client compares outcomes. A result and its digest are the same outcome.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Result(result) => result_digest(result),
            Self::ResultDigest(digest) => *digest,
            Self::SessionOpened(session) => Digest::of("pssmr session opened 1", &session.to_le_bytes()),
            Self::SessionExpired => Digest::of("pssmr session expired 1", b""),
            Self::OutsideWindow => Digest::of("pssmr outside window 1", b""),
            Self::Busy => Digest::of("pssmr busy 1", b""),
        }
    }

    pub(crate) fn encode(&self, out: &mut impl Writer) {
        match self {
            Self::Result(result) => {
                out.put_u8(1);
                out.put_bytes(result);
            }
            Self::ResultDigest(digest) => {
                out.put_u8(2);
                out.put_digest(digest);
            }
            Self::SessionOpened(session) => {
                out.put_u8(3);
                out.put_u64(*session);
            }
            Self::SessionExpired => out.put_u8(4),
            Self::OutsideWindow => out.put_u8(5),
            Self::Busy => out.put_u8(6),
        }
    }

    pub(crate) fn decode(reader: &mut Reader, result_bytes_max: usize) -> Result<Self, DecodeError> {
        Ok(match reader.u8("outcome")? {
            1 => Self::Result(reader.bytes("result", result_bytes_max)?),
            2 => Self::ResultDigest(reader.digest("result digest")?),
            3 => Self::SessionOpened(reader.u64("session opened")?),
            4 => Self::SessionExpired,
            5 => Self::OutsideWindow,
            6 => Self::Busy,
            other => return Err(DecodeError::UnknownTag("outcome", other)),
        })
    }
}

/// The digest of a result, as replicas send it and clients compare it.
pub fn result_digest(result: &[u8]) -> Digest {
    Digest::of("pssmr result 1", result)
}

/// One replica's answer to one request of the client that the link belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's session.
    pub session: u64,
    /// The request's sequence.
    pub sequence: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// A message from a replica to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplicaMessage {
    /// Answers.
    Replies(Vec<Reply>),
    /// How the replica is: a JSON object.
    Status(Bytes),
    /// Proofs of the memberships after the last one that the client knows, each of the one after the one before.
    Handovers(Vec<Handover>),
    /// Answers to reads.
    ReadReplies(Vec<ReadReply>),
    /// Who leads, for clients that ask the leader first. A hint.
    Leader {
        /// The epoch.
        epoch: Epoch,
        /// The number of the view in it.
        view: u64,
        /// The view's leader.
        leader: ReplicaId,
    },
}

impl ClientMessage {
    /// Appends the frame's bytes.
    pub fn encode(&self, out: &mut impl Writer) {
        match self {
            Self::Requests { full_replies, requests } => {
                out.put_u8(if *full_replies { 2 } else { 1 });
                out.put_count(requests.len());
                for request in requests {
                    out.put(request.body());
                }
            }
            Self::StatusQuery => out.put_u8(3),
            Self::Traces(traces) => {
                out.put_u8(4);
                out.put_count(traces.len());
                for trace in traces {
                    trace.encode(out);
                }
            }
            Self::Reads { full_replies, reads } => {
                out.put_u8(if *full_replies { 6 } else { 5 });
                out.put_count(reads.len());
                for read in reads {
                    read.encode(out);
                }
            }
        }
    }

    /// Decodes a frame of the client that the link proves to be `principal`.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(principal: Principal, frame: Bytes, payload_bytes_max: usize) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame);
        let message = match reader.u8("message")? {
            kind @ (1 | 2) => {
                let count = reader.count("requests", FRAME_ITEMS_MAX)?;
                let mut requests = Vec::new();
                for _ in 0..count {
                    requests.push(Request::decode(principal, &mut reader, payload_bytes_max)?);
                }
                Self::Requests { full_replies: kind == 2, requests }
            }
            3 => Self::StatusQuery,
            4 => {
                let count = reader.count("traces", FRAME_ITEMS_MAX)?;
                Self::Traces((0..count).map(|_| RequestTrace::decode(&mut reader)).collect::<Result<_, _>>()?)
            }
            kind @ (5 | 6) => {
                let count = reader.count("reads", FRAME_ITEMS_MAX)?;
                let reads = (0..count).map(|_| Read::decode(&mut reader, payload_bytes_max));
                Self::Reads { full_replies: kind == 6, reads: reads.collect::<Result<_, _>>()? }
            }
            other => return Err(DecodeError::UnknownTag("message", other)),
        };
        reader.finish()?;
        Ok(message)
    }
}

impl ReplicaMessage {
    /// Appends the frame's bytes.
    pub fn encode(&self, out: &mut impl Writer) {
        match self {
            Self::Replies(replies) => {
                out.put_u8(1);
                out.put_count(replies.len());
                for reply in replies {
                    encode_reply(reply, out);
                }
            }
            Self::Status(json) => {
                out.put_u8(2);
                out.put_bytes(json);
            }
            Self::Handovers(handovers) => {
                out.put_u8(3);
                out.put_count(handovers.len());
                for handover in handovers {
                    handover.encode(out);
                }
            }
            Self::ReadReplies(replies) => {
                out.put_u8(4);
                out.put_count(replies.len());
                for reply in replies {
                    reply.encode(out);
                }
            }
            Self::Leader { epoch, view, leader } => {
                out.put_u8(5);
                out.put_u64(epoch.0);
                out.put_u64(*view);
                out.put_u16(leader.0);
            }
        }
    }

    /// Decodes a frame.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(frame: Bytes, result_bytes_max: usize) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame);
        let message = match reader.u8("message")? {
            1 => {
                let count = reader.count("replies", FRAME_ITEMS_MAX)?;
                let mut replies = Vec::new();
                for _ in 0..count {
                    replies.push(decode_reply(&mut reader, result_bytes_max)?);
                }
                Self::Replies(replies)
            }
            2 => Self::Status(reader.bytes("status", result_bytes_max)?),
            3 => {
                let count = reader.count("handovers", HANDOVERS_MAX)?;
                let mut handovers = Vec::new();
                for _ in 0..count {
                    handovers.push(Handover::decode(&mut reader)?);
                }
                Self::Handovers(handovers)
            }
            4 => {
                let count = reader.count("replies", FRAME_ITEMS_MAX)?;
                let replies = (0..count).map(|_| ReadReply::decode(&mut reader, result_bytes_max));
                Self::ReadReplies(replies.collect::<Result<_, _>>()?)
            }
            5 => {
                let (epoch, view) = (reader.epoch()?, reader.u64("view")?);
                Self::Leader { epoch, view, leader: reader.replica()? }
            }
            other => return Err(DecodeError::UnknownTag("message", other)),
        };
        reader.finish()?;
        Ok(message)
    }
}

fn encode_reply(reply: &Reply, out: &mut impl Writer) {
    out.put_u64(reply.session);
    out.put_u64(reply.sequence);
    reply.outcome.encode(out);
}

fn decode_reply(reader: &mut Reader, result_bytes_max: usize) -> Result<Reply, DecodeError> {
    let (session, sequence) = (reader.u64("session")?, reader.u64("sequence")?);
    Ok(Reply { session, sequence, outcome: Outcome::decode(reader, result_bytes_max)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Slot;
    use crate::keys::SecretKey;
    use crate::membership::Membership;
    use crate::quorums::FaultModel;
    use crate::trace::TraceContext;

    #[test]
    fn replies_survive_the_wire() {
        let outcomes = [
            Outcome::Result(Bytes::from_static(b"result")),
            Outcome::ResultDigest(Digest([4; 32])),
            Outcome::SessionOpened(7),
            Outcome::SessionExpired,
            Outcome::OutsideWindow,
            Outcome::Busy,
        ];
        let replies = outcomes.into_iter().zip(1..).map(|(outcome, sequence)| Reply { session: 3, sequence, outcome });
        let message = ReplicaMessage::Replies(replies.collect());
        let mut frame = Vec::new();
        message.encode(&mut frame);
        assert_eq!(ReplicaMessage::decode(frame.into(), 100), Ok(message));
    }

    #[test]
    fn traces_survive_the_wire() {
        let context = TraceContext { trace: [0x4b; 16], span: [0xf0; 8], flags: 1 };
        let message = ClientMessage::Traces(vec![RequestTrace { session: 3, sequence: 8, context }]);
        let mut frame = Vec::new();
        message.encode(&mut frame);
        assert_eq!(frame.len(), 1 + 4 + 16 + TraceContext::BYTES);
        let decode = |frame: &[u8]| ClientMessage::decode(Principal(1), frame.to_vec().into(), 100);
        assert!((0..frame.len()).all(|end| decode(&frame[..end]).is_err()));
        assert_eq!(decode(&frame), Ok(message));
    }

    #[test]
    fn proofs_of_memberships_survive_the_wire() {
        let key = SecretKey::from_seed([1; 32]);
        let next = Membership::new(ClusterId([2; 16]), Epoch(1), FaultModel::Crash, vec![key.public()]).unwrap();
        let signatures = vec![(ReplicaId(0), key.sign(b"the end"))];
        let handover = Handover { slot: Slot(9), digest: Digest([3; 32]), next, signatures };
        let message = ReplicaMessage::Handovers(vec![handover]);
        let mut frame = Vec::new();
        message.encode(&mut frame);
        assert!((0..frame.len()).all(|end| ReplicaMessage::decode(frame[..end].to_vec().into(), 100).is_err()));
        assert_eq!(ReplicaMessage::decode(frame.into(), 100), Ok(message));
    }

    #[test]
    fn who_leads_survives_the_wire() {
        let message = ReplicaMessage::Leader { epoch: Epoch(2), view: 9, leader: ReplicaId(3) };
        let mut frame = Vec::new();
        message.encode(&mut frame);
        assert!((0..frame.len()).all(|end| ReplicaMessage::decode(frame[..end].to_vec().into(), 100).is_err()));
        assert_eq!(ReplicaMessage::decode(frame.into(), 100), Ok(message));
    }

    #[test]
    fn a_result_and_its_digest_are_the_same_outcome() {
        let result = Outcome::Result(Bytes::from_static(b"result"));
        assert_eq!(Outcome::ResultDigest(result.digest()).digest(), result.digest());
        assert_ne!(Outcome::SessionExpired.digest(), Outcome::OutsideWindow.digest());
    }

    #[test]
    fn a_greeting_of_another_version_can_be_read_as_such() {
        let mut frame = Vec::new();
        frame.put(b"pssmr");
        frame.put_u32(99);
        frame.put(b"whatever comes after");
        assert_eq!(Hello::decode(frame.into()).unwrap().version, 99);
        assert!(Hello::decode(Bytes::from_static(b"GET / HTTP/1.1")).is_err());
    }
}
