//! Every message between replicas: its bytes, its way back, and what hostile bytes do.

use std::fmt::Write as _;

use bytes::Bytes;
use proptest::prelude::*;
use pssmr_types::{
    Batch, BatchLimits, Certificate, Checkpoint, CheckpointVote, ClientId, ClusterId, Digest, Entry, Epoch, FaultModel,
    Handover, HandoverVote, Lock, Member, Membership, Operation, PeerMessage, Principal, Propose, ReplicaId, Request,
    SecretKey, Slot, SnapshotMessage, Status, StopData, Sync, View, Vote, Written,
};

const CLUSTER: ClusterId = ClusterId([9; 16]);

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn request() -> impl Strategy<Value = Request> {
    (any::<u64>(), 1..u64::MAX, 1..u64::MAX, prop::collection::vec(any::<u8>(), 0..50)).prop_map(
        |(principal, session, sequence, payload)| {
            let client = ClientId { principal: Principal(principal), session };
            Request::new(client, sequence, sequence / 2, Operation::Command, &payload)
        },
    )
}

fn batch() -> impl Strategy<Value = Batch> {
    (any::<u64>(), prop::collection::vec(request(), 0..5)).prop_map(|(time, requests)| Batch::new(time, requests))
}

fn vote() -> impl Strategy<Value = Vote> {
    (any::<u64>(), 0..u64::MAX / 2, 1..1000u64, digest()).prop_map(|(view, base, above, digest)| Vote {
        view: View(view),
        base: Slot(base),
        slot: Slot(base + above),
        digest,
    })
}

fn written(view: u64) -> impl Strategy<Value = Written> {
    (1..u64::MAX / 2, prop::collection::vec(digest(), 1..9)).prop_map(move |(first, digests)| Written {
        view: View(view),
        base: Slot(first - 1),
        first: Slot(first),
        digests,
    })
}

fn stop_data() -> impl Strategy<Value = StopData> {
    let lock = (0..9u64, 1..u64::MAX, digest()).prop_map(|(view, slot, digest)| Lock {
        view: View(view),
        slot: Slot(slot),
        digest,
    });
    (prop::option::of(lock), written(3), written(7)).prop_map(|(lock, three, seven)| {
        let secret = SecretKey::from_seed([5; 32]);
        StopData::sign(CLUSTER, Epoch(2), View(9), ReplicaId(4), lock, vec![three, seven], &secret)
    })
}

fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    (1..u64::MAX, digest(), digest()).prop_map(|(slot, digest, root)| Checkpoint { slot: Slot(slot), digest, root })
}

fn snapshot_message() -> impl Strategy<Value = SnapshotMessage> {
    let slot = || any::<u64>().prop_map(Slot);
    let bytes = || prop::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from);
    prop_oneof![
        (slot(), digest()).prop_map(|(slot, root)| SnapshotMessage::ManifestRequest { slot, root }),
        (slot(), bytes()).prop_map(|(slot, bytes)| SnapshotMessage::Manifest { slot, bytes }),
        (slot(), digest(), any::<u32>()).prop_map(|(slot, root, chunk)| SnapshotMessage::ChunkRequest {
            slot,
            root,
            chunk
        }),
        (slot(), any::<u32>(), bytes()).prop_map(|(slot, chunk, bytes)| SnapshotMessage::Chunk { slot, chunk, bytes }),
        slot().prop_map(|slot| SnapshotMessage::Gone { slot }),
    ]
}

fn message() -> impl Strategy<Value = PeerMessage> {
    let slot = || any::<u64>().prop_map(Slot);
    prop_oneof![
        (any::<u64>(), slot(), digest(), batch()).prop_map(|(view, slot, parent, batch)| {
            PeerMessage::Propose(Propose { view: View(view), slot, parent, batch })
        }),
        vote().prop_map(PeerMessage::Write),
        vote().prop_map(PeerMessage::Accept),
        any::<u64>().prop_map(|view| PeerMessage::Stop(View(view))),
        stop_data().prop_map(PeerMessage::StopData),
        prop::collection::vec(stop_data(), 0..4).prop_map(|states| {
            PeerMessage::Sync(Sync::sign(CLUSTER, View(9), states, &SecretKey::from_seed([6; 32])))
        }),
        prop::collection::vec(request(), 0..5).prop_map(PeerMessage::Forward),
        (any::<u64>(), any::<bool>(), slot(), digest(), slot(), slot()).prop_map(
            |(view, synced, decided, digest, head, awaited)| {
                PeerMessage::Status(Status {
                    view: View(view),
                    synced,
                    decided,
                    digest,
                    head,
                    awaited,
                    is_newborn: !synced,
                })
            }
        ),
        (slot(), digest(), slot()).prop_map(|(slot, digest, floor)| PeerMessage::Fetch { slot, digest, floor }),
        (slot(), digest(), batch()).prop_map(|(slot, parent, batch)| PeerMessage::Entry(Entry { slot, parent, batch })),
        slot().prop_map(|oldest| PeerMessage::Truncated { oldest }),
        slot().prop_map(PeerMessage::DigestRequest),
        (slot(), digest()).prop_map(|(slot, digest)| PeerMessage::DigestReply { slot, digest }),
        checkpoint().prop_map(|checkpoint| {
            PeerMessage::Checkpoint(CheckpointVote::sign(CLUSTER, Epoch(2), checkpoint, &SecretKey::from_seed([6; 32])))
        }),
        (checkpoint(), prop::collection::vec(any::<u16>(), 0..5)).prop_map(|(checkpoint, replicas)| {
            let signature =
                CheckpointVote::sign(CLUSTER, Epoch(2), checkpoint, &SecretKey::from_seed([6; 32])).signature;
            let signatures = replicas.into_iter().map(|replica| (ReplicaId(replica), signature)).collect();
            PeerMessage::Certificate(Certificate { checkpoint, epoch: Epoch(2), signatures })
        }),
        snapshot_message().prop_map(PeerMessage::Snapshot),
        (slot(), digest(), digest()).prop_map(|(slot, digest, next)| {
            let secret = SecretKey::from_seed([6; 32]);
            PeerMessage::Handover(HandoverVote::sign(CLUSTER, Epoch(2), slot, digest, next, &secret))
        }),
        prop::collection::vec(handover(), 0..3).prop_map(PeerMessage::Handovers),
    ]
}

fn handover() -> impl Strategy<Value = Handover> {
    (any::<u64>().prop_map(Slot), digest(), 1..5u8, "[a-z.:0-9]{0,20}").prop_map(|(slot, digest, replicas, address)| {
        let secret = |number: u8| SecretKey::from_seed([number; 32]);
        let members = (0..replicas).map(|number| Member {
            id: ReplicaId(u16::from(number) * 2),
            key: secret(number).public(),
            peer_address: address.clone(),
            client_address: format!("{address}0"),
        });
        let next = Membership::of(CLUSTER, Epoch(3), FaultModel::Byzantine, members.collect()).unwrap();
        let vote = HandoverVote::sign(CLUSTER, Epoch(2), slot, digest, next.digest(), &secret(1));
        Handover { slot, digest, next, signatures: vec![(ReplicaId(2), vote.signature)] }
    })
}

fn encoded(message: &PeerMessage) -> Vec<u8> {
    let mut frame = Vec::new();
    message.encode(Epoch(2), &mut frame);
    frame
}

fn decoded(frame: &[u8]) -> Result<(Epoch, PeerMessage), pssmr_types::DecodeError> {
    PeerMessage::decode(Bytes::copy_from_slice(frame), &BatchLimits::default())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_message_survives_the_wire(message in message()) {
        prop_assert_eq!(decoded(&encoded(&message)), Ok((Epoch(2), message)));
    }

    #[test]
    fn a_value_has_one_encoding(message in message(), flip in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut frame = encoded(&message);
        let place = flip.index(frame.len());
        frame[place] ^= 1 << bit;
        // Another frame is another message, or none; in no case a panic.
        if let Ok((epoch, other)) = decoded(&frame) {
            prop_assert!((epoch, &other) != (Epoch(2), &message));
            let mut again = Vec::new();
            other.encode(epoch, &mut again);
            prop_assert_eq!(again, frame);
        }
    }

    #[test]
    fn no_cut_frame_is_a_message(message in message(), cut in any::<prop::sample::Index>()) {
        let frame = encoded(&message);
        prop_assert!(decoded(&frame[..cut.index(frame.len())]).is_err());
    }

    #[test]
    fn garbage_is_refused_without_a_panic(frame in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decoded(&frame);
    }

    #[test]
    fn a_state_is_valid_for_one_cluster_view_and_sender(state in stop_data()) {
        let key = SecretKey::from_seed([5; 32]).public();
        let holds = |state: &StopData| state.is_signed_by(CLUSTER, &key);
        let others = [
            StopData { view: View(10), ..state.clone() },
            StopData { replica: ReplicaId(5), ..state.clone() },
            StopData { epoch: Epoch(3), ..state.clone() },
            StopData { writeset: vec![], ..state.clone() },
        ];
        prop_assert!(holds(&state) && !state.is_signed_by(ClusterId([8; 16]), &key));
        prop_assert!(!others.iter().any(holds));
    }
}

/// The bytes on the wire are a contract between versions: these change only together with `PROTOCOL_VERSION`.
#[test]
fn golden_frames() {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes all");
            text
        })
    };
    let vote = Vote { view: View(1), base: Slot(2), slot: Slot(3), digest: Digest([0xAA; 32]) };
    let head = "020200000000000000010000000000000002000000000000000300000000000000";
    assert_eq!(hex(&encoded(&PeerMessage::Write(vote))), format!("{head}{}", "aa".repeat(32)));
    assert_eq!(hex(&encoded(&PeerMessage::Stop(View(7)))), "0402000000000000000700000000000000");
    let client = ClientId { principal: Principal(1), session: 2 };
    let batch = Batch::new(5, vec![Request::new(client, 3, 1, Operation::Command, b"hi")]);
    let propose = Propose { view: View(0), slot: Slot(1), parent: Digest([0xBB; 32]), batch: batch.clone() };
    let body = concat!(
        "0500000000000000",
        "01000000",
        "0100000000000000",
        "0200000000000000",
        "0300000000000000",
        "0100000000000000",
        "00",
        "02000000",
        "6869"
    );
    assert_eq!(
        hex(&encoded(&PeerMessage::Propose(propose))),
        format!("01020000000000000000000000000000000100000000000000{}{body}", "bb".repeat(32))
    );
    assert_eq!(hex(&batch.digest().0[..8]), GOLDEN_BATCH_DIGEST);
}

const GOLDEN_BATCH_DIGEST: &str = "30f70bcc2f5705e3";
