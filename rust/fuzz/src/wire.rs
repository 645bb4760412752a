//! Bytes of others: what decodes is the one encoding of its value, and what does not is refused without a panic.

use bytes::Bytes;
use pssmr_transport::frames_in_pieces;
use pssmr_types::{BatchLimits, ClientMessage, Hello, PROTOCOL_VERSION, PeerMessage, Principal, ReplicaMessage};

use crate::choices::Choices;

const FRAME_BYTES_MAX: usize = 300;

/// Limits narrow enough for inputs to be beyond them.
const NARROW: BatchLimits = BatchLimits { requests_max: 3, bytes_max: 200 };

fn limits(wide: bool) -> BatchLimits {
    if wide { BatchLimits::default() } else { NARROW }
}

/// A link's bytes: the same frames come of them however they are cut.
pub fn frames(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let step = 1 + choices.below(64);
    let stream = choices.rest();
    let whole = frames_in_pieces([stream], FRAME_BYTES_MAX);
    assert_eq!(whole, frames_in_pieces(stream.chunks(step), FRAME_BYTES_MAX), "cuts change nothing");
    let frames = match &whole {
        Ok(frames) | Err((frames, _)) => frames,
    };
    let mut again = Vec::new();
    for frame in frames {
        assert!((1..=FRAME_BYTES_MAX).contains(&frame.len()), "frames are within their bounds");
        again.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        again.extend_from_slice(frame);
    }
    assert!(stream.starts_with(&again), "frames are what was sent, in order");
}

/// A frame of another replica.
pub fn peer_messages(bytes: &[u8]) {
    let Some((first, frame)) = bytes.split_first() else { return };
    let limits = limits(first & 1 == 1);
    if let Ok((epoch, message)) = PeerMessage::decode(Bytes::copy_from_slice(frame), &limits) {
        let mut again = Vec::new();
        message.encode(epoch, &mut again);
        assert_eq!(again, frame, "a {} has one encoding", message.name());
        assert_eq!(PeerMessage::decode(again.into(), &limits), Ok((epoch, message)));
    }
}

/// A frame of a client, of a replica to a client, or the first one of a link.
pub fn client_messages(bytes: &[u8]) {
    let Some((first, frame)) = bytes.split_first() else { return };
    let received = Bytes::copy_from_slice(frame);
    let payload_bytes_max = limits(first & 4 == 4).bytes_max;
    let mut again = Vec::new();
    match first & 3 {
        0 | 3 => match ClientMessage::decode(Principal(7), received, payload_bytes_max) {
            Ok(message) => message.encode(&mut again),
            Err(_) => return,
        },
        1 => match ReplicaMessage::decode(received, payload_bytes_max) {
            Ok(message) => message.encode(&mut again),
            Err(_) => return,
        },
        _ => match Hello::decode(received) {
            Ok(hello) if hello.version == PROTOCOL_VERSION => hello.encode(&mut again),
            _ => return,
        },
    }
    assert_eq!(again, frame, "a message has one encoding");
}
