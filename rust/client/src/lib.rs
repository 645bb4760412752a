//! Requests, retries, reply quorums. Sockets.
//!
//! A [`Client`] has one thread and a link to every replica. It opens a session, gives each submitted request the
//! session's next sequence, and sends it: to all replicas where replicas may lie (`bft`), to the believed leader first
//! where they only crash (`cft`). A result is believed when k replicas say the same, each counted once by its link.
//! What has no answer is sent again, byte for byte the same, to all replicas and with a growing delay; replicas execute
//! a sequence once, so a retry is safe. Completions are handed over in bursts.
//!
//! The client is configured with one membership, and learns of later ones from the replicas, each proved by k replicas of
//! the one before. What is under way goes on.
//!
//! # Bounds
//! Requests in flight and waiting are bounded in number and bytes ([`SubmitError::QueueFull`]); results that are not
//! yet believed are bounded in bytes; frames are bounded before they are decoded.

mod client;
mod completion;
mod config;
mod driver;
mod error;
mod inbox;
mod links;
mod replica_set;
mod requester;
mod status;
mod tally;
mod window;

pub use client::Client;
pub use completion::{Completion, CompletionSink, Response};
pub use config::ClientConfig;
pub use error::{ConfigError, ConnectError, RequestError, SubmitError};
pub use inbox::{Submission, Work};
pub use status::{ClientStatus, LinkStatus};
