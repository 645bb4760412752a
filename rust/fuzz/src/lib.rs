//! What the fuzzer does to everything that reads bytes of others, and the inputs that it found worth keeping.
//!
//! Each function here takes an input and panics if a promise is broken. The fuzz targets (`targets/`, a package of its own
//! since libFuzzer needs a nightly compiler) call them with inputs that reach ever more code; `tests/corpus.rs` calls them
//! with those kept in `corpus/`, with any compiler. `make fuzz` runs the fuzzer.
//!
//! | target | what it reads | what must hold |
//! |---|---|---|
//! | [`frames`] | a link's bytes, cut anywhere | cuts change nothing; bounds |
//! | [`peer_messages`] | frames of replicas | what decodes has this one encoding |
//! | [`client_messages`] | frames of clients, replies, greetings | the same |
//! | [`records`] | a replica's log, record by record | the same; a replay takes it or says why not |
//! | [`log`] | segments of a log, with faults of disks and bytes changed | what is replayed was appended; nothing synced is lost unnoticed |
//! | [`snapshots`] | a manifest; a snapshot's file with bytes changed | what is read was written |
//! | [`choice`] | states of replicas at a view change | the choice is what its definition says, in any order of states |
//! | [`byzantine_peer`] | what a Byzantine replica sends to three correct ones | agreement, no panic, no halt |

mod byzantine_peer;
mod choice;
mod choices;
mod four;
mod logs;
mod records;
mod snapshots;
mod wire;

pub use byzantine_peer::byzantine_peer;
pub use choice::choice;
pub use logs::log;
pub use records::records;
pub use snapshots::snapshots;
pub use wire::{client_messages, frames, peer_messages};

/// A fuzz target: its name, which is that of its corpus, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 8] = [
    ("frames", frames),
    ("peer_messages", peer_messages),
    ("client_messages", client_messages),
    ("records", records),
    ("log", log),
    ("snapshots", snapshots),
    ("choice", choice),
    ("byzantine_peer", byzantine_peer),
];
