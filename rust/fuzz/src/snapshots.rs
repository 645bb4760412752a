//! Snapshots: what is read of one is what was written, or an error.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use pssmr_storage::faults::FaultyDisk;
use pssmr_storage::{CHUNK_BYTES_MIN, DataDirectory, Manifest, SnapshotOptions, Snapshots};
use pssmr_types::{ClusterId, ReplicaId, Slot};

use crate::choices::Choices;

const SLOT: Slot = Slot(9);

/// A manifest of another replica, or a snapshot's file of which bytes were changed.
pub fn snapshots(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    if choices.flag() {
        manifest(choices.rest());
    } else {
        file(&mut choices);
    }
}

fn manifest(bytes: &[u8]) {
    let Ok(manifest) = Manifest::decode(Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(manifest.encode(), bytes, "a manifest has one encoding");
    let lengths: u64 = (0..manifest.count()).filter_map(|chunk| manifest.chunk_length(chunk)).map(u64::from).sum();
    assert_eq!(lengths, manifest.bytes, "the chunks are the whole");
    assert_eq!(manifest.chunk_length(manifest.count()), None);
    assert!(!manifest.matches(manifest.count(), b"") && !manifest.matches(0, bytes));
}

fn open(disk: &FaultyDisk) -> Option<Snapshots> {
    let directory =
        DataDirectory::open_on(Arc::new(disk.clone()), "/replica", ClusterId([3; 16]), ReplicaId(1)).ok()?;
    Snapshots::open(&directory, SnapshotOptions { chunk_bytes: CHUNK_BYTES_MIN }).ok()
}

fn file(choices: &mut Choices<'_>) {
    let disk = FaultyDisk::new();
    let state: Vec<u8> = (0..16 * choices.below(256)).map(|at| at as u8 ^ (at >> 8) as u8).collect();
    {
        let snapshots = open(&disk).expect("nothing is wrong with the disk");
        let mut writer = snapshots.begin(SLOT).expect("there is room");
        writer.write_all(&state).expect("there is room");
        writer.finish().expect("there is room");
        let snapshot = snapshots.open_snapshot(SLOT).expect("it was just written");
        snapshot.set_certificate(b"certificate").expect("there is room");
    }
    disk.kill();
    let mut files: Vec<PathBuf> = disk.files();
    files.retain(|path| path.parent().is_some_and(|parent| parent.ends_with("snapshots")));
    for _ in 0..=choices.below(3) {
        let path = &files[choices.below(files.len())];
        let mut bytes = disk.contents(path).expect("it is among the files");
        // The ends of a file are what is read first.
        let at = (choices.number() as usize).min(bytes.len());
        let at = if choices.flag() { bytes.len() - at } else { at };
        match choices.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.extend_from_slice(choices.bytes(48)),
            2 => {
                let with = choices.bytes(48);
                let end = (at + with.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&with[..end - at]);
            }
            _ if at < bytes.len() => bytes[at] ^= choices.byte(),
            _ => {}
        }
        disk.set_contents(path, &bytes);
    }
    let Some(snapshots) = open(&disk) else { return };
    let Ok(snapshot) = snapshots.open_snapshot(SLOT) else { return };
    if let Ok(Some(certificate)) = snapshot.certificate() {
        assert_eq!(&certificate[..], b"certificate");
    }
    let mut read = Vec::new();
    if snapshot.reader().read_to_end(&mut read).is_ok() {
        assert_eq!(read, state, "what is read is what was written");
    }
    let manifest = snapshot.manifest().clone();
    let chunks: Vec<_> =
        (0..manifest.count()).filter_map(|chunk| Some((chunk, snapshot.read_chunk(chunk).ok()?))).collect();
    let Ok(mut download) = snapshots.begin_download(manifest) else { return };
    for (chunk, bytes) in chunks {
        download.put_chunk(chunk, &bytes).expect("a chunk that was verified fits");
    }
    let missing = download.missing_count();
    assert_eq!(download.finish().is_ok(), missing == 0);
}
