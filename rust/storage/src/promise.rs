//! What a replica has promised: the views it will never vote in again, and how far it may have voted.

use std::io;
use std::path::PathBuf;

use pssmr_types::{ClusterId, Digest, ReplicaId, Slot, View};

use crate::atomic::{self, failed};
use crate::directory::{DataDirectory, Place};
use crate::disk;
use crate::error::StorageError;
use crate::identity::Identity;
use crate::preamble;

const MAGIC: [u8; 8] = *b"pssmrprm";
const FORMAT: u32 = 1;
const NAMES: [&str; 2] = ["promise-a", "promise-b"];
/// preamble, cluster, replica, generation, view, slot limit, boot, checksum.
const BYTES: usize = preamble::BYTES + 16 + 2 + 8 + 8 + 8 + 16 + 32;

/// A replica's promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// The replica votes in no view below.
    pub view: View,
    /// The replica has voted in no slot above.
    pub slot_limit: Slot,
    /// The boot of the machine in which this was written: [`boot_id`].
    pub boot: [u8; 16],
}

/// How the copies of the promise were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// Both whole, or none ever written.
    Whole,
    /// One was broken or missing: by a crash while it was written, or by a failing disk. It has been written again from the
    /// other, which has everything that was ever returned from [`PromiseFile::write`].
    OneRestored,
}

/// The file of a replica's promise: two copies, written one after the other, each synced before the other is touched.
///
/// So at every moment one of them is whole and durable, and if one rots the other still has the newest promise. (With
/// copies that alternate, rot of the newer would bring back the older: a promise forgotten.)
///
/// [`DataDirectory::has_voted`] with no promise means: the replica has voted, and nothing else is known. That is so for
/// data directories of versions that wrote no promises.
#[derive(Debug)]
pub struct PromiseFile {
    place: Place,
    generation: u64,
    copies: Copies,
    /// A write failed: what is on disk is not known.
    is_dead: Option<PathBuf>,
}

impl PromiseFile {
    /// Opens the promise in `directory`, and what it says; `None` if there was never one. What it says is durable.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] if both copies are broken; the promise is another replica's, or of a newer version; the
    /// system refuses.
    pub fn open(directory: &DataDirectory) -> Result<(Self, Option<Promise>), StorageError> {
        let place = directory.place().clone();
        let [a, b] = [read(&place, NAMES[0])?, read(&place, NAMES[1])?];
        let newest = match (a, b) {
            (Copy::Missing, Copy::Missing) => None,
            (Copy::Whole(a), Copy::Whole(b)) => Some(if a.generation >= b.generation { a } else { b }),
            (Copy::Whole(one), _) | (_, Copy::Whole(one)) => Some(one),
            (Copy::Broken, _) | (_, Copy::Broken) => {
                let path = place.path.join(NAMES[0]);
                return Err(StorageError::Damaged { path, what: "neither copy of the promise is whole" });
            }
        };
        let mut file = Self { place, generation: 0, copies: Copies::Whole, is_dead: None };
        if let Some(newest) = newest {
            file.generation = newest.generation;
            if a != Copy::Whole(newest) || b != Copy::Whole(newest) {
                // One is from before or is broken. The other may not even be durable: both are written again.
                let was_broken = !matches!((a, b), (Copy::Whole(_), Copy::Whole(_)));
                file.write(&newest.promise)?;
                file.copies = if was_broken { Copies::OneRestored } else { Copies::Whole };
            }
        }
        Ok((file, newest.map(|newest| newest.promise)))
    }

    /// How the copies were found when the file was opened.
    pub fn copies(&self) -> Copies {
        self.copies
    }

    /// Replaces the promise. It is durable when this returns, twice; that takes two syncs.
    ///
    /// # Errors
    /// [`StorageError`]: the promise is the old one or the new one, and must be taken for both. After a full disk
    /// ([`StorageError::NoSpace`]) the call may be repeated, after any other error not.
    pub fn write(&mut self, promise: &Promise) -> Result<(), StorageError> {
        if let Some(path) = &self.is_dead {
            return Err(failed("write", path)(io::Error::other("an earlier write failed")));
        }
        self.generation += 1;
        let bytes = Stored { generation: self.generation, promise: *promise }.encode(&self.place);
        for name in NAMES {
            let written = self.write_copy(name, &bytes);
            if !matches!(written, Ok(()) | Err(StorageError::NoSpace { .. })) {
                self.is_dead = Some(self.place.path.join(name));
            }
            written?;
        }
        Ok(())
    }

    /// Writes over the copy, in one sector, or makes it. Where it was broken or missing it is made anew.
    fn write_copy(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let path = self.place.path.join(name);
        match self.place.disk.open(&path) {
            Ok(file) if file.length().map_err(failed("read", &path))? == BYTES as u64 => {
                disk::write_all(&*file, bytes, 0).map_err(failed("write", &path))?;
                file.sync().map_err(failed("sync", &path))
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("open", &path)(error)),
            _ => atomic::write(&*self.place.disk, &self.place.path, name, bytes),
        }
    }
}

/// A promise with its generation, as a copy has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    generation: u64,
    promise: Promise,
}

impl Stored {
    fn encode(&self, place: &Place) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&preamble::encode(MAGIC, FORMAT));
        bytes.extend_from_slice(&place.cluster.0);
        bytes.extend_from_slice(&place.replica.0.to_le_bytes());
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.promise.view.0.to_le_bytes());
        bytes.extend_from_slice(&self.promise.slot_limit.0.to_le_bytes());
        bytes.extend_from_slice(&self.promise.boot);
        let checksum = Digest::of("pssmr promise file 1", &bytes);
        bytes.extend_from_slice(&checksum.0);
        bytes
    }
}

/// One of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copy {
    Missing,
    Broken,
    Whole(Stored),
}

fn read(place: &Place, name: &str) -> Result<Copy, StorageError> {
    let path = place.path.join(name);
    let bytes = match atomic::read(&*place.disk, &path, BYTES) {
        Ok(None) => return Ok(Copy::Missing),
        Ok(Some(bytes)) => bytes,
        Err(StorageError::Io { source, .. }) if disk::is_unreadable(&source) => return Ok(Copy::Broken),
        Err(error) => return Err(error),
    };
    match preamble::check(&path, &bytes, MAGIC, FORMAT) {
        Ok(()) => {}
        Err(StorageError::Damaged { .. }) => return Ok(Copy::Broken),
        Err(error) => return Err(error),
    }
    let Ok(bytes) = <[u8; BYTES]>::try_from(bytes) else {
        return Ok(Copy::Broken);
    };
    let (body, checksum) = bytes.split_at(BYTES - 32);
    if Digest::of("pssmr promise file 1", body).0 != checksum {
        return Ok(Copy::Broken);
    }
    let mut fields = &body[preamble::BYTES..];
    let found = Identity {
        cluster: ClusterId(preamble::take(&mut fields)),
        replica: ReplicaId(u16::from_le_bytes(preamble::take(&mut fields))),
    };
    Identity { cluster: place.cluster, replica: place.replica }.check(&path, found)?;
    let generation = u64::from_le_bytes(preamble::take(&mut fields));
    let promise = Promise {
        view: View(u64::from_le_bytes(preamble::take(&mut fields))),
        slot_limit: Slot(u64::from_le_bytes(preamble::take(&mut fields))),
        boot: preamble::take(&mut fields),
    };
    Ok(Copy::Whole(Stored { generation, promise }))
}

/// Names the current boot of this machine: what is only in the system's memory survives the end of a process, but not of
/// the boot. Where the system doesn't tell, it is drawn at random, as if every process had a boot of its own.
pub fn boot_id() -> [u8; 16] {
    static BOOT: std::sync::OnceLock<[u8; 16]> = std::sync::OnceLock::new();
    *BOOT.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        parse_boot_id(&text).unwrap_or_else(|| {
            let mut boot = [0; 16];
            getrandom::fill(&mut boot).expect("the system gives random bytes");
            boot
        })
    })
}

fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text.trim().bytes().filter(|&byte| byte != b'-').collect();
    if digits.len() != 32 {
        return None;
    }
    let mut boot = [0; 16];
    for (byte, pair) in boot.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(boot)
}

#[cfg(test)]
mod tests;
