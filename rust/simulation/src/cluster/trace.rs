//! Messages and deliveries in one line each.

use pssmr_ordering::Delivery;
use pssmr_types::{PeerMessage, StopData, Vote};

fn vote(name: &str, vote: &Vote) -> String {
    format!("{name} {} {}..{} {}", vote.view, vote.base, vote.slot, vote.digest)
}

fn state(state: &StopData) -> String {
    let lock = state.lock.map_or("no lock".into(), |lock| format!("lock {} {} {}", lock.view, lock.slot, lock.digest));
    let written: Vec<String> =
        state.writeset.iter().map(|w| format!("{} base {} {}..{}", w.view, w.base, w.first, w.last())).collect();
    format!("{} for {}, {lock}, wrote {written:?}", state.replica, state.view)
}

/// A message.
pub(crate) fn message(message: &PeerMessage) -> String {
    match message {
        PeerMessage::Propose(propose) => {
            let keys: Vec<String> = propose
                .batch
                .requests()
                .iter()
                .map(|request| format!("{} {}", request.client, request.sequence))
                .collect();
            format!("propose {} {} on {} {keys:?}", propose.view, propose.slot, propose.parent)
        }
        PeerMessage::Write(v) => vote("write", v),
        PeerMessage::Accept(v) => vote("accept", v),
        PeerMessage::StopData(s) => format!("stop_data {}", state(s)),
        PeerMessage::Sync(sync) => {
            let states: Vec<String> = sync.states.iter().map(state).collect();
            format!("sync {} {states:?}", sync.view)
        }
        PeerMessage::Forward(requests) => format!("forward {} requests", requests.len()),
        PeerMessage::Status(s) => {
            let synced = if s.synced { "" } else { " not synced" };
            format!("status {}{synced} decided {} {} head {}", s.view, s.decided, s.digest, s.head)
        }
        PeerMessage::Entry(entry) => format!("entry {} on {}", entry.slot, entry.parent),
        other => format!("{other:?}"),
    }
}

/// A decided slot.
pub(super) fn delivery(delivery: &Delivery) -> String {
    let keys: Vec<String> =
        delivery.commands.iter().map(|command| format!("{} {}", command.client, command.sequence)).collect();
    format!("{} {} {keys:?}", delivery.slot, delivery.digest)
}
