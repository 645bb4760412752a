//! Frames: a length in bytes (u32, little endian), then so many bytes of payload.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::FrameError;

/// The length that comes before each payload.
pub(crate) const HEADER_BYTES: usize = 4;

/// Frames of one link are sliced from chunks of this size.
pub(crate) const CHUNK_BYTES: usize = 64 * 1024;

/// A frame that came in parts and is not longer than this is copied among its neighbours, and the memory that collected
/// its parts is used again.
const COPY_BYTES_MAX: usize = 4096;

/// Appends one frame to `queue`; `write` appends its payload. Returns the payload's length.
pub(crate) fn append_frame(queue: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> usize {
    let start = queue.len();
    queue.extend_from_slice(&[0; HEADER_BYTES]);
    write(queue);
    let payload = queue.len().checked_sub(start + HEADER_BYTES).expect("the writer of a frame only appends");
    // A length over u32 is over frame_bytes_max too: the caller takes such a frame back.
    queue[start..start + HEADER_BYTES].copy_from_slice(&(payload as u32).to_le_bytes());
    payload
}

/// Makes frames of one link's bytes, however they were cut.
///
/// Frames that come whole are copied once, together, into a chunk that all links share, and are slices of it. Only a
/// frame that comes in parts has memory of its own, which grows with the parts.
#[derive(Debug)]
pub(crate) struct FrameDecoder {
    frame_bytes_max: usize,
    /// The beginning of a frame, header included, that has not come whole.
    partial: BytesMut,
}

impl FrameDecoder {
    pub(crate) fn new(frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max, partial: BytesMut::new() }
    }

    /// Takes the link's next bytes and delivers the frames that they complete. After an error the link has no more
    /// frames.
    pub(crate) fn decode(
        &mut self,
        mut bytes: &[u8],
        chunk: &mut BytesMut,
        mut deliver: impl FnMut(Bytes),
    ) -> Result<(), FrameError> {
        if !self.partial.is_empty() {
            self.take_until(HEADER_BYTES, &mut bytes);
            if self.partial.len() < HEADER_BYTES {
                return Ok(());
            }
            let end = self.frame_end(&self.partial)?;
            self.take_until(end, &mut bytes);
            if self.partial.len() < end {
                return Ok(());
            }
            deliver(self.take_partial(chunk));
        }
        let (whole, error) = self.whole_frames(bytes);
        if whole > 0 {
            chunk.extend_from_slice(&bytes[..whole]);
            while !chunk.is_empty() {
                let payload = chunk.get_u32_le() as usize;
                deliver(chunk.split_to(payload).freeze());
            }
        }
        if let Some(error) = error {
            return Err(error);
        }
        self.partial.extend_from_slice(&bytes[whole..]);
        Ok(())
    }

    /// How many of `bytes` are whole frames, and what is wrong behind them.
    fn whole_frames(&self, bytes: &[u8]) -> (usize, Option<FrameError>) {
        let mut whole = 0;
        while bytes.len() - whole >= HEADER_BYTES {
            match self.frame_end(&bytes[whole..]) {
                Ok(end) if end <= bytes.len() - whole => whole += end,
                Ok(_) => break,
                Err(error) => return (whole, Some(error)),
            }
        }
        (whole, None)
    }

    /// Where the frame ends that `bytes` begin with, header included.
    fn frame_end(&self, bytes: &[u8]) -> Result<usize, FrameError> {
        let mut header = &bytes[..HEADER_BYTES];
        let payload = header.get_u32_le() as usize;
        match payload {
            0 => Err(FrameError::Empty),
            _ if payload > self.frame_bytes_max => {
                Err(FrameError::TooLarge { bytes: payload, bytes_max: self.frame_bytes_max })
            }
            _ => Ok(HEADER_BYTES + payload),
        }
    }

    /// Moves bytes to the partial frame until it has `len` of them.
    fn take_until(&mut self, len: usize, bytes: &mut &[u8]) {
        let missing = len.saturating_sub(self.partial.len()).min(bytes.len());
        let (now, later) = bytes.split_at(missing);
        self.partial.extend_from_slice(now);
        *bytes = later;
    }

    /// The payload of the partial frame, which is whole now.
    fn take_partial(&mut self, chunk: &mut BytesMut) -> Bytes {
        if self.partial.len() <= COPY_BYTES_MAX {
            chunk.extend_from_slice(&self.partial[HEADER_BYTES..]);
            self.partial.clear();
            return chunk.split().freeze();
        }
        let mut frame = std::mem::take(&mut self.partial).freeze();
        frame.advance(HEADER_BYTES);
        frame
    }
}

/// The frames in `pieces`, which are one link's bytes as they came, and what is wrong behind them.
///
/// # Errors
/// The frames before the error, and the error.
#[cfg(feature = "fuzzing")]
pub fn frames_in_pieces<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    frame_bytes_max: usize,
) -> Result<Vec<Bytes>, (Vec<Bytes>, FrameError)> {
    let (mut decoder, mut chunk) = (FrameDecoder::new(frame_bytes_max), BytesMut::with_capacity(CHUNK_BYTES));
    let mut frames = Vec::new();
    for piece in pieces {
        if let Err(error) = decoder.decode(piece, &mut chunk, |frame| frames.push(frame)) {
            return Err((frames, error));
        }
    }
    Ok(frames)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 10_000;

    fn encoded(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for payload in payloads {
            append_frame(&mut bytes, |queue| queue.extend_from_slice(payload));
        }
        bytes
    }

    /// Feeds `bytes` in pieces that end at `cuts`.
    fn decoded(bytes: &[u8], cuts: &[usize]) -> (Vec<Bytes>, Result<(), FrameError>) {
        let (mut decoder, mut chunk) = (FrameDecoder::new(MAX), BytesMut::with_capacity(CHUNK_BYTES));
        let mut frames = Vec::new();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
        cuts.sort_unstable();
        let mut start = 0;
        for cut in cuts {
            if let Err(error) = decoder.decode(&bytes[start..cut], &mut chunk, |frame| frames.push(frame)) {
                return (frames, Err(error));
            }
            start = cut;
        }
        (frames, Ok(()))
    }

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let len = prop_oneof![1..20usize, 100..5_000usize, Just(MAX)];
        let payload =
            (len, any::<u8>()).prop_map(|(len, first)| (0..len).map(|at| first.wrapping_add(at as u8)).collect());
        prop::collection::vec(payload, 0..20)
    }

    proptest! {
        #[test]
        fn frames_are_the_same_however_their_bytes_are_cut(
            payloads in payloads(), cuts in prop::collection::vec(any::<usize>(), 0..40),
        ) {
            let (frames, result) = decoded(&encoded(&payloads), &cuts);
            prop_assert_eq!(result, Ok(()));
            prop_assert_eq!(frames, payloads);
        }

        #[test]
        fn frames_before_a_bad_length_arrive_and_none_after(
            payloads in payloads(), cuts in prop::collection::vec(any::<usize>(), 0..40), bad in prop_oneof![Just(0u32), MAX as u32 + 1..],
        ) {
            let mut bytes = encoded(&payloads);
            bytes.extend_from_slice(&bad.to_le_bytes());
            bytes.extend_from_slice(&encoded(&[vec![1; 10]]));
            let (frames, result) = decoded(&bytes, &cuts);
            let expected = match bad {
                0 => FrameError::Empty,
                _ => FrameError::TooLarge { bytes: bad as usize, bytes_max: MAX },
            };
            prop_assert_eq!(result, Err(expected));
            prop_assert_eq!(frames, payloads);
        }
    }

    #[test]
    fn every_single_byte_may_come_alone() {
        let payloads = vec![vec![1], vec![2; 300], vec![3; 5000]];
        let bytes = encoded(&payloads);
        let cuts: Vec<_> = (0..bytes.len()).collect();
        assert_eq!(decoded(&bytes, &cuts), (payloads.into_iter().map(Bytes::from).collect(), Ok(())));
    }

    #[test]
    fn an_announced_length_costs_nothing_until_its_bytes_come() {
        let (mut decoder, mut chunk) = (FrameDecoder::new(1 << 30), BytesMut::new());
        decoder.decode(&(1u32 << 30).to_le_bytes(), &mut chunk, |_| ()).unwrap();
        decoder.decode(&[0; 1000], &mut chunk, |_| ()).unwrap();
        assert!(decoder.partial.capacity() < 4096, "{}", decoder.partial.capacity());
    }
}
