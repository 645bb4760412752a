//! What waits to be sent on one link.

use crate::error::SendError;
use crate::framing::{HEADER_BYTES, append_frame};

/// An empty queue keeps so much capacity.
const KEEP_BYTES_MAX: usize = 256 * 1024;

/// Frames one behind the other, in plain text, from when they are sent until the socket has taken their ciphertext.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    plaintext: Vec<u8>,
    /// How much of `plaintext` is encrypted.
    encrypted: usize,
    /// How much plaintext is in the ciphertext that the socket has not taken.
    in_flight: usize,
}

impl SendQueue {
    /// Bytes that the socket has not taken.
    pub(crate) fn len(&self) -> usize {
        self.plaintext.len() - self.encrypted + self.in_flight
    }

    /// Queues one frame, which `write` appends; or nothing.
    pub(crate) fn push_frame(
        &mut self,
        frame_bytes_max: usize,
        queue_bytes_max: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), SendError> {
        if self.len() + HEADER_BYTES >= queue_bytes_max {
            return Err(SendError::QueueFull);
        }
        let start = self.plaintext.len();
        let payload = append_frame(&mut self.plaintext, write);
        let error = if payload == 0 || payload > frame_bytes_max {
            SendError::FrameLength { bytes: payload, bytes_max: frame_bytes_max }
        } else if self.len() > queue_bytes_max {
            SendError::QueueFull
        } else {
            return Ok(());
        };
        self.plaintext.truncate(start);
        Err(error)
    }

    /// Queues bytes that are not a frame.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        self.plaintext.extend_from_slice(bytes);
    }

    /// The next bytes to encrypt, at most `bytes_max`. None while the ciphertext of earlier ones waits.
    pub(crate) fn next(&self, bytes_max: usize) -> &[u8] {
        assert_eq!(self.in_flight, 0, "one piece is encrypted at a time");
        let next = &self.plaintext[self.encrypted..];
        &next[..next.len().min(bytes_max)]
    }

    /// The first `len` of the next bytes are encrypted.
    pub(crate) fn encrypted(&mut self, len: usize) {
        self.encrypted += len;
        self.in_flight = len;
        assert!(self.encrypted <= self.plaintext.len());
    }

    /// The socket has taken all ciphertext.
    pub(crate) fn written(&mut self) {
        self.in_flight = 0;
        let waiting = self.plaintext.len() - self.encrypted;
        if waiting == 0 {
            self.plaintext.clear();
            self.plaintext.shrink_to(KEEP_BYTES_MAX);
            self.encrypted = 0;
        } else if self.encrypted >= waiting {
            // A queue that is never empty must not keep what it has sent. Each byte moves at most once on average.
            self.plaintext.drain(..self.encrypted);
            self.encrypted = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &mut SendQueue, payload: &[u8]) -> Result<(), SendError> {
        queue.push_frame(100, 1000, |bytes| bytes.extend_from_slice(payload))
    }

    #[test]
    fn bytes_count_until_the_socket_has_taken_them() {
        let mut queue = SendQueue::default();
        push(&mut queue, &[1; 96]).unwrap();
        assert_eq!(queue.len(), 100);
        queue.encrypted(60);
        assert_eq!(queue.len(), 100);
        queue.written();
        assert_eq!(queue.len(), 40);
        assert_eq!(queue.next(1000), [1; 40]);
    }

    #[test]
    fn a_frame_that_does_not_fit_leaves_the_queue_as_it_was() {
        let mut queue = SendQueue::default();
        for _ in 0..9 {
            push(&mut queue, &[1; 96]).unwrap();
        }
        assert_eq!(push(&mut queue, &[2; 97]), Err(SendError::QueueFull));
        assert_eq!(queue.len(), 900);
        assert_eq!(push(&mut queue, &[3; 96]), Ok(()));
        assert_eq!(queue.len(), 1000);
    }

    #[test]
    fn a_queue_that_is_never_empty_keeps_its_order_and_not_what_it_has_sent() {
        let mut queue = SendQueue::default();
        let (mut sent, mut taken) = (Vec::new(), Vec::new());
        for n in 0..10_000u32 {
            push(&mut queue, &n.to_le_bytes()).unwrap();
            sent.extend_from_slice(&[4u32.to_le_bytes(), n.to_le_bytes()].concat());
            if n >= 50 {
                let next = queue.next(8);
                taken.extend_from_slice(next);
                queue.encrypted(next.len());
                queue.written();
            }
        }
        assert_eq!(queue.len(), 50 * 8);
        assert_eq!(taken, sent[..taken.len()]);
        assert!(queue.plaintext.capacity() < 4096, "{}", queue.plaintext.capacity());
    }
}
