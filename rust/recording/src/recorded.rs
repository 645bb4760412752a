//! A core that is recorded.

use std::fmt;
use std::ops::Deref;

use pssmr_ordering::{Config, ConfigError, Core, CoreSnapshot, Effect, Input, Now, Promise, Record, ReplayError};
use pssmr_types::{Certificate, Membership, ReplicaId, SecretKey};

use crate::answer::{Answer, Mark};
use crate::call::Call;
use crate::frame::{kind, put_frame, put_preamble};
use crate::header::Header;

/// Takes the bytes of a recording.
pub trait Tape: Send {
    /// Takes the next bytes, always whole frames, and must not wait. False if nothing more is wanted: then nothing more is
    /// recorded.
    fn write(&mut self, bytes: &[u8]) -> bool;
}

/// A core whose calls are recorded, if there is a tape. There is no other way to change it, so nothing can be missed.
///
/// A call is on the tape before the core gets it, and what the core answered follows: so a call that it does not survive is
/// there, too.
pub struct RecordedCore {
    core: Core,
    recorder: Option<Box<Recorder>>,
}

struct Recorder {
    tape: Box<dyn Tape>,
    frames: Vec<u8>,
    effect: Vec<u8>,
}

impl Recorder {
    /// Hands over what was put together.
    fn flush(&mut self) -> bool {
        let goes_on = self.tape.write(&self.frames);
        self.frames.clear();
        // One large call is no reason to keep so much for ever.
        self.frames.shrink_to(1 << 20);
        goes_on
    }
}

impl fmt::Debug for RecordedCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { core, recorder } = self;
        f.debug_struct("RecordedCore").field("core", core).field("recorded", &recorder.is_some()).finish()
    }
}

impl Deref for RecordedCore {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl From<Core> for RecordedCore {
    /// One that is not recorded.
    fn from(core: Core) -> Self {
        Self { core, recorder: None }
    }
}

impl RecordedCore {
    /// A replica as [`Core::new`] makes it.
    ///
    /// # Errors
    /// The first setting that can't be.
    ///
    /// # Panics
    /// As [`Core::new`].
    pub fn new(
        config: Config,
        membership: Membership,
        me: ReplicaId,
        secret: SecretKey,
        now: Now,
        tape: Option<Box<dyn Tape>>,
    ) -> Result<Self, ConfigError> {
        let Some(tape) = tape else { return Ok(Core::new(config, membership, me, secret, now)?.into()) };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let header = Header { version, me, now, config: config.clone(), membership: membership.clone() };
        let mut core = Core::new(config, membership, me, secret, now)?;
        let mut recorder = Box::new(Recorder { tape, frames: Vec::new(), effect: Vec::new() });
        put_preamble(&mut recorder.frames);
        put_frame(&mut recorder.frames, kind::HEADER, |out| header.encode(out));
        let is_recorded = recorder.flush();
        core.keep_signatures(is_recorded);
        Ok(Self { core, recorder: is_recorded.then_some(recorder) })
    }

    fn tell(&mut self, call: Call, effects: &mut Vec<Effect>) -> Result<(), ReplayError> {
        let Some(recorder) = &mut self.recorder else { return call.tell(&mut self.core, effects) };
        call.put(&mut recorder.frames);
        let mut is_recorded = recorder.flush();
        let before = effects.len();
        let told = call.tell(&mut self.core, effects);
        if is_recorded {
            let effects = effects[before..].iter().map(|effect| Mark::of(effect, &mut recorder.effect)).collect();
            let answer = Answer { effects, signatures: self.core.take_signatures() };
            put_frame(&mut recorder.frames, kind::ANSWER, |out| answer.encode(out));
            is_recorded = recorder.flush();
        }
        if !is_recorded {
            self.recorder = None;
            self.core.keep_signatures(false);
        }
        told
    }

    /// A call that gives no effects.
    fn set(&mut self, call: Call) {
        self.tell(call, &mut Vec::new()).expect("only the replay of a record is refused");
    }

    /// [`Core::step`].
    pub fn step(&mut self, now: Now, inputs: impl IntoIterator<Item = Input>, effects: &mut Vec<Effect>) {
        if self.recorder.is_none() {
            return self.core.step(now, inputs, effects);
        }
        let inputs = inputs.into_iter().collect();
        self.tell(Call::Step { now, inputs }, effects).expect("only the replay of a record is refused");
    }

    /// [`Core::replay`].
    ///
    /// # Errors
    /// [`ReplayError`]; the core is of no use then.
    pub fn replay(&mut self, record: &Record, effects: &mut Vec<Effect>) -> Result<(), ReplayError> {
        if self.recorder.is_none() {
            return self.core.replay(record, effects);
        }
        self.tell(Call::Replay(Box::new(record.clone())), effects)
    }

    /// [`Core::restore`].
    pub fn restore(&mut self, snapshot: &CoreSnapshot) {
        if self.recorder.is_none() {
            return self.core.restore(snapshot);
        }
        self.set(Call::Restore(Box::new(snapshot.clone())));
    }

    /// [`Core::set_stable`].
    pub fn set_stable(&mut self, certificate: Certificate) {
        self.set(Call::SetStable(certificate));
    }

    /// [`Core::set_promise`].
    pub fn set_promise(&mut self, promise: Promise) {
        self.set(Call::SetPromise(promise));
    }

    /// [`Core::set_newborn`].
    pub fn set_newborn(&mut self) {
        self.set(Call::SetNewborn);
    }

    /// [`Core::set_forgotten`].
    pub fn set_forgotten(&mut self, bound: Promise) {
        self.set(Call::SetForgotten(bound));
    }

    /// [`Core::set_learner`].
    pub fn set_learner(&mut self, learner: bool) {
        self.set(Call::SetLearner(learner));
    }

    /// [`Core::resume`].
    pub fn resume(&mut self, effects: &mut Vec<Effect>) {
        self.tell(Call::Resume, effects).expect("only the replay of a record is refused");
    }
}
