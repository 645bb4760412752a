//! Files: what a replica keeps on disk.
//!
//! A [`DataDirectory`] belongs to one replica of one cluster, and to one process at a time. It keeps whose it is, and
//! whether the replica has ever voted.

mod atomic;
mod directory;
mod error;
mod identity;

pub use directory::DataDirectory;
pub use error::StorageError;
