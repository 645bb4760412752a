//! Three correct cores of four, and a peer whose every word the input chooses.
//!
//! The peer is one of the four by its key. It hears everything that is sent to it, says what it likes to whom it likes,
//! with any digest that it has heard, and signs what it likes with its own key. The input also chooses what clients send,
//! what arrives when between the correct ones, and how time passes.

mod cluster;
mod lies;

use pssmr_types::{ClientId, Operation, Principal, Request};

use crate::choices::Choices;
use cluster::Cluster;

const STEPS_MAX: usize = 120;

/// The three agree, none of them halts, none panics, and what they execute a client has sent.
pub fn byzantine_peer(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut cluster = Cluster::new(&mut choices);
    for _ in 0..STEPS_MAX {
        if choices.is_over() {
            break;
        }
        match choices.below(16) {
            0 | 1 => cluster.deliver_some(&mut choices),
            2 => cluster.deliver_all(),
            3 => cluster.clients_send(&mut choices),
            4 => cluster.pass_time(&mut choices),
            5 => cluster.restart(&mut choices),
            6 => cluster.connect(&mut choices),
            7 => cluster.repeat_old(&mut choices),
            8 => cluster.send_bytes(&mut choices),
            _ => cluster.lie(&mut choices),
        }
    }
    cluster.deliver_all();
    cluster.check();
}

/// Requests that clients could have sent: few, so that the same ones come again.
pub(crate) fn requests(choices: &mut Choices<'_>) -> Vec<Request> {
    (0..choices.below(4)).map(|_| request(choices)).collect()
}

fn request(choices: &mut Choices<'_>) -> Request {
    let kind = choices.byte();
    let (principal, number) = (Principal(u64::from(kind & 1)), u64::from(kind >> 1 & 3) + 1);
    if kind & 0x80 == 0 {
        return Request::new(ClientId { principal, session: 0 }, number, 0, Operation::OpenSession, b"");
    }
    // Sessions are numbered by the position of their opening.
    let client = ClientId { principal, session: u64::from(kind >> 3 & 7) + 1 };
    let acknowledged = if kind & 0x40 == 0 { 1 } else { number };
    Request::new(client, number, acknowledged, Operation::Command, &[kind >> 6 & 1])
}
