//! Whom to ask for which chunk: some of each replica at a time, again elsewhere what does not come. No I/O.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use pssmr_types::ReplicaId;

/// How many chunks one replica is asked for at a time.
const CHUNKS_AT_ONCE: usize = 4;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What is asked of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Manifest,
    Chunk(u32),
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    of: ReplicaId,
    until: Instant,
}

/// The state of a download.
#[derive(Debug)]
pub(super) struct Download {
    /// Who may have the snapshot; the next to be asked first.
    peers: VecDeque<ReplicaId>,
    /// None until the manifest is known.
    to_ask: Option<VecDeque<u32>>,
    asked: BTreeMap<u32, Asked>,
    manifest_asked: Option<Asked>,
    /// Those that let the last question to them pass.
    silent: BTreeSet<ReplicaId>,
}

impl Download {
    pub(super) fn new(peers: VecDeque<ReplicaId>) -> Self {
        Self { peers, to_ask: None, asked: BTreeMap::new(), manifest_asked: None, silent: BTreeSet::new() }
    }

    /// The manifest is known, and these chunks are missing.
    pub(super) fn begin(&mut self, missing: VecDeque<u32>) {
        if let Some(asked) = self.manifest_asked.take() {
            self.silent.remove(&asked.of);
        }
        self.to_ask = Some(missing);
    }

    /// Nobody is left who answers: there may be a newer snapshot by now, that others have.
    pub(super) fn is_hopeless(&self) -> bool {
        self.peers.iter().all(|peer| self.silent.contains(peer))
    }

    /// When the first answer is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.asked.values().chain(&self.manifest_asked).map(|asked| asked.until).min()
    }

    pub(super) fn awaits_manifest_of(&self, from: ReplicaId) -> bool {
        self.manifest_asked.is_some_and(|asked| asked.of == from)
    }

    pub(super) fn awaits(&self, from: ReplicaId, chunk: u32) -> bool {
        self.asked.get(&chunk).is_some_and(|asked| asked.of == from)
    }

    /// A chunk is there.
    pub(super) fn arrived(&mut self, chunk: u32) {
        if let Some(asked) = self.asked.remove(&chunk) {
            self.silent.remove(&asked.of);
        }
    }

    /// A chunk that came can't be kept now.
    pub(super) fn put_off(&mut self, chunk: u32, now: Instant) {
        if let Some(asked) = self.asked.get_mut(&chunk) {
            asked.until = now + ANSWER_TIMEOUT;
        }
    }

    /// A replica does not have the snapshot.
    pub(super) fn gone(&mut self, from: ReplicaId) {
        self.ban(from);
    }

    /// A replica is not to be asked any more.
    pub(super) fn ban(&mut self, from: ReplicaId) {
        self.peers.retain(|peer| *peer != from);
        self.manifest_asked.take_if(|asked| asked.of == from);
        self.ask_again(|asked| asked.of == from);
    }

    fn ask_again(&mut self, is_lost: impl Fn(&Asked) -> bool) {
        let lost: Vec<u32> = self.asked.iter().filter(|(_, asked)| is_lost(asked)).map(|(chunk, _)| *chunk).collect();
        for chunk in lost {
            self.asked.remove(&chunk);
            self.to_ask.get_or_insert_default().push_front(chunk);
        }
    }

    /// What to ask for now, and whom: nobody for more than a few at a time, all in turn.
    pub(super) fn requests(&mut self, now: Instant) -> Vec<(ReplicaId, Request)> {
        let late = self.asked.values().chain(&self.manifest_asked).filter(|asked| asked.until <= now);
        self.silent.extend(late.map(|asked| asked.of));
        self.manifest_asked.take_if(|asked| asked.until <= now);
        self.ask_again(|asked| asked.until <= now);
        let mut requests = Vec::new();
        let until = now + ANSWER_TIMEOUT;
        let Some(to_ask) = &mut self.to_ask else {
            if self.manifest_asked.is_none()
                && let Some(of) = self.peers.front().copied()
            {
                self.peers.rotate_left(1);
                self.manifest_asked = Some(Asked { of, until });
                requests.push((of, Request::Manifest));
            }
            return requests;
        };
        let mut idle = 0;
        while idle < self.peers.len() && !to_ask.is_empty() {
            let of = self.peers[0];
            self.peers.rotate_left(1);
            if self.asked.values().filter(|asked| asked.of == of).count() >= CHUNKS_AT_ONCE {
                idle += 1;
                continue;
            }
            idle = 0;
            let chunk = to_ask.pop_front().expect("it is not empty");
            self.asked.insert(chunk, Asked { of, until });
            requests.push((of, Request::Chunk(chunk)));
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn download(peers: u16) -> Download {
        Download::new((0..peers).map(ReplicaId).collect())
    }

    fn chunks_of(requests: &[(ReplicaId, Request)], replica: u16) -> usize {
        requests.iter().filter(|(of, _)| of.0 == replica).count()
    }

    #[test]
    fn the_manifest_is_asked_of_one_after_the_other() {
        let (mut download, now) = (download(3), Instant::now());
        assert_eq!(download.requests(now), [(ReplicaId(0), Request::Manifest)]);
        assert_eq!(download.requests(now), []);
        assert!(download.awaits_manifest_of(ReplicaId(0)) && !download.awaits_manifest_of(ReplicaId(1)));
        let later = download.deadline().unwrap();
        assert_eq!(download.requests(later), [(ReplicaId(1), Request::Manifest)]);
        download.gone(ReplicaId(1));
        assert_eq!(download.requests(later), [(ReplicaId(2), Request::Manifest)]);
        download.gone(ReplicaId(2));
        download.gone(ReplicaId(0));
        assert!(download.is_hopeless());
    }

    /// A kill storm: one replica was paused, and the others had newer snapshots only.
    #[test]
    fn one_that_says_nothing_does_not_hold_up_a_download_for_ever() {
        let (mut download, now) = (download(3), Instant::now());
        download.requests(now);
        download.gone(ReplicaId(0));
        download.requests(now);
        download.gone(ReplicaId(1));
        assert_eq!(download.requests(now), [(ReplicaId(2), Request::Manifest)]);
        assert!(!download.is_hopeless(), "it may have it");
        let later = download.deadline().unwrap();
        download.requests(later);
        assert!(download.is_hopeless());
        // It has been late, but it has answered.
        download.begin([7].into());
        download.requests(later);
        assert!(!download.is_hopeless());
        let latest = download.deadline().unwrap();
        download.requests(latest);
        assert!(download.is_hopeless());
        download.arrived(7);
        assert!(!download.is_hopeless());
    }

    #[test]
    fn chunks_are_asked_of_all_at_once_and_of_nobody_too_many() {
        let (mut download, now) = (download(3), Instant::now());
        download.begin((0..100).collect());
        let requests = download.requests(now);
        assert_eq!([0, 1, 2].map(|replica| chunks_of(&requests, replica)), [CHUNKS_AT_ONCE; 3]);
        assert_eq!(download.requests(now), []);
        let (of, Request::Chunk(chunk)) = requests[5] else { panic!("{requests:?}") };
        assert!(download.awaits(of, chunk));
        download.arrived(chunk);
        assert!(!download.awaits(of, chunk), "it is not wanted twice");
        let more = download.requests(now);
        assert_eq!((more.len(), more[0].0), (1, of));
    }

    #[test]
    fn what_a_liar_was_asked_for_is_asked_of_others() {
        let (mut download, now) = (download(2), Instant::now());
        download.begin((0..4).collect());
        download.requests(now);
        download.ban(ReplicaId(0));
        let again = download.requests(now);
        assert!(again.len() == 2 && chunks_of(&again, 1) == 2);
    }

    #[test]
    fn what_does_not_come_is_asked_for_again() {
        let (mut download, now) = (download(1), Instant::now());
        download.begin([7].into());
        assert_eq!(download.requests(now), [(ReplicaId(0), Request::Chunk(7))]);
        let later = download.deadline().unwrap();
        assert_eq!(download.requests(later), [(ReplicaId(0), Request::Chunk(7))]);
    }
}
