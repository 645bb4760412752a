//! What cores are told, say and want done, in one line each, in the words of `docs/protocol.md`.

use pssmr_ordering::{CoreStatus, Delivery, Effect, Input, Record};
use pssmr_types::{Batch, PeerMessage, Request, Slot, StopData, Vote};

use crate::call::Call;

/// Of so many requests the keys are shown.
const REQUESTS_SHOWN: usize = 8;

fn vote(name: &str, vote: &Vote) -> String {
    format!("{name} {} {}..{} {}", vote.view, vote.base, vote.slot, vote.digest)
}

fn state(state: &StopData) -> String {
    let lock = state.lock.map_or("no lock".into(), |lock| format!("lock {} {} {}", lock.view, lock.slot, lock.digest));
    let written: Vec<String> =
        state.writeset.iter().map(|w| format!("{} base {} {}..{}", w.view, w.base, w.first, w.last())).collect();
    format!("{} for {}, {lock}, wrote [{}]", state.replica, state.view, written.join("; "))
}

/// The keys of requests: the client's session and the sequence.
fn keys(keys: impl ExactSizeIterator<Item = String>) -> String {
    let count = keys.len();
    let mut shown: Vec<String> = keys.take(REQUESTS_SHOWN).collect();
    if count > REQUESTS_SHOWN {
        shown.push(format!("and {} more", count - REQUESTS_SHOWN));
    }
    format!("[{}]", shown.join(", "))
}

fn key(request: &Request) -> String {
    format!("{} {}", request.client, request.sequence)
}

fn batch(batch: &Batch) -> String {
    keys(batch.requests().iter().map(key))
}

/// A message between replicas.
pub fn message(message: &PeerMessage) -> String {
    match message {
        PeerMessage::Propose(propose) => {
            format!("propose {} {} on {} {}", propose.view, propose.slot, propose.parent, batch(&propose.batch))
        }
        PeerMessage::Write(v) => vote("write", v),
        PeerMessage::Accept(v) => vote("accept", v),
        PeerMessage::Stop(view) => format!("stop for {view}"),
        PeerMessage::StopData(s) => format!("stop_data {}", state(s)),
        PeerMessage::Sync(sync) => {
            let states: Vec<String> = sync.states.iter().map(state).collect();
            format!("sync {} [{}]", sync.view, states.join(" | "))
        }
        PeerMessage::Forward(requests) => format!("forward {}", keys(requests.iter().map(key))),
        PeerMessage::Status(s) => {
            let synced = if s.synced { "" } else { " not synced" };
            let newborn = if s.is_newborn { " newborn" } else { "" };
            let awaited = if s.awaited > Slot(0) { format!(" awaits {}", s.awaited) } else { String::new() };
            format!("status {}{synced} decided {} {} head {}{awaited}{newborn}", s.view, s.decided, s.digest, s.head)
        }
        PeerMessage::Fetch { slot, digest, floor } => format!("fetch {slot} {digest} down to above {floor}"),
        PeerMessage::Entry(entry) => format!("entry {} on {} {}", entry.slot, entry.parent, batch(&entry.batch)),
        PeerMessage::Truncated { oldest } => format!("truncated before {oldest}"),
        PeerMessage::DigestRequest(slot) => format!("digest_request {slot}"),
        PeerMessage::DigestReply { slot, digest } => format!("digest_reply {slot} {digest}"),
        PeerMessage::Checkpoint(vote) => format!("checkpoint {} root {}", vote.checkpoint.slot, vote.checkpoint.root),
        PeerMessage::Certificate(certificate) => {
            let signers: Vec<String> = certificate.signatures.iter().map(|(id, _)| id.to_string()).collect();
            format!("certificate {} of {}", certificate.checkpoint.slot, signers.join(" "))
        }
        PeerMessage::Snapshot(_) => "snapshot".to_owned(),
        PeerMessage::Handover(vote) => format!("handover {} {}", vote.slot, vote.digest),
        PeerMessage::Handovers(handovers) => {
            let epochs: Vec<String> = handovers.iter().map(|handover| handover.next.epoch().to_string()).collect();
            format!("handovers to {}", epochs.join(" "))
        }
    }
}

/// What kind of message it is, in one word.
fn message_kind(message: &PeerMessage) -> &'static str {
    match message {
        PeerMessage::Propose(_) => "propose",
        PeerMessage::Write(_) => "write",
        PeerMessage::Accept(_) => "accept",
        PeerMessage::Stop(_) => "stop",
        PeerMessage::StopData(_) => "stop_data",
        PeerMessage::Sync(_) => "sync",
        PeerMessage::Forward(_) => "forward",
        PeerMessage::Status(_) => "status",
        PeerMessage::Fetch { .. } => "fetch",
        PeerMessage::Entry(_) => "entry",
        PeerMessage::Truncated { .. } => "truncated",
        PeerMessage::DigestRequest(_) => "digest_request",
        PeerMessage::DigestReply { .. } => "digest_reply",
        PeerMessage::Checkpoint(_) => "checkpoint",
        PeerMessage::Certificate(_) => "certificate",
        PeerMessage::Snapshot(_) => "snapshot",
        PeerMessage::Handover(_) => "handover",
        PeerMessage::Handovers(_) => "handovers",
    }
}

/// The slot that a message is about, if it is about one.
fn message_slot(message: &PeerMessage) -> Option<Slot> {
    match message {
        PeerMessage::Propose(propose) => Some(propose.slot),
        PeerMessage::Write(vote) | PeerMessage::Accept(vote) => Some(vote.slot),
        PeerMessage::Entry(entry) => Some(entry.slot),
        PeerMessage::Fetch { slot, .. }
        | PeerMessage::DigestRequest(slot)
        | PeerMessage::DigestReply { slot, .. }
        | PeerMessage::Truncated { oldest: slot } => Some(*slot),
        PeerMessage::Checkpoint(vote) => Some(vote.checkpoint.slot),
        PeerMessage::Certificate(certificate) => Some(certificate.checkpoint.slot),
        PeerMessage::Handover(vote) => Some(vote.slot),
        PeerMessage::Stop(_)
        | PeerMessage::StopData(_)
        | PeerMessage::Sync(_)
        | PeerMessage::Forward(_)
        | PeerMessage::Status(_)
        | PeerMessage::Snapshot(_)
        | PeerMessage::Handovers(_) => None,
    }
}

/// A decided slot.
pub fn delivery(delivery: &Delivery) -> String {
    let commands = delivery.commands.iter().map(|command| format!("{} {}", command.client, command.sequence));
    format!("{} {} {}", delivery.slot, delivery.digest, keys(commands))
}

/// A record of the log.
pub fn record(record: &Record) -> String {
    match record {
        Record::View(view) => format!("view {view}"),
        Record::Base { slot, .. } => format!("base {slot}"),
        Record::Cut(slot) => format!("cut {slot}"),
        Record::Slot { slot, proposed, batch: of } => {
            format!("slot {slot} {} {}", if *proposed { "proposed" } else { "fetched" }, batch(of))
        }
        Record::Wrote(slot) => format!("wrote {slot}"),
        Record::Accepted { slot, digest } => format!("accepted {slot} {digest}"),
        Record::Decided { slot, in_view } => format!("decided {slot}{}", if *in_view { "" } else { " elsewhere" }),
        Record::Image(image) => format!("image of {} and {} records", image.slot, image.follow()),
        Record::OfImage(record) => format!("of the image: {}", self::record(record)),
        Record::Shelved { slot, parent, batch: of } => format!("shelved {slot} on {parent} {}", batch(of)),
        Record::Installed(slot) => format!("installed {slot}"),
        Record::Handover(handover) => format!("handover to {}", handover.next.epoch()),
    }
}

fn record_slot(record: &Record) -> Option<Slot> {
    match record {
        Record::Base { slot, .. }
        | Record::Cut(slot)
        | Record::Slot { slot, .. }
        | Record::Wrote(slot)
        | Record::Accepted { slot, .. }
        | Record::Decided { slot, .. }
        | Record::Shelved { slot, .. }
        | Record::Installed(slot) => Some(*slot),
        Record::Image(image) => Some(image.slot),
        Record::OfImage(record) => record_slot(record),
        Record::View(_) | Record::Handover(_) => None,
    }
}

/// An input.
pub fn input(input: &Input) -> String {
    match input {
        Input::Message { from, epoch, message } => {
            let of_epoch = if epoch.0 > 0 { format!(" ({epoch})") } else { String::new() };
            format!("{from} {}{of_epoch}", self::message(message))
        }
        Input::Request(request) => {
            format!("request {} {:?}, {} bytes", key(request), request.operation, request.payload().len())
        }
        Input::Executed(slot) => format!("executed {slot}"),
        Input::Durable(records) => format!("durable: {records} records"),
        Input::Promised(promise) => format!("promised {} up to {}", promise.view, promise.slot_limit),
        Input::LogBehind(is_behind) => format!("the log is {}", if *is_behind { "behind" } else { "behind no more" }),
        Input::Connected(replica) => format!("connected to {replica}"),
        Input::Disconnected(replica) => format!("the link to {replica} is lost"),
        Input::CheckpointTaken(checkpoint) => {
            format!("snapshot of {} taken, root {}", checkpoint.slot, checkpoint.root)
        }
        Input::Transferred(snapshot) => format!("snapshot of {} is here", snapshot.slot),
        Input::TransferFailed => "nobody has the snapshot".to_owned(),
        Input::StepDown => "step down, the operator says".to_owned(),
        Input::Tick => "tick".to_owned(),
    }
}

/// What kind of input it is, in one word; of a message, what kind of message.
pub fn input_kind(input: &Input) -> &'static str {
    match input {
        Input::Message { message, .. } => message_kind(message),
        Input::Request(_) => "request",
        Input::Executed(_) => "executed",
        Input::Durable(_) => "durable",
        Input::Promised(_) => "promised",
        Input::LogBehind(_) => "log_behind",
        Input::Connected(_) => "connected",
        Input::Disconnected(_) => "disconnected",
        Input::CheckpointTaken(_) => "checkpoint_taken",
        Input::Transferred(_) => "transferred",
        Input::TransferFailed => "transfer_failed",
        Input::StepDown => "step_down",
        Input::Tick => "tick",
    }
}

/// The slot that an input is about, if it is about one.
pub fn input_slot(input: &Input) -> Option<Slot> {
    match input {
        Input::Message { message, .. } => message_slot(message),
        Input::Executed(slot) => Some(*slot),
        Input::CheckpointTaken(checkpoint) => Some(checkpoint.slot),
        Input::Transferred(snapshot) => Some(snapshot.slot),
        Input::Request(_)
        | Input::Durable(_)
        | Input::Promised(_)
        | Input::LogBehind(_)
        | Input::Connected(_)
        | Input::Disconnected(_)
        | Input::TransferFailed
        | Input::StepDown
        | Input::Tick => None,
    }
}

/// An effect.
pub fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Promise(promise) => format!("promise {} up to {}", promise.view, promise.slot_limit),
        Effect::Persist(record) => format!("log {}", self::record(record)),
        Effect::Send { to, message } => format!("send to {to} {}", self::message(message)),
        Effect::Broadcast(message) => format!("send to all {}", self::message(message)),
        Effect::Deliver(of) => format!("deliver {}", delivery(of)),
        Effect::Reply { client, sequence, outcome } => format!("reply to {client} {sequence}: {outcome:?}"),
        Effect::SessionEvicted(client) => format!("session {client} is evicted"),
        Effect::Checkpoint { snapshot, .. } => format!("take a snapshot of {}", snapshot.slot),
        Effect::Stable(certificate) => format!("checkpoint {} is stable", certificate.checkpoint.slot),
        Effect::Transfer(certificate) => format!("fetch the snapshot of {}", certificate.checkpoint.slot),
        Effect::Install(slot) => format!("go on from the snapshot of {slot}"),
        Effect::Reconfigured(membership) => {
            let ids: Vec<String> = membership.replicas().map(|id| id.to_string()).collect();
            format!("membership of {}: {}", membership.epoch(), ids.join(" "))
        }
        Effect::SteppedDown(Ok(view)) => format!("steps down, for {view}"),
        Effect::SteppedDown(Err(refusal)) => format!("does not step down: {refusal}"),
        Effect::Event(event) => format!("event {event:?}"),
        Effect::Halt(reason) => format!("halt: {reason}"),
    }
}

/// The slot that an effect is about, if it is about one.
pub fn effect_slot(effect: &Effect) -> Option<Slot> {
    match effect {
        Effect::Persist(record) => record_slot(record),
        Effect::Send { message, .. } | Effect::Broadcast(message) => message_slot(message),
        Effect::Deliver(delivery) => Some(delivery.slot),
        Effect::Checkpoint { snapshot, .. } => Some(snapshot.slot),
        Effect::Stable(certificate) | Effect::Transfer(certificate) => Some(certificate.checkpoint.slot),
        Effect::Install(slot) => Some(*slot),
        Effect::Promise(_)
        | Effect::Reply { .. }
        | Effect::SessionEvicted(_)
        | Effect::Reconfigured(_)
        | Effect::SteppedDown(_)
        | Effect::Event(_)
        | Effect::Halt(_) => None,
    }
}

/// A call; the inputs of a step have lines of their own.
pub fn call(call: &Call) -> String {
    match call {
        Call::Step { .. } => "step".to_owned(),
        Call::Restore(snapshot) => format!("restore the snapshot of {}", snapshot.slot),
        Call::Replay(record) => format!("log says: {}", self::record(record)),
        Call::SetStable(certificate) => format!("stable checkpoint {}", certificate.checkpoint.slot),
        Call::SetPromise(promise) => format!("has promised {} up to {}", promise.view, promise.slot_limit),
        Call::SetNewborn => "remembers nothing".to_owned(),
        Call::SetForgotten(bound) => format!("has forgotten its votes, up to {} {}", bound.view, bound.slot_limit),
        Call::SetLearner(true) => "only follows".to_owned(),
        Call::SetLearner(false) => "does not only follow".to_owned(),
        Call::Resume => "end of the log".to_owned(),
    }
}

/// What kind of call it is, in one word.
pub fn call_kind(call: &Call) -> &'static str {
    match call {
        Call::Step { .. } => "step",
        Call::Restore(_) => "restore",
        Call::Replay(_) => "replay_log",
        Call::SetStable(_) => "set_stable",
        Call::SetPromise(_) => "set_promise",
        Call::SetNewborn => "set_newborn",
        Call::SetForgotten(_) => "set_forgotten",
        Call::SetLearner(_) => "set_learner",
        Call::Resume => "resume",
    }
}

/// The slot that a call of another kind than a step is about, if it is about one.
pub fn call_slot(call: &Call) -> Option<Slot> {
    match call {
        Call::Restore(snapshot) => Some(snapshot.slot),
        Call::Replay(record) => record_slot(record),
        Call::SetStable(certificate) => Some(certificate.checkpoint.slot),
        Call::Step { .. }
        | Call::SetPromise(_)
        | Call::SetNewborn
        | Call::SetForgotten(_)
        | Call::SetLearner(_)
        | Call::Resume => None,
    }
}

/// How a state differs from the one before: what has changed, and to what. What others say of themselves is not among it:
/// that is in their messages.
pub fn changes(before: &CoreStatus, after: &CoreStatus) -> Vec<String> {
    let mut changes = Vec::new();
    let mut note = |what: &str, is_same: bool, from: String, to: String| {
        if !is_same {
            changes.push(format!("{what} {from} -> {to}"));
        }
    };
    macro_rules! compare {
        ($($what:literal $field:ident),*) => {
            $(note($what, before.$field == after.$field, before.$field.to_string(), after.$field.to_string());)*
        };
    }
    compare!(
        "epoch" epoch, "view" view, "leader" leader, "active" active, "learner" learner, "retired" retired,
        "halted" halted, "decided" decided, "head" head, "executed" executed, "oldest kept" oldest_kept,
        "checkpoint" checkpoint, "pending" pending, "sessions" sessions, "position" position,
        "service version" service_version
    );
    changes
}
