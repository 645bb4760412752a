//! What a core is told: everything that changes it comes in this way.

use bytes::Bytes;
use pssmr_ordering::{Core, CoreSnapshot, Effect, Input, Now, Promise, Record, ReplayError};
use pssmr_types::wire::{DecodeError, Reader, Writer};
use pssmr_types::{BatchLimits, Certificate, Checkpoint, PeerMessage, Principal, Request};

use crate::frame::{BODY_BYTES_MAX, kind, put_frame};
use crate::header::{now, put_now};

/// A frame of inputs that has so many bytes takes no more.
const INPUTS_BYTES: usize = 1 << 20;

/// One call of a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`Core::step`](pssmr_ordering::Core::step).
    Step {
        /// The time.
        now: Now,
        /// What has happened.
        inputs: Vec<Input>,
    },
    /// The replica goes on from its own snapshot.
    Restore(Box<CoreSnapshot>),
    /// The next record of its log.
    Replay(Box<Record>),
    /// The newest stable checkpoint that it has the proof of.
    SetStable(Certificate),
    /// What it had promised.
    SetPromise(Promise),
    /// It remembers nothing.
    SetNewborn,
    /// It may have voted so far, and has forgotten how.
    SetForgotten(Promise),
    /// Whether it only follows.
    SetLearner(bool),
    /// The end of its log.
    Resume,
}

mod tag {
    pub(super) const MESSAGE: u8 = 1;
    pub(super) const REQUEST: u8 = 2;
    pub(super) const EXECUTED: u8 = 3;
    pub(super) const DURABLE: u8 = 4;
    pub(super) const PROMISED: u8 = 5;
    pub(super) const LOG_BEHIND: u8 = 6;
    pub(super) const CONNECTED: u8 = 7;
    pub(super) const DISCONNECTED: u8 = 8;
    pub(super) const CHECKPOINT_TAKEN: u8 = 9;
    pub(super) const TRANSFERRED: u8 = 10;
    pub(super) const TRANSFER_FAILED: u8 = 11;
    pub(super) const STEP_DOWN: u8 = 12;
    pub(super) const TICK: u8 = 13;
}

fn put_promise(promise: &Promise, out: &mut Vec<u8>) {
    out.put_u64(promise.view.0);
    out.put_u64(promise.slot_limit.0);
}

fn promise(reader: &mut Reader) -> Result<Promise, DecodeError> {
    Ok(Promise { view: reader.view()?, slot_limit: reader.slot("slot of a promise")? })
}

/// Appends an input, without a length: messages as on the wire, requests as their clients sent them.
fn put_input(input: &Input, out: &mut Vec<u8>) {
    match input {
        Input::Message { from, epoch, message } => {
            out.put_u8(tag::MESSAGE);
            out.put_u16(from.0);
            message.encode(*epoch, out);
        }
        Input::Request(request) => {
            out.put_u8(tag::REQUEST);
            out.put_u64(request.client.principal.0);
            out.put(request.body());
        }
        Input::Executed(slot) => {
            out.put_u8(tag::EXECUTED);
            out.put_u64(slot.0);
        }
        Input::Durable(records) => {
            out.put_u8(tag::DURABLE);
            out.put_u64(*records);
        }
        Input::Promised(promise) => {
            out.put_u8(tag::PROMISED);
            put_promise(promise, out);
        }
        Input::LogBehind(is_behind) => {
            out.put_u8(tag::LOG_BEHIND);
            out.put_u8(u8::from(*is_behind));
        }
        Input::Connected(replica) => {
            out.put_u8(tag::CONNECTED);
            out.put_u16(replica.0);
        }
        Input::Disconnected(replica) => {
            out.put_u8(tag::DISCONNECTED);
            out.put_u16(replica.0);
        }
        Input::CheckpointTaken(checkpoint) => {
            out.put_u8(tag::CHECKPOINT_TAKEN);
            checkpoint.encode(out);
        }
        Input::Transferred(snapshot) => {
            out.put_u8(tag::TRANSFERRED);
            out.put(&snapshot.encode());
        }
        Input::TransferFailed => out.put_u8(tag::TRANSFER_FAILED),
        Input::StepDown => out.put_u8(tag::STEP_DOWN),
        Input::Tick => out.put_u8(tag::TICK),
    }
}

/// Appends inputs, each after its length, until there are many bytes: a checksum for each would cost more.
fn put_inputs<'a>(inputs: &mut impl Iterator<Item = &'a Input>, out: &mut Vec<u8>) {
    let start = out.len();
    while out.len() - start < INPUTS_BYTES
        && let Some(input) = inputs.next()
    {
        let at = out.len();
        out.put_u32(0);
        put_input(input, out);
        let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
        out[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// Decodes inputs that take up all of `bytes`, and appends them.
pub(crate) fn take_inputs(bytes: Bytes, inputs: &mut Vec<Input>) -> Result<(), DecodeError> {
    let mut reader = Reader::new(bytes);
    while !reader.rest().is_empty() {
        inputs.push(input(reader.bytes("input", BODY_BYTES_MAX)?)?);
    }
    Ok(())
}

/// Decodes an input that takes up all of `bytes`.
fn input(bytes: Bytes) -> Result<Input, DecodeError> {
    let mut reader = Reader::new(bytes);
    let input = match reader.u8("kind of an input")? {
        tag::MESSAGE => {
            let from = reader.replica()?;
            let (epoch, message) = PeerMessage::decode(reader.rest().clone(), &BatchLimits::WIDEST)?;
            return Ok(Input::Message { from, epoch, message });
        }
        tag::TRANSFERRED => return Ok(Input::Transferred(Box::new(CoreSnapshot::decode(reader.rest().clone())?))),
        tag::REQUEST => {
            let principal = Principal(reader.u64("principal")?);
            Input::Request(Request::decode(principal, &mut reader, BatchLimits::WIDEST.bytes_max)?)
        }
        tag::EXECUTED => Input::Executed(reader.slot("slot executed")?),
        tag::DURABLE => Input::Durable(reader.u64("records kept")?),
        tag::PROMISED => Input::Promised(promise(&mut reader)?),
        tag::LOG_BEHIND => Input::LogBehind(reader.flag("log behind")?),
        tag::CONNECTED => Input::Connected(reader.replica()?),
        tag::DISCONNECTED => Input::Disconnected(reader.replica()?),
        tag::CHECKPOINT_TAKEN => Input::CheckpointTaken(Checkpoint::decode(&mut reader)?),
        tag::TRANSFER_FAILED => Input::TransferFailed,
        tag::STEP_DOWN => Input::StepDown,
        tag::TICK => Input::Tick,
        other => return Err(DecodeError::UnknownTag("input", other)),
    };
    reader.finish()?;
    Ok(input)
}

impl Call {
    /// Appends its frames: those of a step's inputs, and then one for the call.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Step { now, inputs } => {
                let mut inputs = inputs.iter().peekable();
                while inputs.peek().is_some() {
                    put_frame(out, kind::INPUTS, |out| put_inputs(&mut inputs, out));
                }
                put_frame(out, kind::STEP, |out| put_now(*now, out));
            }
            Self::Restore(snapshot) => put_frame(out, kind::RESTORE, |out| out.put(&snapshot.encode())),
            Self::Replay(record) => put_frame(out, kind::REPLAY, |out| {
                let batch = record.encode(out).cloned();
                out.put(&batch.unwrap_or_default());
            }),
            Self::SetStable(certificate) => put_frame(out, kind::SET_STABLE, |out| certificate.encode(out)),
            Self::SetPromise(promise) => put_frame(out, kind::SET_PROMISE, |out| put_promise(promise, out)),
            Self::SetNewborn => put_frame(out, kind::SET_NEWBORN, |_| {}),
            Self::SetForgotten(bound) => put_frame(out, kind::SET_FORGOTTEN, |out| put_promise(bound, out)),
            Self::SetLearner(is_one) => put_frame(out, kind::SET_LEARNER, |out| out.put_u8(u8::from(*is_one))),
            Self::Resume => put_frame(out, kind::RESUME, |_| {}),
        }
    }

    /// Tells the core.
    ///
    /// # Errors
    /// The record of a [`Call::Replay`] does not fit.
    pub(crate) fn tell(self, core: &mut Core, effects: &mut Vec<Effect>) -> Result<(), ReplayError> {
        match self {
            Self::Step { now, inputs } => core.step(now, inputs, effects),
            Self::Restore(snapshot) => core.restore(&snapshot),
            Self::Replay(record) => return core.replay(&record, effects),
            Self::SetStable(certificate) => core.set_stable(certificate),
            Self::SetPromise(promise) => core.set_promise(promise),
            Self::SetNewborn => core.set_newborn(),
            Self::SetForgotten(bound) => core.set_forgotten(bound),
            Self::SetLearner(is_one) => core.set_learner(is_one),
            Self::Resume => core.resume(effects),
        }
        Ok(())
    }

    /// Decodes a call's frame; `inputs` are those of the frames before, which only a step may have. None if the frame is of
    /// another kind.
    pub(crate) fn decode(frame: u8, body: Bytes, inputs: Vec<Input>) -> Result<Option<Self>, DecodeError> {
        if !inputs.is_empty() && frame != kind::STEP {
            return Err(DecodeError::Invalid("inputs without a step"));
        }
        let mut reader = Reader::new(body);
        let call = match frame {
            kind::STEP => Self::Step { now: now(&mut reader)?, inputs },
            kind::RESTORE => return Ok(Some(Self::Restore(Box::new(CoreSnapshot::decode(reader.rest().clone())?)))),
            kind::REPLAY => return Ok(Some(Self::Replay(Box::new(Record::decode(reader.rest().clone())?)))),
            kind::SET_STABLE => Self::SetStable(Certificate::decode(&mut reader)?),
            kind::SET_PROMISE => Self::SetPromise(promise(&mut reader)?),
            kind::SET_NEWBORN => Self::SetNewborn,
            kind::SET_FORGOTTEN => Self::SetForgotten(promise(&mut reader)?),
            kind::SET_LEARNER => Self::SetLearner(reader.flag("learner")?),
            kind::RESUME => Self::Resume,
            _ => return Ok(None),
        };
        reader.finish()?;
        Ok(Some(call))
    }
}

#[cfg(test)]
mod tests;
