//! Requests, and the batches of them that slots decide.

use std::sync::Arc;

use bytes::Bytes;

use crate::digest::Digest;
use crate::ids::{ClientId, Principal};
use crate::wire::{DecodeError, Reader, Writer};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A command of the application; its payload is the application's.
    Command,
    /// Open a session; the payload is empty.
    OpenSession,
    /// The digest of the whole state at this request's position; the payload is empty.
    StateDigest,
    /// The same, and a checkpoint after this request's slot; the payload is empty.
    Checkpoint,
    /// Change the membership; the payload is a [`Reconfiguration`](crate::Reconfiguration).
    Reconfigure,
    /// Go over to a later version of the service; the payload is an [`Upgrade`](crate::Upgrade).
    Upgrade,
}

impl Operation {
    fn tag(self) -> u8 {
        match self {
            Self::Command => 0,
            Self::OpenSession => 1,
            Self::StateDigest => 2,
            Self::Checkpoint => 3,
            Self::Reconfigure => 4,
            Self::Upgrade => 5,
        }
    }

    fn from_tag(tag: u8) -> Result<Self, DecodeError> {
        match tag {
            0 => Ok(Self::Command),
            1 => Ok(Self::OpenSession),
            2 => Ok(Self::StateDigest),
            3 => Ok(Self::Checkpoint),
            4 => Ok(Self::Reconfigure),
            5 => Ok(Self::Upgrade),
            _ => Err(DecodeError::UnknownTag("operation", tag)),
        }
    }
}

/// session, sequence, acknowledged, operation, payload length.
const BODY_HEADER_BYTES: usize = 8 + 8 + 8 + 1 + 4;

/// One client's request, with the bytes that it came in.
///
/// The body is what the client sent, and what a batch contains, to the byte; a replica that has the same request from
/// the client itself compares bodies. The client's principal is not in the body: the link proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who sent it, in which session.
    pub client: ClientId,
    /// The request's number in its session, ascending from 1. In [`Operation::OpenSession`], a random number.
    pub sequence: u64,
    /// The client has the replies to all its sequences below this one: replicas may forget them.
    pub acknowledged: u64,
    /// What is asked for.
    pub operation: Operation,
    body: Bytes,
}

impl Request {
    /// A client's new request.
    ///
    /// # Panics
    /// On a payload of 4 GiB or more: the client checks sizes before it comes here.
    pub fn new(client: ClientId, sequence: u64, acknowledged: u64, operation: Operation, payload: &[u8]) -> Self {
        let mut body = Vec::with_capacity(BODY_HEADER_BYTES + payload.len());
        body.put_u64(client.session);
        body.put_u64(sequence);
        body.put_u64(acknowledged);
        body.put_u8(operation.tag());
        body.put_bytes(payload);
        Self { client, sequence, acknowledged, operation, body: body.into() }
    }

    /// Takes a request of `principal` off the reader.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(principal: Principal, reader: &mut Reader, payload_bytes_max: usize) -> Result<Self, DecodeError> {
        let start = reader.rest().clone();
        let session = reader.u64("session")?;
        let sequence = reader.u64("sequence")?;
        let acknowledged = reader.u64("acknowledged")?;
        let operation = Operation::from_tag(reader.u8("operation")?)?;
        let payload = reader.bytes("payload", payload_bytes_max)?;
        let may_have_payload = matches!(operation, Operation::Command | Operation::Reconfigure | Operation::Upgrade);
        if !may_have_payload && !payload.is_empty() {
            return Err(DecodeError::Invalid("the payload of an operation that has none"));
        }
        if (operation == Operation::OpenSession) != (session == 0) {
            return Err(DecodeError::Invalid("session"));
        }
        if operation != Operation::OpenSession && (sequence == 0 || acknowledged > sequence) {
            return Err(DecodeError::Invalid("sequence"));
        }
        let body = start.slice(..BODY_HEADER_BYTES + payload.len());
        Ok(Self { client: ClientId { principal, session }, sequence, acknowledged, operation, body })
    }

    /// The bytes that the client sent.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The operation's argument: a slice of the body.
    pub fn payload(&self) -> Bytes {
        self.body.slice(BODY_HEADER_BYTES..)
    }

    /// What the request costs in a batch, in bytes.
    pub fn batch_bytes(&self) -> usize {
        8 + self.body.len()
    }
}

/// Bounds on a batch. The same at every replica: a batch beyond them is not voted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most requests in a batch.
    pub requests_max: usize,
    /// Most bytes of requests in a batch. A single request may not be larger either.
    pub bytes_max: usize,
}

impl BatchLimits {
    /// The widest that can be configured. What was decided once is read with these: limits may have been narrowed since.
    pub const WIDEST: Self = Self { requests_max: 65_536, bytes_max: 64 << 20 };
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { requests_max: 4096, bytes_max: 4 << 20 }
    }
}

#[derive(Debug)]
struct BatchInner {
    bytes: Bytes,
    digest: Digest,
    timestamp: u64,
    requests: Vec<Request>,
}

/// What one slot decides: requests in order, and the leader's clock, which the replicas agree on by deciding it.
///
/// Cheap to clone. The digest is of the encoded bytes.
#[derive(Clone, Debug)]
pub struct Batch(Arc<BatchInner>);

impl PartialEq for Batch {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Batch {}

impl Batch {
    /// A new batch. `timestamp` is in nanoseconds since the Unix epoch.
    pub fn new(timestamp: u64, requests: Vec<Request>) -> Self {
        let size = 12 + requests.iter().map(Request::batch_bytes).sum::<usize>();
        let mut bytes = Vec::with_capacity(size);
        bytes.put_u64(timestamp);
        bytes.put_count(requests.len());
        for request in &requests {
            bytes.put_u64(request.client.principal.0);
            bytes.put(request.body());
        }
        Self::from_parts(bytes.into(), timestamp, requests)
    }

    /// Decodes a batch that takes up all of `bytes`.
    ///
    /// # Errors
    /// [`DecodeError`], also when it is beyond `limits`.
    pub fn decode(bytes: &Bytes, limits: &BatchLimits) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes.clone());
        let timestamp = reader.u64("timestamp")?;
        let count = reader.count("requests of a batch", limits.requests_max)?;
        let start = reader.rest().len();
        // What a request takes at least bounds the allocation by the bytes that really came.
        if start < count * (8 + BODY_HEADER_BYTES) {
            return Err(DecodeError::Truncated("requests of a batch"));
        }
        if start > limits.bytes_max {
            return Err(DecodeError::TooLarge {
                what: "bytes of a batch",
                got: start as u64,
                limit: limits.bytes_max as u64,
            });
        }
        let mut requests = Vec::with_capacity(count);
        for _ in 0..count {
            let principal = Principal(reader.u64("principal")?);
            requests.push(Request::decode(principal, &mut reader, limits.bytes_max)?);
        }
        reader.finish()?;
        Ok(Self::from_parts(bytes.clone(), timestamp, requests))
    }

    fn from_parts(bytes: Bytes, timestamp: u64, requests: Vec<Request>) -> Self {
        let digest = Digest::of("pssmr batch 1", &bytes);
        Self(Arc::new(BatchInner { bytes, digest, timestamp, requests }))
    }

    /// The encoded form.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// The digest of the encoded form.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The leader's clock, in nanoseconds since the Unix epoch.
    pub fn timestamp(&self) -> u64 {
        self.0.timestamp
    }

    /// The requests, in order.
    pub fn requests(&self) -> &[Request] {
        &self.0.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sequence: u64, payload: &[u8]) -> Request {
        Request::new(ClientId { principal: Principal(5), session: 9 }, sequence, sequence, Operation::Command, payload)
    }

    #[test]
    fn a_batch_survives_the_wire() {
        let batch = Batch::new(77, vec![request(1, b""), request(2, b"payload")]);
        let again = Batch::decode(batch.bytes(), &BatchLimits::default()).unwrap();
        assert_eq!(again, batch);
        assert_eq!(again.digest(), batch.digest());
        assert_eq!(again.timestamp(), 77);
        assert_eq!(again.requests(), batch.requests());
        assert_eq!(&again.requests()[1].payload()[..], b"payload");
    }

    #[test]
    fn a_batch_beyond_a_limit_is_refused() {
        let batch = Batch::new(0, vec![request(1, b"0123456789"), request(2, b"")]);
        let few = BatchLimits { requests_max: 1, ..BatchLimits::default() };
        let small = BatchLimits { bytes_max: 40, ..BatchLimits::default() };
        assert!(matches!(Batch::decode(batch.bytes(), &few), Err(DecodeError::TooLarge { .. })));
        assert!(matches!(Batch::decode(batch.bytes(), &small), Err(DecodeError::TooLarge { .. })));
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_allocates_nothing() {
        let mut bytes = Vec::new();
        bytes.put_u64(0);
        bytes.put_u32(4000);
        let error = Batch::decode(&bytes.into(), &BatchLimits::default()).unwrap_err();
        assert_eq!(error, DecodeError::Truncated("requests of a batch"));
    }

    #[test]
    fn requests_that_no_client_makes_are_refused() {
        let decode = |request: &Request| {
            Request::decode(request.client.principal, &mut Reader::new(request.body().clone()), 100)
        };
        let none = ClientId { principal: Principal(5), session: 0 };
        let some = ClientId { principal: Principal(5), session: 3 };
        assert!(decode(&Request::new(none, 1, 1, Operation::Command, b"")).is_err());
        assert!(decode(&Request::new(some, 1, 1, Operation::OpenSession, b"")).is_err());
        assert!(decode(&Request::new(some, 0, 0, Operation::Command, b"")).is_err());
        assert!(decode(&Request::new(some, 1, 2, Operation::Command, b"")).is_err());
        assert!(decode(&Request::new(some, 1, 1, Operation::StateDigest, b"x")).is_err());
        assert!(decode(&Request::new(some, 1, 1, Operation::Command, &[0; 101])).is_err());
        assert!(decode(&Request::new(some, 1, 1, Operation::Command, &[0; 100])).is_ok());
    }
}
