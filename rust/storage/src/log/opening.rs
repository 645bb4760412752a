//! Opening a log: replay, judgement, and a new segment to go on in.
//!
//! Every opening begins a new segment, so that nothing is ever written to a file that an earlier process has made: what a
//! torn tail holds can't be continued by chance, and what can be read but may not be durable (the process was killed
//! before its sync, or its sync failed and the system forgot) is written again and synced before anybody relies on it.
//! The new segment's first index says where the records of the one before it end.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use super::active::{Active, Tail, file_name, sync_failed};
use super::note::{self, Note};
use super::replay::{End, Extent, Replayed, replay};
use super::segment::{SEGMENT_HEADER, SegmentHeader, SegmentKey};
use super::window::Window;
use super::{Damage, Log, LogOptions, Recovery, SET_ASIDE, Sealed, remove_if_there, set_aside};
use crate::atomic::{self, UNFINISHED, failed};
use crate::directory::Place;
use crate::disk::{self, DiskFile};
use crate::error::StorageError;

pub(super) fn open(
    place: &Place,
    options: LogOptions,
    each: &mut dyn FnMut(u64, &[u8]),
) -> Result<(Log, Recovery), StorageError> {
    let directory = place.path.join("log");
    let mut opening = Opening::new(place.clone(), directory)?;
    opening.replay_all(each)?;
    let Opening { place, directory, found, sealed, last, next, torn_bytes, broken, noted, number_max, .. } = opening;
    let is_damaged = broken.is_some() || noted.is_some();
    let recovery = Recovery {
        first_index: sealed.front().map_or(0, |segment| segment.first_index),
        next_index: next,
        is_new: number_max == 0,
        torn_bytes,
        damage: None,
    };

    if let Some(broken) = &broken {
        if noted.is_none() {
            note::write(&place, &directory, &broken.note(&found, next))?;
        }
        // The newest first: at every moment what is left is a log that ends before the same record.
        for file in found[broken.keep..].iter().rev() {
            set_aside(&place, &directory.join(file_name(file.number)))?;
            sync_names(&place, &directory)?;
        }
    }
    let tail = last.as_ref().and_then(|last| {
        let from = last.replayed.unclaimed?;
        Some(Tail { file: &*last.file, path: &last.path, key: last.key.clone(), from, to: next })
    });
    let first_index = tail.as_ref().map_or(next, |tail| tail.from.0);
    let active = Active::create(&place, &directory, number_max + 1, first_index, options.segment_bytes, tail.as_ref())?;

    let mut sealed = sealed;
    if !is_damaged {
        // All that they hold is in the new segment.
        while sealed.back().is_some_and(|segment| segment.first_index >= first_index) {
            let superseded = sealed.pop_back().expect("it was looked at");
            remove_if_there(&place, &directory.join(file_name(superseded.number)))?;
            sync_names(&place, &directory)?;
        }
        if let Some(last) = last.filter(|last| last.replayed.end == End::Clean) {
            // Only gives reserved space back; what is cut off is zeros.
            let _ = last.file.truncate(last.replayed.end_offset);
        }
    }
    let noted = note::read(&place, &directory)?;
    for segment in &mut sealed {
        segment.is_damaged |= noted.as_ref().is_some_and(|note| note.segment == segment.number);
    }
    let damage = noted.map(|note| describe(&place, &directory, note)).transpose()?;
    let log = Log {
        place,
        directory,
        options,
        sealed,
        active,
        buffer: Vec::new(),
        next_index: next,
        written: next,
        synced: next,
        failure: None,
    };
    Ok((log, Recovery { damage, ..recovery }))
}

/// A segment's file, and its header or what is wrong with it.
struct Found {
    number: u64,
    header: Result<SegmentHeader, &'static str>,
}

/// The segment that was replayed last.
struct LastReplayed {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    key: SegmentKey,
    replayed: Replayed,
}

/// Where the log turned out to be damaged.
struct Broken {
    /// The position of the damaged file among those found.
    position: usize,
    offset: u64,
    what: &'static str,
    /// How many of the files found go on being the log.
    keep: usize,
}

impl Broken {
    fn note(&self, found: &[Found], first_lost: u64) -> Note {
        let segment = found[self.position].number;
        Note { segment, offset: self.offset, first_lost, what: self.what.to_owned() }
    }
}

struct Opening {
    place: Place,
    directory: PathBuf,
    found: Vec<Found>,
    sealed: VecDeque<Sealed>,
    last: Option<LastReplayed>,
    next: u64,
    torn_bytes: Option<u64>,
    broken: Option<Broken>,
    noted: Option<Note>,
    /// The highest number that a segment ever had, as far as names tell.
    number_max: u64,
}

impl Opening {
    fn new(place: Place, directory: PathBuf) -> Result<Self, StorageError> {
        atomic::create_directory(&*place.disk, &directory)?;
        let (mut numbers, mut number_max) = (Vec::new(), 0);
        for name in place.disk.names(&directory).map_err(failed("list", &directory))? {
            if name.ends_with(UNFINISHED) {
                remove_if_there(&place, &directory.join(&name))?;
            }
            let is_aside = name.ends_with(SET_ASIDE);
            let Some(number) = number_of(name.strip_suffix(SET_ASIDE).unwrap_or(&name)) else { continue };
            number_max = number_max.max(number);
            if !is_aside {
                numbers.push(number);
            }
        }
        numbers.sort_unstable();
        let noted = note::read(&place, &directory)?;
        let found = numbers
            .into_iter()
            .map(|number| Ok(Found { number, header: read_header(&place, &directory, number)? }))
            .collect::<Result<_, StorageError>>()?;
        Ok(Self {
            place,
            directory,
            found,
            sealed: VecDeque::new(),
            last: None,
            next: 0,
            torn_bytes: None,
            broken: None,
            noted,
            number_max,
        })
    }

    fn replay_all(&mut self, each: &mut dyn FnMut(u64, &[u8])) -> Result<(), StorageError> {
        for position in 0..self.found.len() {
            let header = match self.check_order(position) {
                Ok(header) => header,
                Err(what) => {
                    self.broken = Some(Broken { position, offset: 0, what, keep: position });
                    return Ok(());
                }
            };
            self.next = header.first_index;
            let end = self.replay_one(position, &header, each)?;
            match end {
                End::Clean => {}
                End::Torn { bytes } => self.torn_bytes = Some(bytes),
                End::Damaged { what } => {
                    let offset = self.last.as_ref().map_or(0, |last| last.replayed.end_offset);
                    self.broken = Some(Broken { position, offset, what, keep: position + 1 });
                    self.sealed.back_mut().expect("it was just added").is_damaged = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The segment's header, if it continues what was replayed so far.
    fn check_order(&self, position: usize) -> Result<SegmentHeader, &'static str> {
        let header = self.found[position].header?;
        if self.sealed.back().is_some_and(|before| header.first_index < before.first_index) {
            return Err("it begins before the segment before it");
        }
        // The segment before it was replayed as far as this one, or found damaged.
        assert!(self.sealed.is_empty() || header.first_index == self.next, "a gap was not noticed");
        Ok(header)
    }

    fn replay_one(
        &mut self,
        position: usize,
        header: &SegmentHeader,
        each: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<End, StorageError> {
        let extent = match self.found.get(position + 1) {
            None => Extent::Last { reserved: header.reserved },
            Some(Found { header: Ok(next), .. }) => Extent::Below(next.first_index),
            Some(Found { header: Err(_), .. }) => Extent::Sealed,
        };
        let path = self.directory.join(file_name(header.number));
        let file = self.place.disk.open(&path).map_err(failed("open", &path))?;
        let key = SegmentKey::new(header);
        let mut replayed = Window::new(&*file)
            .and_then(|mut window| replay(&mut window, &key, header.first_index, extent, each))
            .map_err(failed("read", &path))?;
        if !matches!(extent, Extent::Last { .. }) {
            // A later segment was begun, and everything before it was durable then.
            replayed.unclaimed = None;
        }
        self.next = replayed.next_index;
        let end = replayed.end.clone();
        self.sealed.push_back(Sealed { number: header.number, first_index: header.first_index, is_damaged: false });
        self.last = Some(LastReplayed { path, file, key, replayed });
        Ok(end)
    }
}

fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".log")?.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// The header of a segment, or what is wrong with it.
fn read_header(
    place: &Place,
    directory: &Path,
    number: u64,
) -> Result<Result<SegmentHeader, &'static str>, StorageError> {
    let path = directory.join(file_name(number));
    let file = place.disk.open(&path).map_err(failed("open", &path))?;
    let mut bytes = vec![0; SEGMENT_HEADER as usize];
    match disk::read_full(&*file, &mut bytes, 0) {
        Ok(read) => bytes.truncate(read),
        Err(error) if disk::is_unreadable(&error) => return Ok(Err("its header can't be read")),
        Err(error) => return Err(failed("read", &path)(error)),
    }
    match SegmentHeader::decode(&path, &bytes, place) {
        Ok(header) if header.number != number => Ok(Err("it has another segment's name")),
        Ok(header) => Ok(Ok(header)),
        Err(StorageError::Damaged { what, .. }) => Ok(Err(what)),
        Err(error) => Err(error),
    }
}

fn describe(place: &Place, directory: &Path, note: Note) -> Result<Damage, StorageError> {
    let mut file = directory.join(file_name(note.segment));
    match place.disk.open(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            file = directory.join(format!("{}{SET_ASIDE}", file_name(note.segment)));
        }
        opened => drop(opened.map_err(failed("open", &file))?),
    }
    Ok(Damage { file, offset: note.offset, first_lost: note.first_lost, what: note.what })
}

fn sync_names(place: &Place, directory: &Path) -> Result<(), StorageError> {
    place.disk.sync_directory(directory).map_err(|error| sync_failed(directory, error))
}
