//! Replies: what a command answers, as bytes that are equal on all correct replicas.
//!
//! | first byte | meaning | then |
//! |---|---|---|
//! | 0 | result | a `MessagePack` value |
//! | 1 | application error | `MessagePack` string: its name; `MessagePack` array: its arguments |
//! | 2 | the handler failed | `MessagePack` string: the name of the exception's type |
//! | 3 | refused, not executed | one byte: the code of the [`Refusal`]; `MessagePack` string: what is wrong |
//! | 4 | to several operations | `MessagePack` array of byte strings: a reply to each |
//! | 5 | a transaction is undone | `MessagePack` integer: which operation has failed, from 0; byte string: the reply to it |

use bytes::Bytes;

use crate::extract::Refusal;
use crate::messagepack::{self, Malformed, Reader, Token};

const RESULT: u8 = 0;
const APPLICATION_ERROR: u8 = 1;
const HANDLER_FAILED: u8 = 2;
const REFUSED: u8 = 3;
const SEVERAL: u8 = 4;
const OPERATION_FAILED: u8 = 5;

/// The reply with the result `nil`.
pub(crate) const NIL: &[u8] = &[RESULT, 0xc0];

/// How many of the replies of [`integers`] lie together: all of them stay in memory as long as one is kept, half a KiB at
/// most.
const INTEGERS_TOGETHER: usize = 48;

/// A reply, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The command's result: one `MessagePack` value.
    Result(Bytes),
    /// The command ended in an error that the application declares.
    ApplicationError {
        /// The error's name.
        name: String,
        /// Its arguments: a `MessagePack` array.
        arguments: Bytes,
    },
    /// The command's handler failed in a way that it does not declare. What it had written was rolled back.
    HandlerFailed {
        /// The name of the exception's type.
        exception: String,
    },
    /// The command was not executed.
    Refused {
        /// [`Refusal::code`].
        code: u8,
        /// What is wrong with the command.
        message: String,
    },
    /// The operations of a batch, or of a transaction that has ended well, have these replies.
    Several(Vec<Bytes>),
    /// An operation of a transaction has failed. What it and those before it had written was rolled back.
    OperationFailed {
        /// Which one, from 0.
        place: u64,
        /// The reply to it.
        reply: Bytes,
    },
}

/// Why bytes are not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedReply {
    /// The first byte is not that of a reply.
    #[error("not a kind of reply")]
    Kind,
    /// A part is malformed or of the wrong type.
    #[error("a part of the reply is malformed")]
    Part,
}

impl From<Malformed> for MalformedReply {
    fn from(_: Malformed) -> Self {
        Self::Part
    }
}

/// The reply with this result, which must be one `MessagePack` value.
pub fn result(value: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(1 + value.len());
    out.push(RESULT);
    out.extend_from_slice(value);
    Bytes::from(out)
}

/// The reply with the result `nil`. It takes no memory of its own.
pub fn nil() -> Bytes {
    Bytes::from_static(NIL)
}

/// The replies with these results. Some lie together in one piece of memory, which costs less than one for each.
pub fn integers(values: &[i64]) -> Vec<Bytes> {
    let mut replies = Vec::with_capacity(values.len());
    let (mut piece, mut lengths) = (Vec::new(), Vec::with_capacity(INTEGERS_TOGETHER));
    for together in values.chunks(INTEGERS_TOGETHER) {
        for value in together {
            let start = piece.len();
            piece.push(RESULT);
            messagepack::write_signed(&mut piece, *value);
            lengths.push(piece.len() - start);
        }
        let mut rest = Bytes::copy_from_slice(&piece);
        replies.extend(lengths.drain(..).map(|length| rest.split_to(length)));
        piece.clear();
    }
    replies
}

/// The reply with an error of the application; `arguments` must be a `MessagePack` array.
pub fn application_error(name: &str, arguments: &[u8]) -> Bytes {
    let mut out = vec![APPLICATION_ERROR];
    messagepack::write_str(&mut out, name);
    out.extend_from_slice(arguments);
    Bytes::from(out)
}

/// The reply of a handler that failed with an exception of this type.
pub fn handler_failed(exception: &str) -> Bytes {
    let mut out = vec![HANDLER_FAILED];
    messagepack::write_str(&mut out, exception);
    Bytes::from(out)
}

/// The reply to a command that is refused.
pub fn refused(refusal: &Refusal) -> Bytes {
    let mut out = vec![REFUSED, refusal.code()];
    messagepack::write_str(&mut out, &refusal.to_string());
    Bytes::from(out)
}

/// The reply to a request of several operations.
pub(crate) fn several<'a>(replies: impl ExactSizeIterator<Item = &'a [u8]>) -> Bytes {
    let mut out = vec![SEVERAL];
    messagepack::write_array(&mut out, replies.len() as u32);
    replies.for_each(|reply| messagepack::write_bin(&mut out, reply));
    Bytes::from(out)
}

/// The reply to a transaction whose operation at `place` has failed with `reply`.
pub(crate) fn operation_failed(place: usize, reply: &[u8]) -> Bytes {
    let mut out = vec![OPERATION_FAILED];
    messagepack::write_unsigned(&mut out, place as u64);
    messagepack::write_bin(&mut out, reply);
    Bytes::from(out)
}

impl Reply {
    /// Takes a reply apart. What it holds are slices of `bytes` where that is possible.
    ///
    /// # Errors
    /// [`MalformedReply`].
    pub fn decode(bytes: &Bytes) -> Result<Self, MalformedReply> {
        let mut reader = Reader::new(bytes);
        let kind = reader.take(1)?[0];
        let reply = match kind {
            RESULT => Self::Result(bytes.slice_ref(reader.value()?)),
            APPLICATION_ERROR => {
                let name = string(&mut reader)?;
                let arguments = reader.value()?;
                if !matches!(Reader::new(arguments).token(), Ok(Token::Array(_))) {
                    return Err(MalformedReply::Part);
                }
                Self::ApplicationError { name, arguments: bytes.slice_ref(arguments) }
            }
            HANDLER_FAILED => Self::HandlerFailed { exception: string(&mut reader)? },
            REFUSED => Self::Refused { code: reader.take(1)?[0], message: string(&mut reader)? },
            SEVERAL => Self::Several(replies(bytes, &mut reader)?),
            OPERATION_FAILED => {
                let Token::Unsigned(place) = reader.token()? else { return Err(MalformedReply::Part) };
                Self::OperationFailed { place, reply: byte_string(bytes, &mut reader)? }
            }
            _ => return Err(MalformedReply::Kind),
        };
        reader.finish()?;
        Ok(reply)
    }
}

fn string(reader: &mut Reader<'_>) -> Result<String, MalformedReply> {
    match reader.token()? {
        Token::Str(text) => Ok(text.to_owned()),
        _ => Err(MalformedReply::Part),
    }
}

fn replies(bytes: &Bytes, reader: &mut Reader<'_>) -> Result<Vec<Bytes>, MalformedReply> {
    let Token::Array(count) = reader.token()? else { return Err(MalformedReply::Part) };
    // Each takes a byte at least, so there is no more room taken than bytes were sent.
    (0..count).map(|_| byte_string(bytes, reader)).collect()
}

fn byte_string(bytes: &Bytes, reader: &mut Reader<'_>) -> Result<Bytes, MalformedReply> {
    match reader.token()? {
        Token::Bin(reply) => Ok(bytes.slice_ref(reply)),
        _ => Err(MalformedReply::Part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_survives_the_wire() {
        assert_eq!(Reply::decode(&result(&[0x2a])), Ok(Reply::Result(Bytes::from_static(&[0x2a]))));
        assert_eq!(
            Reply::decode(&application_error("Refused", &[0x91, 0x01])),
            Ok(Reply::ApplicationError { name: "Refused".into(), arguments: Bytes::from_static(&[0x91, 0x01]) })
        );
        assert_eq!(
            Reply::decode(&handler_failed("KeyError")),
            Ok(Reply::HandlerFailed { exception: "KeyError".into() })
        );
        assert_eq!(
            Reply::decode(&refused(&Refusal::UnknownCommand)),
            Ok(Reply::Refused { code: 2, message: "unknown command".into() })
        );
        assert_eq!(
            Reply::decode(&several([b"\x00\xc0", &b""[..]].into_iter())),
            Ok(Reply::Several(vec![Bytes::from_static(b"\x00\xc0"), Bytes::new()]))
        );
        assert_eq!(
            Reply::decode(&operation_failed(3, b"\x02\xa1x")),
            Ok(Reply::OperationFailed { place: 3, reply: Bytes::from_static(b"\x02\xa1x") })
        );
    }

    #[test]
    fn integers_together_are_the_replies_that_each_would_have_alone() {
        let values: Vec<i64> = (0..100).flat_map(|n| [n, -n, n << 20, i64::MIN + n, i64::MAX - n]).collect();
        let alone = |value: &i64| {
            let mut encoding = Vec::new();
            messagepack::write_signed(&mut encoding, *value);
            result(&encoding)
        };
        assert_eq!(integers(&values), values.iter().map(alone).collect::<Vec<_>>());
        assert_eq!(Reply::decode(&nil()), Reply::decode(&result(&[0xc0])));
    }

    #[test]
    fn what_is_not_a_reply_is_an_error() {
        for (bytes, error) in [
            (&b""[..], MalformedReply::Part),
            (b"\x09", MalformedReply::Kind),
            (b"\x00", MalformedReply::Part),
            (b"\x00\x01\x02", MalformedReply::Part),
            (b"\x01\xa1x\x01", MalformedReply::Part),
            (b"\x02\x01", MalformedReply::Part),
            (b"\x03", MalformedReply::Part),
            (b"\x04\xc4\x00", MalformedReply::Part),
            (b"\x04\x91\x01", MalformedReply::Part),
            (b"\x04\x92\xc4\x00", MalformedReply::Part),
            (b"\x05\xc4\x00", MalformedReply::Part),
            (b"\x05\x01\x01", MalformedReply::Part),
        ] {
            assert_eq!(Reply::decode(&Bytes::from_static(bytes)), Err(error), "{bytes:?}");
        }
    }
}
