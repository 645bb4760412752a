//! Fetching what this replica lacks: the base of a view, or slots that others have decided.
//!
//! A chain proves itself from its end: whoever knows the digest at a slot can check each entry below it, one after the
//! other, whoever sends them. So all that has to be trusted is the digest at the end: the SYNC proves it for a base, and
//! k equal answers for a decided slot.

use pssmr_types::{Digest, Entry, PeerMessage, REPLICAS_MAX, ReplicaId, Slot, View, chain_digest};

use crate::core::{Core, Phase};
use crate::interface::{Effect, Event};
use crate::record::Record;

/// How many decided slots are fetched at a time.
const SPAN: u64 = 64;

/// Most slots between what is decided and a base that is fetched at once. A base can be higher only while others have
/// decided more, and those slots are fetched as decided ones.
const BASE_SPAN: u64 = 1024;

/// Most bytes sent in answer to one fetch; the rest is asked for again.
const ANSWER_BYTES_MAX: usize = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Base,
    Decided,
}

#[derive(Clone, Debug)]
struct Fetch {
    purpose: Purpose,
    /// The lowest slot that is not wanted.
    floor: Slot,
    /// The entry that comes next, going down.
    next: (Slot, Digest),
    /// What has come, the highest first.
    entries: Vec<(Digest, Entry)>,
    /// Whom it was last asked of.
    asked: ReplicaId,
    /// How many entries had come when it was last asked for.
    entries_when_asked: usize,
}

impl Fetch {
    /// The highest slot that is wanted.
    fn last(&self) -> Slot {
        self.entries.first().map_or(self.next.0, |(_, entry)| entry.slot)
    }
}

/// The replica's fetches: at most one at a time.
#[derive(Clone, Debug)]
pub(crate) struct CatchUp {
    fetch: Option<Fetch>,
    /// The slot whose decided digest was asked for.
    wanted: Option<Slot>,
    /// Its digest, by who answered.
    answers: Vec<Option<Digest>>,
    /// By replica: it has decided this slot at least, since it accepted one a window above.
    at_least: Vec<Slot>,
    /// Where an operator was told that it is beyond what others keep.
    told: Option<Slot>,
    /// The last view in which this replica took others' word for what is decided: it may have been decided in another one.
    learned_in: Option<View>,
}

impl CatchUp {
    pub(crate) fn new(replicas: usize) -> Self {
        Self {
            fetch: None,
            wanted: None,
            answers: vec![None; replicas],
            at_least: vec![Slot(0); replicas],
            told: None,
            learned_in: None,
        }
    }

    /// A replica accepts a slot: so it has decided what lies a window below.
    pub(crate) fn note_accept(&mut self, from: ReplicaId, slot: Slot, window: usize) {
        let known = &mut self.at_least[from.index()];
        *known = (*known).max(Slot(slot.0.saturating_sub(window as u64)));
    }

    /// What was looked for is not needed any more.
    pub(crate) fn give_up(&mut self) {
        self.fetch = None;
        self.wanted = None;
    }

    /// In this view, others' word was taken for what is decided.
    pub(crate) fn learned_in(&mut self, view: View) {
        self.learned_in = Some(view);
    }

    /// Whether others' word was taken in this view for what is decided.
    pub(crate) fn has_learned_in(&self, view: View) -> bool {
        self.learned_in == Some(view)
    }

    /// The view whose base was fetched is over.
    pub(crate) fn stop_fetching_base(&mut self) {
        self.fetch.take_if(|fetch| fetch.purpose == Purpose::Base);
    }
}

impl Core {
    /// Fetches the base of the view.
    pub(crate) fn fetch_base(&mut self, effects: &mut Vec<Effect>) {
        let Phase::FetchingBase { slot, digest } = self.phase else { return };
        let decided = self.chain.decided();
        if slot <= decided {
            self.base_is_decided(slot, digest, effects);
        } else if slot.0 - decided.0 <= BASE_SPAN {
            self.begin_fetch(Purpose::Base, slot, digest, self.leader(), effects);
        }
    }

    fn base_is_decided(&mut self, slot: Slot, digest: Digest, effects: &mut Vec<Effect>) {
        if self.chain.digest_at(slot).is_some_and(|ours| ours != digest) {
            let view = self.view;
            self.halt(
                format!("agreement is broken: {view} begins at {slot} with {digest}, decided otherwise"),
                effects,
            );
        } else {
            self.activate(effects);
        }
    }

    fn begin_fetch(
        &mut self,
        purpose: Purpose,
        slot: Slot,
        digest: Digest,
        from: ReplicaId,
        effects: &mut Vec<Effect>,
    ) {
        let floor = self.chain.decided();
        self.catch_up.wanted = None;
        self.catch_up.fetch = Some(Fetch {
            purpose,
            floor,
            next: (slot, digest),
            entries: Vec::new(),
            asked: from,
            entries_when_asked: 0,
        });
        self.take_from_shelf();
        if self.end_fetch_if_complete(effects) {
            return;
        }
        if from == self.me { self.ask_next(effects) } else { self.ask(effects) }
    }

    /// What is being fetched may have been on this replica's own chain before.
    fn take_from_shelf(&mut self) {
        let Some(fetch) = &mut self.catch_up.fetch else { return };
        while fetch.next.0 > fetch.floor {
            let (slot, digest) = fetch.next;
            let Some((parent, batch)) = self.shelf.get(slot, digest) else { return };
            fetch.entries.push((digest, Entry { slot, parent, batch: batch.clone() }));
            fetch.next = (Slot(slot.0 - 1), parent);
        }
    }

    fn end_fetch_if_complete(&mut self, effects: &mut Vec<Effect>) -> bool {
        let complete = self.catch_up.fetch.take_if(|fetch| fetch.next.0 <= fetch.floor);
        let is_complete = complete.is_some();
        if let Some(fetch) = complete {
            self.end_fetch(fetch, effects);
        }
        is_complete
    }

    fn ask(&mut self, effects: &mut Vec<Effect>) {
        if let Some(fetch) = &mut self.catch_up.fetch {
            fetch.entries_when_asked = fetch.entries.len();
            let (slot, digest) = fetch.next;
            let message = PeerMessage::Fetch { slot, digest, floor: fetch.floor };
            effects.push(Effect::Send { to: fetch.asked, message });
        }
    }

    /// Asks the next replica, round and round.
    fn ask_next(&mut self, effects: &mut Vec<Effect>) {
        let Some(fetch) = &mut self.catch_up.fetch else { return };
        let mut next = self.membership.after(fetch.asked);
        if next == self.me {
            next = self.membership.after(next);
        }
        if next == self.me {
            return;
        }
        fetch.asked = next;
        self.ask(effects);
    }

    /// Called at every retransmission: goes on with what is being fetched, or begins if others have decided more.
    pub(crate) fn pursue(&mut self, is_stuck: bool, effects: &mut Vec<Effect>) {
        // What was decided in another way meanwhile others may not keep any more, and it is not wanted.
        let decided = self.chain.decided();
        self.catch_up.fetch.take_if(|fetch| fetch.last() <= decided);
        if let Some(fetch) = &mut self.catch_up.fetch {
            fetch.floor = fetch.floor.max(decided);
        }
        self.end_fetch_if_complete(effects);
        if let Some(fetch) = &self.catch_up.fetch {
            // Whoever was asked is asked on as long as entries come.
            if fetch.entries.len() > fetch.entries_when_asked { self.ask(effects) } else { self.ask_next(effects) }
        } else if matches!(self.phase, Phase::FetchingBase { .. }) {
            self.fetch_base(effects);
        }
        if self.epochs.is_joining {
            self.transfer_to_join(effects);
        } else if self.catch_up.fetch.is_none() && is_stuck && !self.halted {
            self.look_for_decided(effects);
        }
    }

    /// The end of the epoch is proven: if it is near, it is fetched on the word of the proof alone.
    pub(crate) fn fetch_end(&mut self, effects: &mut Vec<Effect>) {
        let Some((slot, digest)) = self.proven_end() else { return };
        self.catch_up.fetch.take_if(|fetch| fetch.last() > slot);
        let is_near = slot.0 - self.chain.decided().0 <= BASE_SPAN;
        if is_near && self.catch_up.fetch.is_none() && !self.gate.is_replaying {
            self.begin_fetch(Purpose::Decided, slot, digest, self.membership.after(self.me), effects);
        }
    }

    /// What k replicas have decided at least, by what they say and by how they vote.
    fn decided_elsewhere(&self) -> Slot {
        let mut heads = [Slot(0); REPLICAS_MAX];
        let heads = &mut heads[..self.peers.len()];
        for ((head, status), at_least) in heads.iter_mut().zip(&self.peers).zip(&self.catch_up.at_least) {
            *head = status.map_or(Slot(0), |status| status.decided).max(*at_least);
        }
        heads.sort_unstable_by(|a, b| b.cmp(a));
        heads[self.quorums.weak() - 1]
    }

    /// A replica that is more than a window behind does not wait for heartbeats: under load it would never arrive.
    pub(crate) fn notice_lag(&mut self, effects: &mut Vec<Effect>) {
        let decided = self.chain.decided();
        if self.epochs.is_joining {
            return;
        }
        let is_idle = self.catch_up.fetch.is_none() && self.catch_up.wanted.is_none_or(|wanted| wanted <= decided);
        if is_idle && !self.halted && self.decided_elsewhere().0 > decided.0 + self.config.window as u64 {
            self.look_for_decided(effects);
        }
    }

    /// If k replicas have decided more than this one, finds out what.
    fn look_for_decided(&mut self, effects: &mut Vec<Effect>) {
        let (target, decided) = (self.decided_elsewhere().min(self.last_of_epoch()), self.chain.decided());
        if target <= decided || !self.keeps_up() {
            self.catch_up.wanted = None;
            return;
        }
        let slot = Slot(target.0.min(decided.0 + SPAN));
        if self.catch_up.wanted != Some(slot) {
            self.catch_up.wanted = Some(slot);
            self.catch_up.answers.fill(None);
            effects.push(Effect::Event(Event::CatchingUp { decided, target }));
        }
        effects.push(Effect::Broadcast(PeerMessage::DigestRequest(slot)));
    }

    /// Another replica asks what is decided at a slot.
    pub(crate) fn on_digest_request(&self, from: ReplicaId, slot: Slot, effects: &mut Vec<Effect>) {
        if slot > self.chain.decided() || slot.0 == 0 {
            return;
        }
        let message = if let Some(digest) = self.chain.digest_at(slot) {
            PeerMessage::DigestReply { slot, digest }
        } else {
            self.offer_checkpoint(from, effects);
            PeerMessage::Truncated { oldest: self.chain.oldest() }
        };
        effects.push(Effect::Send { to: from, message });
    }

    /// What another replica says is decided at a slot; k equal answers are the truth.
    pub(crate) fn on_digest_reply(&mut self, from: ReplicaId, slot: Slot, digest: Digest, effects: &mut Vec<Effect>) {
        if self.catch_up.wanted != Some(slot) || slot <= self.chain.decided() {
            return;
        }
        self.catch_up.answers[from.index()] = Some(digest);
        let equal = self.catch_up.answers.iter().filter(|answer| **answer == Some(digest)).count();
        if equal < self.quorums.weak() {
            return;
        }
        self.catch_up.wanted = None;
        if self.chain.digest_at(slot) == Some(digest) {
            self.decide_fetched(slot, effects);
        } else {
            self.begin_fetch(Purpose::Decided, slot, digest, from, effects);
        }
    }

    /// Another replica asks for a part of a chain: ours, or one that was ours.
    pub(crate) fn on_fetch(&self, from: ReplicaId, slot: Slot, digest: Digest, floor: Slot, effects: &mut Vec<Effect>) {
        if slot.0 > 0 && slot < self.chain.oldest() && floor < slot {
            self.offer_checkpoint(from, effects);
            effects.push(Effect::Send { to: from, message: PeerMessage::Truncated { oldest: self.chain.oldest() } });
            return;
        }
        let (mut slot, mut digest) = (slot, digest);
        let mut bytes = 0;
        for _ in 0..BASE_SPAN {
            if slot <= floor {
                return;
            }
            let Some(entry) = self.entry(slot, digest) else { return };
            bytes += entry.batch.bytes().len();
            if bytes > ANSWER_BYTES_MAX && bytes > entry.batch.bytes().len() {
                return;
            }
            (slot, digest) = (Slot(slot.0 - 1), entry.parent);
            effects.push(Effect::Send { to: from, message: PeerMessage::Entry(entry) });
        }
    }

    /// A slot of the chain or of the shelf.
    fn entry(&self, slot: Slot, digest: Digest) -> Option<Entry> {
        if self.chain.digest_at(slot) == Some(digest)
            && let Some(batch) = self.chain.batch(slot)
        {
            let parent = self.chain.digest_at(Slot(slot.0 - 1)).expect("the digest before a kept slot is known");
            return Some(Entry { slot, parent, batch });
        }
        let (parent, batch) = self.shelf.get(slot, digest)?;
        Some(Entry { slot, parent, batch: batch.clone() })
    }

    /// One entry of what is being fetched. Anybody's will do: it proves itself.
    pub(crate) fn on_entry(&mut self, _from: ReplicaId, entry: Entry, effects: &mut Vec<Effect>) {
        let (cluster, epoch) = (self.membership.cluster(), self.membership.epoch());
        let Some(fetch) = &mut self.catch_up.fetch else { return };
        let (slot, digest) = fetch.next;
        if entry.slot != slot || chain_digest(cluster, epoch, slot, entry.parent, entry.batch.digest()) != digest {
            return;
        }
        fetch.next = (Slot(slot.0 - 1), entry.parent);
        fetch.entries.push((digest, entry));
        self.take_from_shelf();
        self.end_fetch_if_complete(effects);
    }

    fn end_fetch(&mut self, fetch: Fetch, effects: &mut Vec<Effect>) {
        let decided = self.chain.decided();
        let (slot, theirs) = fetch.next;
        if self.chain.digest_at(slot).is_some_and(|ours| ours != theirs) {
            self.halt(format!("agreement is broken: the chain at {slot} is {theirs} elsewhere"), effects);
            return;
        }
        let Some(last) = fetch.entries.first().map(|(_, entry)| entry.slot) else { return };
        if last > decided {
            // Slots decided meanwhile by votes are the same ones, or the check above would have failed for those below.
            self.cut_back(decided, effects);
            for (digest, entry) in fetch.entries.into_iter().rev() {
                if entry.slot == self.chain.head().next() {
                    if entry.parent != self.chain.head_digest() {
                        self.halt(
                            format!("agreement is broken: {} does not follow on what is decided", entry.slot),
                            effects,
                        );
                        return;
                    }
                    self.push(&entry.batch, false, effects);
                    assert_eq!(self.chain.head_digest(), digest, "the entries prove themselves");
                }
            }
        }
        match fetch.purpose {
            Purpose::Decided => self.decide_fetched(last, effects),
            Purpose::Base => self.activate(effects),
        }
    }

    /// What is on the chain up to `slot` is decided, by the word of k replicas.
    pub(crate) fn decide_fetched(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        while self.chain.decided() < slot {
            self.deliver_next(effects);
        }
        let slot = self.chain.decided();
        self.persist(|| Record::Decided { slot, in_view: false }, effects);
        let view = self.view;
        self.hand_over(effects);
        if self.view != view {
            self.settle_decided(effects);
            return;
        }
        self.writeset.decided(slot, None);
        self.catch_up.learned_in(self.view);
        self.tidy_shelf();
        self.rebase(effects);
        self.put_images(effects);
        self.forget_old();
        self.change.caught_up(self.me, self.view);
        if self.leader() == self.me && self.phase == Phase::Active {
            self.requeue();
        }
        self.fetch_base(effects);
        if self.catch_up.fetch.is_none() && !self.halted {
            self.look_for_decided(effects);
        }
    }

    /// Another replica no longer has what was asked for.
    pub(crate) fn on_truncated(&mut self, _from: ReplicaId, oldest: Slot, effects: &mut Vec<Effect>) {
        let decided = self.chain.decided();
        let asks = self.catch_up.wanted.is_some() || self.catch_up.fetch.is_some();
        if asks && oldest > decided.next() && self.catch_up.told != Some(decided) {
            self.catch_up.told = Some(decided);
            effects.push(Effect::Event(Event::BeyondRetention { decided, oldest }));
        }
        if asks && oldest > decided.next() {
            self.transfer_beyond(oldest, effects);
        }
    }
}
