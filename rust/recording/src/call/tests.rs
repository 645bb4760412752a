use std::collections::BTreeSet;

use pssmr_types::{
    Batch, ClientId, ClusterId, Digest, Epoch, FaultModel, Membership, Operation, Propose, ReplicaId, SecretKey, Slot,
    View,
};

use super::*;

/// Each kind has a number. Without an exhaustive list in this file, a new kind could go untested.
fn number(input: &Input) -> usize {
    match input {
        Input::Message { .. } => 0,
        Input::Request(_) => 1,
        Input::Executed(_) => 2,
        Input::Durable(_) => 3,
        Input::Promised(_) => 4,
        Input::LogBehind(_) => 5,
        Input::Connected(_) => 6,
        Input::CheckpointTaken(_) => 7,
        Input::Transferred(_) => 8,
        Input::TransferFailed => 9,
        Input::StepDown => 10,
        Input::Tick => 11,
        Input::Disconnected(_) => 12,
    }
}

const KINDS: usize = 13;

const PROMISE: Promise = Promise { view: View(3), slot_limit: Slot(300) };

fn request() -> Request {
    let client = ClientId { principal: Principal(7), session: 9 };
    Request::new(client, 5, 4, Operation::Command, b"payload")
}

fn snapshot() -> CoreSnapshot {
    let keys = (1..=4).map(|seed| SecretKey::from_seed([seed; 32]).public()).collect();
    CoreSnapshot {
        slot: Slot(50),
        digest: Digest([5; 32]),
        timestamp: 1,
        position: 2,
        number: 3,
        asked_at: 4,
        membership: Membership::new(ClusterId([1; 16]), Epoch(2), FaultModel::Byzantine, keys).unwrap(),
        sessions: vec![],
        upgraded: None,
    }
}

fn inputs() -> Vec<Input> {
    let (from, epoch, checkpoint) =
        (ReplicaId(3), Epoch(2), Checkpoint { slot: Slot(50), digest: Digest([5; 32]), root: Digest([6; 32]) });
    let batch = Batch::new(77, vec![request()]);
    let propose = Propose { view: View(1), slot: Slot(8), parent: Digest([4; 32]), batch };
    vec![
        Input::Message { from, epoch, message: PeerMessage::Propose(propose) },
        Input::Message { from, epoch, message: PeerMessage::Forward(vec![request(), request()]) },
        Input::Request(request()),
        Input::Executed(Slot(9)),
        Input::Durable(u64::MAX),
        Input::Promised(PROMISE),
        Input::LogBehind(true),
        Input::LogBehind(false),
        Input::Connected(ReplicaId(63)),
        Input::Disconnected(ReplicaId(62)),
        Input::CheckpointTaken(checkpoint),
        Input::Transferred(Box::new(snapshot())),
        Input::TransferFailed,
        Input::StepDown,
        Input::Tick,
    ]
}

#[test]
fn every_kind_of_input_is_decoded_to_what_it_was() {
    for each in inputs() {
        let mut bytes = Vec::new();
        put_input(&each, &mut bytes);
        assert_eq!(input(bytes.clone().into()), Ok(each.clone()));
        bytes.push(0);
        assert!(input(bytes.into()).is_err(), "more than one input: {each:?}");
    }
    let kinds: BTreeSet<_> = inputs().iter().map(number).collect();
    assert_eq!(kinds, (0..KINDS).collect(), "there is one of each kind");
}

#[test]
fn every_kind_of_call_is_decoded_to_what_it_was() {
    let certificate = Certificate {
        checkpoint: Checkpoint { slot: Slot(50), digest: Digest([5; 32]), root: Digest([6; 32]) },
        epoch: Epoch(2),
        signatures: vec![(ReplicaId(1), pssmr_types::Signature([9; 64]))],
    };
    let batch = Batch::new(77, vec![request()]);
    let client = request().client;
    let large = Request::new(client, 5, 4, Operation::Command, &vec![1; INPUTS_BYTES / 2]);
    let several_frames = vec![Input::Request(large); 5];
    for call in [
        Call::Step { now: Now { monotonic: 1, wall: u64::MAX }, inputs: inputs() },
        Call::Step { now: Now::default(), inputs: vec![] },
        Call::Step { now: Now::default(), inputs: several_frames },
        Call::Restore(Box::new(snapshot())),
        Call::Replay(Box::new(Record::Decided { slot: Slot(3), in_view: true })),
        Call::Replay(Box::new(Record::Slot { slot: Slot(3), proposed: false, batch })),
        Call::SetStable(certificate),
        Call::SetPromise(PROMISE),
        Call::SetNewborn,
        Call::SetForgotten(PROMISE),
        Call::SetLearner(true),
        Call::SetLearner(false),
        Call::Resume,
    ] {
        let mut bytes = Vec::new();
        crate::frame::put_preamble(&mut bytes);
        call.put(&mut bytes);
        let mut frames = crate::frame::Frames::open(bytes.as_slice()).unwrap();
        let mut inputs = Vec::new();
        let decoded = loop {
            match frames.next().unwrap() {
                crate::frame::Next::Frame(kind::INPUTS, body) => take_inputs(body, &mut inputs).unwrap(),
                crate::frame::Next::Frame(frame, body) => break Call::decode(frame, body, inputs).unwrap(),
                _ => panic!("{call:?} has no frame of its own"),
            }
        };
        assert_eq!(decoded, Some(call));
    }
}
