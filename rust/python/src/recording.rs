//! `_core.Recording`: a recording of a replica's ordering, played back.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use parking_lot::Mutex;
use pssmr_recording::{Call, Difference, End, Ending, Playback, PlaybackError, Played, describe, effect_kind};
use pssmr_types::Slot;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::errors;

/// A recording of what a replica's ordering was told, played back through the same core.
///
/// Raises OSError if the file can't be read, and pssmr.ConfigError if it is no recording.
#[pyclass(frozen, module = "pssmr._core")]
pub(crate) struct Recording {
    player: Mutex<Player>,
}

struct Player {
    playback: Playback<BufReader<File>>,
    totals: Totals,
    /// Why it could not go on: the recording is damaged.
    damage: Option<String>,
}

/// What was played back so far.
#[derive(Debug, Default, Serialize)]
struct Totals {
    steps: u64,
    inputs: u64,
    effects: u64,
    /// The clocks of the last step, since the beginning and since the Unix epoch, in seconds.
    seconds: f64,
    time: f64,
    /// How many view changes there were.
    view_changes: u64,
    /// How many slots were decided, and the last one.
    slots: u64,
    decided: u64,
    view: u64,
    epoch: u64,
    difference: Option<Differs>,
}

#[derive(Clone, Debug, Serialize)]
struct Differs {
    step: u64,
    text: String,
}

/// Something with a line of its own.
#[derive(Serialize)]
struct Line {
    kind: &'static str,
    slot: Option<u64>,
    text: String,
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn number(slot: Option<Slot>) -> Option<u64> {
    slot.map(|slot| slot.0)
}

impl Player {
    fn advance(&mut self) -> Result<Option<Played>, PlaybackError> {
        if self.damage.is_some() {
            return Ok(None);
        }
        let played = match self.playback.advance() {
            Ok(played) => played,
            Err(PlaybackError::Io(error)) => return Err(PlaybackError::Io(error)),
            Err(error) => {
                self.damage = Some(error.to_string());
                return Ok(None);
            }
        };
        if let Some(played) = &played {
            let start = self.playback.header().now.monotonic;
            self.totals.add(played, start);
        }
        Ok(played)
    }

    fn step(&self, played: &Played) -> String {
        let start = self.playback.header().now.monotonic;
        let (clock, inputs) = match &played.call {
            Call::Step { now, inputs } => (Some(*now), inputs.as_slice()),
            _ => (None, [].as_slice()),
        };
        let inputs = inputs.iter().map(|input| Line {
            kind: describe::input_kind(input),
            slot: number(describe::input_slot(input)),
            text: describe::input(input),
        });
        let effects = played.effects.iter().map(|effect| Line {
            kind: effect_kind(effect),
            slot: number(describe::effect_slot(effect)),
            text: describe::effect(effect),
        });
        let state = &played.after;
        json!({
            "step": played.number,
            "kind": describe::call_kind(&played.call),
            "slot": number(describe::call_slot(&played.call)),
            "text": describe::call(&played.call),
            "seconds": clock.map(|now| seconds(now.monotonic.saturating_sub(start))),
            "time": clock.map(|now| seconds(now.wall)),
            "inputs": inputs.collect::<Vec<_>>(),
            "effects": effects.collect::<Vec<_>>(),
            "changes": describe::changes(&played.before, &played.after),
            "state": {
                "epoch": state.epoch.0,
                "view": state.view.number(),
                "leader": state.leader.0,
                "active": state.active,
                "learner": state.learner,
                "retired": state.retired,
                "halted": state.halted,
                "decided": state.decided.0,
                "executed": state.executed.0,
                "head": state.head.0,
                "checkpoint": state.checkpoint.0,
                "pending": state.pending,
                "sessions": state.sessions,
                "position": state.position,
            },
            "answered": played.is_answered,
            "difference": played.difference.as_ref().map(difference),
        })
        .to_string()
    }

    fn ending(&self) -> Option<(&'static str, String)> {
        if let Some(damage) = &self.damage {
            return Some(("damaged", damage.clone()));
        }
        let ending = self.playback.ending()?;
        let kind = match ending {
            Ending::End(End::Stopped) => "stopped",
            Ending::End(End::Full) => "full",
            Ending::End(End::Behind) => "behind",
            Ending::Cut => "cut",
            Ending::Torn => "torn",
            Ending::Panicked(_) => "panicked",
            Ending::Differs => "differs",
        };
        Some((kind, ending.to_string()))
    }
}

fn difference(difference: &Difference) -> serde_json::Value {
    let text = difference.to_string();
    match difference {
        Difference::Effect { index, recorded, played } => {
            json!({"text": text, "effect": index, "recorded": recorded, "played": played})
        }
        Difference::Signatures | Difference::Panicked(_) => json!({"text": text}),
    }
}

impl Totals {
    fn add(&mut self, played: &Played, start: u64) {
        self.steps = played.number;
        if let Call::Step { now, inputs } = &played.call {
            self.inputs += inputs.len() as u64;
            self.seconds = seconds(now.monotonic.saturating_sub(start));
            self.time = seconds(now.wall);
        }
        self.effects += played.effects.len() as u64;
        self.view_changes += u64::from(played.after.view != played.before.view);
        self.slots += played.after.decided.0.saturating_sub(played.before.decided.0);
        self.decided = played.after.decided.0;
        (self.view, self.epoch) = (played.after.view.number(), played.after.epoch.0);
        let text = played.difference.as_ref().map(ToString::to_string);
        self.difference = text.map(|text| Differs { step: played.number, text });
    }
}

#[pymethods]
impl Recording {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let opened = py.detach(|| Playback::open(BufReader::new(File::open(&path).map_err(PlaybackError::Io)?)));
        let playback = opened.map_err(|error| raise(py, error, &path.display().to_string()))?;
        Ok(Self { player: Mutex::new(Player { playback, totals: Totals::default(), damage: None }) })
    }

    /// What the recording says of itself: a JSON object.
    fn header(&self) -> String {
        let player = self.player.lock();
        let header = player.playback.header();
        json!({
            "pssmr": header.version,
            "cluster": header.membership.cluster().to_string(),
            "replica": header.me.0,
            "fault_model": header.membership.quorums().model().as_str(),
            "epoch": header.membership.epoch().0,
            "replicas": header.membership.replicas().map(|id| id.0).collect::<Vec<_>>(),
            "durability": header.config.durability.as_str(),
            "time": seconds(header.now.wall),
        })
        .to_string()
    }

    /// Plays so many steps back, fewer if that slot is decided before, that view is entered, or a difference is found.
    /// Returns the last one as a JSON object; None at the end.
    ///
    /// Raises OSError if the file can't be read.
    #[pyo3(signature = (steps, *, decided=None, view=None))]
    fn forward(&self, py: Python<'_>, steps: u64, decided: Option<u64>, view: Option<u64>) -> PyResult<Option<String>> {
        let forwarded = py.detach(|| {
            let mut player = self.player.lock();
            let mut last = None;
            for _ in 0..steps {
                let Some(played) = player.advance()? else { break };
                let decides = decided.is_some_and(|slot| played.after.decided >= Slot(slot));
                let enters = view.is_some_and(|view| played.after.view.number() >= view);
                let stops = decides || enters || played.difference.is_some();
                last = Some(played);
                if stops {
                    break;
                }
            }
            Ok(last.map(|played| player.step(&played)))
        });
        forwarded.map_err(|error| raise(py, error, "the recording"))
    }

    /// What was played back so far, and how it has ended, if it has: a JSON object.
    fn summary(&self) -> String {
        let player = self.player.lock();
        let mut summary = serde_json::to_value(&player.totals).expect("numbers and text");
        let (kind, text) = player.ending().unzip();
        summary["ending"] = json!(kind);
        summary["text"] = json!(text);
        summary.to_string()
    }
}

fn raise(py: Python<'_>, error: PlaybackError, what: &str) -> PyErr {
    match error {
        PlaybackError::Io(error) => PyOSError::new_err((error.raw_os_error(), format!("{what}: {error}"))),
        other => errors::config_error(py, format!("{what}: {other}")),
    }
}
