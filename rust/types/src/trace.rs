//! Which trace of a distributed tracing system a request belongs to.
//!
//! It is said beside the request, never in it: it is not ordered, not agreed, not logged, and no replica's state or reply
//! depends on it.

use crate::wire::{DecodeError, Reader, Writer};

/// The ids of a span, as W3C Trace Context has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The caller's span in it.
    pub span: [u8; 8],
    /// Flags: bit 0 says that the trace is recorded.
    pub flags: u8,
}

impl TraceContext {
    /// How long its encoding is.
    pub const BYTES: usize = 25;

    /// Decodes trace, span and flags.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let (trace, rest) = bytes.split_first_chunk().expect("16 of 25 bytes");
        let (span, flags) = rest.split_first_chunk().expect("8 of 9 bytes");
        Self { trace: *trace, span: *span, flags: flags[0] }
    }
}

/// A request of the client's, by session and sequence, and its place in a trace. Or a read, which has no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTrace {
    /// The request's session; [`RequestTrace::READ`] for a read.
    pub session: u64,
    /// The request's sequence; a read's number, of those on the same link.
    pub sequence: u64,
    /// The span that it was sent in.
    pub context: TraceContext,
}

impl RequestTrace {
    /// What a read has in the place of a session. No session has this number.
    pub const READ: u64 = 0;

    pub(crate) fn encode(&self, out: &mut impl Writer) {
        out.put_u64(self.session);
        out.put_u64(self.sequence);
        out.put(&self.context.trace);
        out.put(&self.context.span);
        out.put_u8(self.context.flags);
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (session, sequence) = (reader.u64("session")?, reader.u64("sequence")?);
        let context = TraceContext::from_bytes(&reader.array("trace context")?);
        Ok(Self { session, sequence, context })
    }
}
