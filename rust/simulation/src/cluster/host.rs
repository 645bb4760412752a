//! One simulated machine: a core, the execution of what it delivers, and the replies that are kept.

use std::collections::VecDeque;
use std::sync::Arc;

use pssmr_ordering::{Config, CoreSnapshot, Delivery, Durability, Effect, Input, Now, ReplyCache};
use pssmr_recording::{RecordedCore, Tape};
use pssmr_types::{ClientId, Membership, Outcome, ReplicaId, Reply, SecretKey, Slot};

use super::disk::{Disk, Snapshot, Stop};
use super::profile::{Machine, SECOND};
use super::reads::{Answered, Query};
use super::service::Service;
use crate::random::Random;

/// Most bytes of replies that are kept for a session: more than any client has under way.
const REPLIES_BYTES_MAX: usize = 1 << 20;

/// What the wall clock of a host without skew says at the beginning, in nanoseconds since the Unix epoch.
const WALL_START: u64 = 1_700_000_000 * SECOND;

/// What waits for execution.
#[derive(Debug)]
pub(super) enum Work {
    Slot(Delivery),
    Evict(ClientId),
    /// A query that is not ordered.
    Read(Answered),
    /// A snapshot of the state after the slot before.
    Checkpoint(Arc<CoreSnapshot>),
}

/// What became of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Correct,
    Byzantine,
    Crashed,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts about a machine")]
pub(super) struct Host {
    pub(super) id: ReplicaId,
    pub(super) core: RecordedCore,
    pub(super) fate: Fate,
    /// It stands still until then.
    pub(super) paused_until: u64,
    pub(super) machine: Machine,
    /// Added to each step's delay for a while.
    pub(super) slowness: u64,
    monotonic_offset: u64,
    pub(super) inbox: Vec<Input>,
    pub(super) step_scheduled: bool,
    /// When its next tick is scheduled; what comes at another time is an old one.
    pub(super) tick_at: u64,
    pub(super) work: VecDeque<Work>,
    pub(super) executing: bool,
    pub(super) service: Service,
    pub(super) disk: Disk,
    /// Between a stop and the next start.
    pub(super) is_down: bool,
    /// Counts its starts: what an earlier one began never ends.
    pub(super) incarnation: u32,
    replies: ReplyCache,
    /// Queries that wait for slots to be decided.
    pub(super) awaited_reads: VecDeque<(Slot, Query)>,
    /// Queries that were executed.
    pub(super) answered_reads: Vec<Answered>,
    /// Snapshots on their way to the disk.
    pub(super) taken: Vec<(Slot, Snapshot)>,
    /// The membership that it was configured with.
    pub(super) root: Membership,
    /// The one that it is in.
    pub(super) membership: Membership,
    /// Whether it was ever started.
    pub(super) is_born: bool,
}

impl Host {
    pub(super) fn new(
        id: ReplicaId,
        config: &Config,
        membership: &Membership,
        secret: &SecretKey,
        machine: Machine,
        monotonic_offset: u64,
        tape: Option<Box<dyn Tape>>,
    ) -> Self {
        let now = Now { monotonic: monotonic_offset, wall: WALL_START };
        let first = membership.clone();
        let mut core = RecordedCore::new(config.clone(), first, id, secret.clone(), now, tape)
            .expect("the settings are drawn within their bounds");
        let disk = Disk::default();
        core.set_promise(disk.last_promise());
        core.set_newborn();
        Self {
            id,
            core,
            fate: Fate::Correct,
            paused_until: 0,
            machine,
            slowness: 0,
            monotonic_offset,
            inbox: Vec::new(),
            step_scheduled: false,
            tick_at: 0,
            work: VecDeque::new(),
            executing: false,
            service: Service::default(),
            disk,
            is_down: false,
            incarnation: 0,
            replies: ReplyCache::new(REPLIES_BYTES_MAX),
            awaited_reads: VecDeque::new(),
            answered_reads: Vec::new(),
            taken: Vec::new(),
            root: membership.clone(),
            membership: membership.clone(),
            is_born: true,
        }
    }

    /// One that waits to be added to the cluster.
    pub(super) fn unborn(mut self) -> Self {
        (self.is_born, self.is_down) = (false, true);
        self
    }

    /// Stops, and loses all but its disk.
    pub(super) fn stop(&mut self, how: Stop, durability: Durability, random: &mut Random) {
        self.is_down = true;
        self.incarnation += 1;
        self.step_scheduled = false;
        self.executing = false;
        self.inbox.clear();
        self.work.clear();
        self.awaited_reads.clear();
        self.answered_reads.clear();
        self.taken.clear();
        self.disk.stop(how, durability, random);
    }

    /// Starts again with `core`, from its disk. What the core wants done at once is in `effects`.
    pub(super) fn start(&mut self, core: RecordedCore, effects: &mut Vec<Effect>) -> Result<(), String> {
        self.is_down = false;
        self.core = core;
        self.service = Service::default();
        self.replies = ReplyCache::new(REPLIES_BYTES_MAX);
        for record in self.disk.records() {
            if let Some(slot) = self.core.snapshot_before(&record) {
                let snapshot = self.install(slot)?;
                self.core.restore(&snapshot);
            }
            self.core.replay(&record, effects).map_err(|error| error.to_string())?;
            for effect in effects.drain(..) {
                match effect {
                    Effect::Deliver(delivery) => self.work.push_back(Work::Slot(delivery)),
                    Effect::SessionEvicted(client) => self.work.push_back(Work::Evict(client)),
                    Effect::Checkpoint { snapshot, .. } => self.work.push_back(Work::Checkpoint(snapshot)),
                    other => return Err(format!("a replay wants {other:?}")),
                }
            }
            while let Some((slot, _)) = self.execute() {
                self.inbox = vec![Input::Executed(slot)];
            }
        }
        if let Some(certificate) = &self.disk.certificate {
            self.core.set_stable(certificate.clone());
        }
        let promise = self.disk.last_promise();
        self.core.set_promise(promise);
        if self.disk.has_no_promise() {
            self.core.set_newborn();
        } else if !self.core.has_log() {
            self.core.set_forgotten(promise);
        }
        self.membership = self.core.membership().clone();
        self.core.resume(effects);
        Ok(())
    }

    /// Takes over the application's state and the replies of a snapshot on its disk. Gives ordering's part.
    pub(super) fn install(&mut self, slot: Slot) -> Result<CoreSnapshot, String> {
        let snapshot = self.disk.snapshots.get(&slot).ok_or_else(|| format!("there is no snapshot of {slot}"))?;
        // What waits for execution lies below.
        self.work.clear();
        self.taken.clear();
        self.service = snapshot.service.clone();
        self.replies = ReplyCache::restored(REPLIES_BYTES_MAX, snapshot.replies.clone())
            .map_err(|error| format!("the replies in the snapshot of {slot} can't be decoded: {error}"))?;
        Ok(snapshot.core())
    }

    /// The host's two clocks at a virtual time.
    pub(super) fn clocks(&self, now: u64) -> Now {
        Now {
            monotonic: now + self.monotonic_offset,
            wall: (WALL_START + now).saturating_add_signed(self.machine.skew),
        }
    }

    /// A wall clock that is `ahead` of the true time.
    pub(super) fn wall_ahead(now: u64, ahead: u64) -> u64 {
        WALL_START + now + ahead
    }

    /// When the core wants to be woken, as a virtual time.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.core.deadline().map(|deadline| deadline.saturating_sub(self.monotonic_offset))
    }

    pub(super) fn is_up(&self, now: u64) -> bool {
        !self.is_crashed() && !self.is_down && self.paused_until <= now
    }

    /// A correct replica that has not crashed: one that has to keep all promises.
    pub(super) fn is_correct(&self) -> bool {
        self.fate == Fate::Correct
    }

    pub(super) fn is_crashed(&self) -> bool {
        self.fate == Fate::Crashed
    }

    /// What it remembers of a request that was executed.
    pub(super) fn remembered(&self, client: ClientId, sequence: u64) -> Option<Reply> {
        let result = self.replies.get(client, sequence)?.clone();
        Some(Reply { session: client.session, sequence, outcome: Outcome::Result(result) })
    }

    /// Executes the next slot that waits; its number, and the replies to send.
    pub(super) fn execute(&mut self) -> Option<(pssmr_types::Slot, Vec<(ClientId, Reply)>)> {
        loop {
            match self.work.pop_front()? {
                Work::Evict(client) => self.replies.evict(client),
                Work::Read(mut read) => {
                    read.value = self.service.value(read.query.key);
                    self.answered_reads.push(read);
                }
                Work::Checkpoint(_) => unreachable!("a snapshot is taken right after its slot"),
                Work::Slot(delivery) => {
                    let mut replies = Vec::with_capacity(delivery.commands.len());
                    for command in &delivery.commands {
                        let result = self.service.execute(&delivery, command);
                        self.replies.acknowledge(command.client, command.acknowledged);
                        self.replies.insert(command.client, command.sequence, result.clone());
                        let (session, sequence) = (command.client.session, command.sequence);
                        replies.push((command.client, Reply { session, sequence, outcome: Outcome::Result(result) }));
                    }
                    while let Some(Work::Checkpoint(_)) = self.work.front() {
                        let Some(Work::Checkpoint(core)) = self.work.pop_front() else { break };
                        self.take_snapshot(&core);
                    }
                    return Some((delivery.slot, replies));
                }
            }
        }
    }

    fn take_snapshot(&mut self, core: &CoreSnapshot) {
        let replies = self.replies.capture(core).into();
        let snapshot = Snapshot { core: core.encode().into(), service: self.service.clone(), replies };
        self.taken.push((core.slot, snapshot));
    }

    /// Whether a slot waits for execution.
    pub(super) fn has_slot_to_execute(&self) -> bool {
        self.work.iter().any(|work| matches!(work, Work::Slot(_)))
    }

    /// Where it is, as text.
    pub(super) fn show(&self) -> String {
        let status = self.core.status();
        format!(
            "{} {:?}: {} {}{} decided {} head {} executed {} pending {} sessions {}",
            self.id,
            self.fate,
            status.view,
            if status.active { "active" } else { "not active" },
            if status.retired {
                " retired"
            } else if status.learner {
                " learner"
            } else {
                ""
            },
            status.decided,
            status.head,
            status.executed,
            status.pending,
            status.sessions
        )
    }
}
