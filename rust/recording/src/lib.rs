//! What a replica's ordering core was told, as bytes, and played back: the core is deterministic, so the same calls give
//! the same effects, and what one replica did once can be looked at step by step. No threads; files are their callers'.
//!
//! | file | what it is about |
//! |---|---|
//! | `recorded` | a core whose calls are recorded |
//! | `frame`, `header`, `call`, `answer`, `ending` | what is in the file, in this order |
//! | `playback` | a recording, played back through the same core, and compared with what was recorded |
//! | `describe` | calls, messages and effects as lines for people |
//!
//! A recording has no secret keys: what the replica signed is in it instead, and is given back to the core. It has the
//! requests of clients in the clear.

mod answer;
mod call;
pub mod describe;
mod ending;
mod error;
mod frame;
mod header;
mod playback;
mod recorded;

pub use answer::effect_kind;
pub use call::Call;
pub use ending::{End, Ending};
pub use error::PlaybackError;
pub use header::Header;
pub use playback::{Difference, Playback, Played};
pub use recorded::{RecordedCore, Tape};
