//! Recordings of a small cluster: what is played back, and what is noticed if it is not as it was.

use std::sync::{Arc, Mutex};

use pssmr_ordering::{Config, Effect, Input, Now};
use pssmr_recording::{Difference, End, Ending, Playback, PlaybackError, RecordedCore, Tape};
use pssmr_types::{
    ClientId, ClusterId, Epoch, FaultModel, Membership, Operation, PeerMessage, Principal, ReplicaId, Request,
    SecretKey, Slot,
};

/// What the preamble takes, and the head of a frame.
const PREAMBLE: usize = 12;
const HEAD: usize = 12;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Tape for Memory {
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.lock().unwrap().extend_from_slice(bytes);
        true
    }
}

fn secret(replica: u16) -> SecretKey {
    SecretKey::from_seed([replica as u8 + 1; 32])
}

fn membership() -> Membership {
    let keys = (0..4).map(|replica| secret(replica).public()).collect();
    Membership::new(ClusterId([1; 16]), Epoch(0), FaultModel::Byzantine, keys).unwrap()
}

fn core(replica: u16, tape: Option<Box<dyn Tape>>) -> RecordedCore {
    let now = Now::default();
    RecordedCore::new(Config::default(), membership(), ReplicaId(replica), secret(replica), now, tape).unwrap()
}

/// Four replicas; replica 1 is recorded. The first leader stops after one slot, and the others go on in the next view.
fn recorded() -> Vec<u8> {
    let tape = Memory::default();
    let mut cores: Vec<_> =
        (0..4).map(|i| core(i, (i == 1).then(|| Box::new(tape.clone()) as Box<dyn Tape>))).collect();
    let mut inbox: Vec<Vec<Input>> = vec![vec![]; 4];
    let opening = |nonce| {
        let client = ClientId { principal: Principal(7), session: 0 };
        Request::new(client, nonce, 0, Operation::OpenSession, b"")
    };
    let mut decided = 0;
    for round in 0..400 {
        let leader_stops = decided >= 1;
        if round == 0 || round == 20 {
            for inbox in &mut inbox {
                inbox.push(Input::Request(opening(round + 1)));
            }
        }
        let now = Now { monotonic: round * 20_000_000, wall: 1_700_000_000_000_000_000 + round * 20_000_000 };
        for i in usize::from(leader_stops)..4 {
            let mut effects = Vec::new();
            let inputs = std::mem::take(&mut inbox[i]);
            cores[i].step(now, inputs, &mut effects);
            for effect in effects {
                let mut send = |to: usize, message: PeerMessage| {
                    inbox[to].push(Input::Message { from: ReplicaId(i as u16), epoch: Epoch(0), message });
                };
                match effect {
                    Effect::Send { to, message } => send(to.index(), message),
                    Effect::Broadcast(message) => (0..4).filter(|to| *to != i).for_each(|to| send(to, message.clone())),
                    Effect::Deliver(delivery) => inbox[i].push(Input::Executed(delivery.slot)),
                    _ => {}
                }
            }
        }
        decided = cores[1].decided().0;
        if decided >= 2 {
            assert!(cores[1].view().number() >= 1, "the leader was deposed");
            return tape.bytes();
        }
    }
    panic!("it takes too long: {:?}", cores[1].status());
}

/// Plays back all that can be: how many calls, how it ends, and the first difference.
fn play(bytes: &[u8]) -> Result<(u64, Ending, Option<Difference>), PlaybackError> {
    let mut playback = Playback::open(bytes)?;
    let mut difference = None;
    while let Some(played) = playback.advance()? {
        difference = played.difference;
    }
    Ok((playback.played(), playback.ending().expect("it is over").clone(), difference))
}

/// Where the frames begin, with their kinds.
fn frames(bytes: &[u8]) -> Vec<(usize, u8)> {
    let mut frames = Vec::new();
    let mut at = PREAMBLE;
    while at < bytes.len() {
        frames.push((at, bytes[at + HEAD]));
        at += HEAD + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    }
    frames
}

#[test]
fn a_view_change_is_played_back_without_the_key_of_the_leader_that_signed_it() {
    let bytes = recorded();
    let mut playback = Playback::open(bytes.as_slice()).unwrap();
    assert_eq!(playback.header().me, ReplicaId(1));
    assert_eq!(playback.header().membership, membership());
    assert_eq!(playback.header().config, Config::default());
    let mut syncs = 0;
    while let Some(played) = playback.advance().unwrap() {
        assert_eq!(played.difference, None, "{played:#?}");
        let is_sync = |effect: &&Effect| matches!(effect, Effect::Broadcast(PeerMessage::Sync(_)));
        syncs += played.effects.iter().filter(is_sync).count();
    }
    assert_eq!(syncs, 1, "it led the view change");
    assert_eq!(playback.core().decided(), Slot(2));
    assert_eq!(playback.ending(), Some(&Ending::Cut));
    let secret = secret(1).to_pkcs8_der();
    let seed = &secret[16..48];
    assert_eq!(seed, [2; 32], "where the key is in this form");
    assert!(!bytes.windows(32).any(|window| window == seed), "the secret key is not in the recording");
}

#[test]
fn how_it_ends_is_said() {
    let whole = recorded();
    for (end, says) in [(End::Stopped, "was stopped"), (End::Full, "its limit"), (End::Behind, "too much waited")] {
        let mut bytes = whole.clone();
        end.put(&mut bytes);
        let (_, ending, difference) = play(&bytes).unwrap();
        assert_eq!((&ending, difference), (&Ending::End(end), None));
        assert!(ending.to_string().contains(says), "{ending}");
    }
}

#[test]
fn a_recording_that_ends_anywhere_is_played_back_up_to_there() {
    let whole = recorded();
    let frames = frames(&whole);
    let header_ends = frames[1].0;
    // The last thirty frames, at each byte.
    let last = frames[frames.len() - 30].0;
    let mut most = 0;
    for length in (0..header_ends).chain(last..whole.len()) {
        match play(&whole[..length]) {
            Ok((calls, ending, difference)) => {
                assert!(length >= header_ends);
                assert!(matches!(ending, Ending::Cut | Ending::Torn), "{ending:?}");
                assert_eq!(difference, None);
                assert!(calls >= most, "more bytes are not fewer calls");
                most = calls;
            }
            Err(PlaybackError::NotARecording) => assert!(length < PREAMBLE),
            Err(PlaybackError::Empty) => assert!((PREAMBLE..header_ends).contains(&length)),
            Err(other) => panic!("{length} bytes: {other}"),
        }
    }
}

#[test]
fn a_bit_that_is_flipped_anywhere_is_noticed() {
    let whole = recorded();
    let frames = frames(&whole);
    // The preamble, the header and the first calls, and a stretch with votes.
    let middle = frames.len() / 2;
    let stretches = [0..frames[12].0, frames[middle].0..frames[middle + 12].0];
    for at in stretches.into_iter().flatten() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            match play(&bytes) {
                Err(PlaybackError::NotARecording) => assert!(at < 8),
                Err(PlaybackError::Format { .. }) => assert!((8..PREAMBLE).contains(&at)),
                Err(PlaybackError::Damaged { offset, .. }) => {
                    let frame = frames.iter().rfind(|(start, _)| *start <= at).expect("behind the preamble");
                    assert_eq!(offset, frame.0 as u64, "byte {at}");
                }
                other => panic!("byte {at}, bit {bit}: {other:?}"),
            }
        }
    }
}

/// Somebody with a pen: what is changed has a right checksum.
fn with_frame(whole: &[u8], index: usize, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let frames = frames(whole);
    let start = frames[index].0;
    let end = frames.get(index + 1).map_or(whole.len(), |next| next.0);
    let mut body = whole[start + HEAD..end].to_vec();
    change(&mut body);
    let checksum = pssmr_types::Digest::of("pssmr recording frame 1", &body).0;
    let length = u32::try_from(body.len()).unwrap();
    let head = [&length.to_le_bytes()[..], &(!length).to_le_bytes(), &checksum[..4]].concat();
    [&whole[..start], &head, &body, &whole[end..]].concat()
}

const INPUTS: u8 = 2;
const ANSWER: u8 = 12;

#[test]
fn an_effect_that_differs_is_named() {
    let whole = recorded();
    let frames = frames(&whole);
    let has_effects = |(start, kind): &(usize, u8)| *kind == ANSWER && whole[start + HEAD + 1] > 0;
    let index = frames.iter().rposition(has_effects).unwrap();
    // Another mark of the same kind; one effect less; another kind.
    let (_, ending, difference) = play(&with_frame(&whole, index, |body| body[1 + 4 + 7] ^= 1)).unwrap();
    let Some(Difference::Effect { index: 0, recorded, played }) = difference else { panic!("{difference:?}") };
    assert_eq!((recorded.is_some(), recorded), (true, played));
    assert_eq!(ending, Ending::Differs);
    let fewer = with_frame(&whole, index, |body| {
        body[1] -= 1;
        body.drain(5..13);
    });
    assert!(matches!(play(&fewer).unwrap().2, Some(Difference::Effect { .. })));
    let halt = with_frame(&whole, index, |body| body[5] = 14);
    assert!(matches!(play(&halt).unwrap().2, Some(Difference::Effect { index: 0, recorded: Some("halt"), .. })));
}

#[test]
fn an_input_that_was_changed_is_noticed_by_what_comes_of_it() {
    let whole = recorded();
    let frames = frames(&whole);
    // A client's request: then another batch is proposed, forwarded, or waited for.
    let is_request = |(start, kind): &(usize, u8)| *kind == INPUTS && whole[start + HEAD + 1 + 4] == 2;
    let index = frames.iter().rposition(is_request).unwrap();
    let (calls, ending, difference) = play(&with_frame(&whole, index, |body| body[1 + 4 + 1] ^= 1)).unwrap();
    assert!(difference.is_some() && ending == Ending::Differs, "{calls} {ending:?} {difference:?}");
}

#[test]
fn a_signature_that_is_not_of_what_is_signed_is_noticed() {
    let whole = recorded();
    let index = frames(&whole).iter().position(|(start, kind)| {
        let effects = usize::from(whole[start + HEAD + 1]);
        *kind == ANSWER && whole[start + HEAD + 1 + 4 + 8 * effects] > 0
    });
    let index = index.expect("it has signed something");
    let changed = with_frame(&whole, index, |body| *body.last_mut().unwrap() ^= 1);
    assert!(play(&changed).unwrap().2.is_some());
    // One more, which nothing is signed for now.
    let more = with_frame(&whole, index, |body| {
        let count = body.len() - 64 - 4;
        assert_eq!(body[count], 1);
        body[count] = 2;
        body.extend([9; 64]);
    });
    assert_eq!(play(&more).unwrap().2, Some(Difference::Signatures));
}

#[test]
fn a_call_that_the_core_does_not_survive_is_played_back_too() {
    let mut bytes = recorded();
    let tape = Memory::default();
    let mut core = core(1, Some(Box::new(tape.clone())));
    // What was never delivered can't be executed: the core says that its host is broken.
    let told = std::panic::AssertUnwindSafe(|| core.step(Now::default(), [Input::Executed(Slot(99))], &mut vec![]));
    assert!(std::panic::catch_unwind(told).is_err());
    let (calls, ending, difference) = play(&tape.bytes()).unwrap();
    assert_eq!((calls, difference), (1, None));
    let Ending::Panicked(reason) = ending else { panic!("{ending:?}") };
    assert!(reason.contains("only what was delivered is executed"), "{reason}");
    // If it did survive it then, that is another matter.
    let answered = {
        let at = frames(&bytes);
        let (start, _) = at[at.len() - 1];
        bytes.split_off(start)
    };
    let (_, ending, difference) = play(&[tape.bytes(), answered].concat()).unwrap();
    assert_eq!(ending, Ending::Differs);
    assert!(matches!(difference, Some(Difference::Panicked(_))));
}

#[test]
fn nothing_is_recorded_from_where_the_tape_wants_no_more() {
    struct Short(Memory, usize);
    impl Tape for Short {
        fn write(&mut self, bytes: &[u8]) -> bool {
            self.0.write(bytes);
            self.1 -= 1;
            self.1 > 0
        }
    }
    let tape = Memory::default();
    // The header, a call, its answer, a call.
    let mut core = core(1, Some(Box::new(Short(tape.clone(), 4))));
    for tick in 1..10 {
        core.step(Now { monotonic: tick, wall: tick }, [Input::Tick], &mut vec![]);
    }
    let (calls, ending, difference) = play(&tape.bytes()).unwrap();
    assert_eq!((calls, ending, difference), (2, Ending::Cut, None));
}

#[test]
fn what_is_no_recording_is_refused_in_words() {
    let refused = |bytes: &[u8]| play(bytes).unwrap_err().to_string();
    assert_eq!(refused(b""), "it is not a recording of a replica");
    assert_eq!(refused(b"[cluster]\nname = \"prod\"\n"), "it is not a recording of a replica");
    let mut other = recorded();
    other[8] = 2;
    assert!(refused(&other).contains("format 2; this version of pssmr plays back format 1"), "{}", refused(&other));
    let stranger = with_frame(&recorded(), 0, |body| body[1 + 4 + env!("CARGO_PKG_VERSION").len()] = 9);
    assert_eq!(refused(&stranger), "it is of replica r9, which is not in its membership");
}
