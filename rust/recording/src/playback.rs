//! A recording, played back through the same core.

use std::fmt;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use pssmr_ordering::{Core, CoreStatus, Effect, Input};
use pssmr_types::wire::{DecodeError, Reader};

use crate::answer::{Answer, Mark, effect_kind};
use crate::call::{self, Call};
use crate::ending::{End, Ending};
use crate::error::PlaybackError;
use crate::frame::{Frames, Next, kind};
use crate::header::Header;

/// How what the core did differs from what it did when it was recorded: it has another version, or an input that is not
/// recorded, or the recording was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The first effect that differs.
    Effect {
        /// Its place among the effects of the call, from 0.
        index: usize,
        /// What kind of effect there was; none if there was none, or one that this version does not know.
        recorded: Option<&'static str>,
        /// What kind of effect there is now.
        played: Option<&'static str>,
    },
    /// The effects are the same, but something else was signed.
    Signatures,
    /// The core panics, and did not then.
    Panicked(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Effect { index, recorded: Some(recorded), played: Some(played) } if recorded == played => {
                write!(f, "effect {}, of kind {played}, says something else than it did then", index + 1)
            }
            Self::Effect { index, recorded, played } => {
                let name = |kind: Option<&'static str>| kind.unwrap_or("nothing");
                write!(f, "effect {} is {}, and was {} then", index + 1, name(*played), name(*recorded))
            }
            Self::Signatures => write!(f, "the effects are the same, but something else is signed than then"),
            Self::Panicked(reason) => write!(f, "the core panics, and did not then: {reason}"),
        }
    }
}

/// One call of the core, played back.
#[derive(Clone, Debug)]
pub struct Played {
    /// Counts the calls, from 1.
    pub number: u64,
    /// What the core was told.
    pub call: Call,
    /// What it wants done now.
    pub effects: Vec<Effect>,
    /// Where it was before.
    pub before: CoreStatus,
    /// Where it is now; the same as before, if it has panicked.
    pub after: CoreStatus,
    /// Whether the recording says what came of it. The last call of a process that died has no answer.
    pub is_answered: bool,
    /// How that differs from what has come of it now.
    pub difference: Option<Difference>,
}

/// Plays a recording back, one call after the other.
pub struct Playback<R> {
    frames: Frames<R>,
    header: Header,
    core: Core,
    played: u64,
    ending: Option<Ending>,
}

impl<R: Read> Playback<R> {
    /// Reads how a recording begins, and makes the core.
    ///
    /// # Errors
    /// [`PlaybackError`].
    pub fn open(source: R) -> Result<Self, PlaybackError> {
        let mut frames = Frames::open(source)?;
        let offset = frames.offset();
        let header = match frames.next()? {
            Next::Frame(kind::HEADER, body) => {
                whole(body, Header::decode).map_err(|error| damaged(offset, &error.to_string()))?
            }
            Next::Frame(..) => return Err(damaged(offset, "it does not begin with a header")),
            Next::End | Next::Torn => return Err(PlaybackError::Empty),
        };
        if !header.membership.contains(header.me) {
            return Err(PlaybackError::NoSuchReplica(header.me));
        }
        let core = Core::without_key(header.config.clone(), header.membership.clone(), header.me, header.now)?;
        Ok(Self { frames, header, core, played: 0, ending: None })
    }

    /// What the recording says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The core as it is now.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// How many calls were played back.
    pub fn played(&self) -> u64 {
        self.played
    }

    /// How the playback has ended, once it has.
    pub fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Plays the next call back. None at the end, and after a difference.
    ///
    /// # Errors
    /// [`PlaybackError`]: it can't go on.
    pub fn advance(&mut self) -> Result<Option<Played>, PlaybackError> {
        if self.ending.is_some() {
            return Ok(None);
        }
        let Some(call) = self.next_call()? else { return Ok(None) };
        let answer = self.next_answer()?;
        let before = self.core.status();
        let (marks, signatures) = match answer {
            Some(answer) => (Some(answer.effects), answer.signatures),
            None => (None, Vec::new()),
        };
        self.core.give_signatures(signatures);
        let mut effects = Vec::new();
        let told = call.clone();
        let worked = catch_unwind(AssertUnwindSafe(|| told.tell(&mut self.core, &mut effects)));
        let (after, difference) = match worked {
            // What a log does not have in common with itself is in the recording as it is.
            Ok(Ok(()) | Err(_)) => {
                let difference = marks.as_ref().and_then(|marks| self.compare(marks, &effects));
                (self.core.status(), difference)
            }
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                let difference = marks.as_ref().map(|_| Difference::Panicked(text.clone()));
                self.ending = Some(Ending::Panicked(text));
                (before.clone(), difference)
            }
        };
        if difference.is_some() {
            self.ending = Some(Ending::Differs);
        }
        self.played += 1;
        Ok(Some(Played { number: self.played, call, effects, before, after, is_answered: marks.is_some(), difference }))
    }

    fn compare(&self, marks: &[Mark], effects: &[Effect]) -> Option<Difference> {
        let mut buffer = Vec::new();
        let same = effects.iter().zip(marks).take_while(|(effect, mark)| Mark::of(effect, &mut buffer) == **mark);
        let index = same.count();
        if index < marks.len().max(effects.len()) {
            let (recorded, played) = (marks.get(index).and_then(|mark| mark.kind()), effects.get(index));
            return Some(Difference::Effect { index, recorded, played: played.map(effect_kind) });
        }
        (!self.core.used_all_signatures()).then_some(Difference::Signatures)
    }

    /// The next call; none at the end, of which it takes note.
    fn next_call(&mut self) -> Result<Option<Call>, PlaybackError> {
        let mut inputs: Vec<Input> = Vec::new();
        loop {
            let offset = self.frames.offset();
            let wrong = |error: DecodeError| damaged(offset, &error.to_string());
            match self.frames.next()? {
                Next::Frame(kind::INPUTS, body) => call::take_inputs(body, &mut inputs).map_err(wrong)?,
                Next::Frame(kind::END, body) if inputs.is_empty() => {
                    self.ending = Some(Ending::End(whole(body, End::decode).map_err(wrong)?));
                    return Ok(None);
                }
                Next::Frame(frame, body) => match Call::decode(frame, body, inputs).map_err(wrong)? {
                    Some(call) => return Ok(Some(call)),
                    None => return Err(damaged(offset, "this frame can't come here")),
                },
                // A replica hands over a call in one piece, but not the system what it writes.
                Next::End => {
                    self.ending = Some(if inputs.is_empty() { Ending::Cut } else { Ending::Torn });
                    return Ok(None);
                }
                Next::Torn => {
                    self.ending = Some(Ending::Torn);
                    return Ok(None);
                }
            }
        }
    }

    /// What came of the call; none at the end, of which it takes note.
    fn next_answer(&mut self) -> Result<Option<Answer>, PlaybackError> {
        let offset = self.frames.offset();
        let wrong = |error: DecodeError| damaged(offset, &error.to_string());
        let ending = match self.frames.next()? {
            Next::Frame(kind::ANSWER, body) => return whole(body, Answer::decode).map(Some).map_err(wrong),
            Next::Frame(kind::END, body) => Ending::End(whole(body, End::decode).map_err(wrong)?),
            Next::Frame(..) => return Err(damaged(offset, "a call has no answer")),
            Next::End => Ending::Cut,
            Next::Torn => Ending::Torn,
        };
        self.ending = Some(ending);
        Ok(None)
    }
}

fn damaged(offset: u64, what: &str) -> PlaybackError {
    PlaybackError::Damaged { offset, what: what.to_owned() }
}

/// Decodes what takes up a whole frame.
fn whole<T>(body: Bytes, decode: impl FnOnce(&mut Reader) -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    let mut reader = Reader::new(body);
    let value = decode(&mut reader)?;
    reader.finish()?;
    Ok(value)
}
