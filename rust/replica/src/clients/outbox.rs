//! Replies on their way out: one frame per link, kind and turn.

use std::collections::HashMap;

use pssmr_transport::{CloseReason, LinkId, SendError, Transport};
use pssmr_types::client::FRAME_ITEMS_MAX;
use pssmr_types::{Outcome, ReadReply, ReplicaMessage, Reply};

/// Replies of one frame, in bytes of results, unless a single one is larger.
const FRAME_BYTES: usize = 1 << 20;

/// What is sent: replies to requests, or to reads.
pub(crate) trait Item: Sized {
    fn outcome(&self) -> &Outcome;
    fn message(items: Vec<Self>) -> ReplicaMessage;
}

impl Item for Reply {
    fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    fn message(items: Vec<Self>) -> ReplicaMessage {
        ReplicaMessage::Replies(items)
    }
}

impl Item for ReadReply {
    fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    fn message(items: Vec<Self>) -> ReplicaMessage {
        ReplicaMessage::ReadReplies(items)
    }
}

/// Replies by link.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    by_link: Vec<(LinkId, Vec<T>)>,
    /// Where in `by_link` a link is.
    places: HashMap<LinkId, usize>,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self { by_link: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Item> Outbox<T> {
    pub(crate) fn add(&mut self, link: LinkId, reply: T) {
        // Most replies follow another one of the same link.
        if let Some((last, replies)) = self.by_link.last_mut()
            && *last == link
        {
            replies.push(reply);
            return;
        }
        let place = *self.places.entry(link).or_insert_with(|| {
            self.by_link.push((link, Vec::new()));
            self.by_link.len() - 1
        });
        self.by_link[place].1.push(reply);
    }

    /// Queues all replies on their links. Returns how many. A link whose client does not take its replies is closed.
    pub(crate) fn send(&mut self, transport: &mut Transport) -> u64 {
        self.places.clear();
        let mut sent = 0;
        for (link, replies) in self.by_link.drain(..) {
            sent += replies.len() as u64;
            match send_frames(link, replies, transport) {
                Ok(()) => {}
                Err(SendError::QueueFull) => {
                    tracing::warn!(%link, "a client does not take its replies: closing its link");
                    transport.close(link, CloseReason::QueueFull);
                }
                // The link is down: its client asks again on another one.
                Err(error) => tracing::debug!(%link, %error, "replies not sent"),
            }
        }
        sent
    }
}

fn send_frames<T: Item>(link: LinkId, mut replies: Vec<T>, transport: &mut Transport) -> Result<(), SendError> {
    while !replies.is_empty() {
        let rest = replies.split_off(frame_length(&replies));
        let message = T::message(replies);
        transport.send_with(link, |out| message.encode(out))?;
        replies = rest;
    }
    Ok(())
}

/// How many replies fit into a frame.
fn frame_length<T: Item>(replies: &[T]) -> usize {
    let mut bytes = 0;
    let fits = |reply: &&T| {
        bytes += if let Outcome::Result(result) = reply.outcome() { result.len() } else { 0 };
        bytes <= FRAME_BYTES
    };
    replies.iter().take(FRAME_ITEMS_MAX).take_while(fits).count().max(1)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn reply(bytes: usize) -> Reply {
        Reply { session: 1, sequence: 1, outcome: Outcome::Result(Bytes::from(vec![0; bytes])) }
    }

    #[test]
    fn a_frame_is_bounded_in_replies_and_in_bytes() {
        assert_eq!(frame_length(&vec![reply(0); FRAME_ITEMS_MAX + 1]), FRAME_ITEMS_MAX);
        assert_eq!(frame_length(&[reply(FRAME_BYTES / 2), reply(FRAME_BYTES / 2), reply(1)]), 2);
        assert_eq!(frame_length(&[reply(2 * FRAME_BYTES), reply(1)]), 1);
    }
}
