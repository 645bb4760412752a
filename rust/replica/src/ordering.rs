//! The ordering thread: frames, requests and time into the core, its effects out. One loop, no hand-off on the path of
//! a vote, and nothing in it waits for anything but its own poll.

mod checkpoints;
mod links;
mod replay;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pssmr_execution::{Command, CommandKind, Executor};
use pssmr_ordering::{Command as OrderedCommand, Delivery, Effect, Event, Input, Now, Record};
use pssmr_recording::RecordedCore;
use pssmr_storage::MembershipFile;
use pssmr_transport::{Event as LinkEvent, Transport};
use pssmr_types::{BatchLimits, ClientId, Membership, Operation, PeerMessage, Request, Slot};

pub(crate) use self::checkpoints::{Allowance, Checkpointing, RestoreFailure};
pub(crate) use self::links::PeerLinks;
use self::links::Taken;
use crate::events::ReplicaEvent;
use crate::inbox::{ClientInbox, Notice, OrderingInbox};
use crate::log::LogInbox;
use crate::panic_message;
use crate::reads::{AwaitedReads, TakenRead};
use crate::state::State;
use crate::status::Counters;
use crate::step_down::{Answer, SteppedDown};
use crate::traces::Traces;
use crate::versions::VersionError;

/// How long the last frames may take to leave when the replica stops.
const LINGER: Duration = Duration::from_millis(100);

/// What the thread shows of itself is at most this old, once it rests.
const SHOW_INTERVAL: Duration = Duration::from_millis(20);

/// Everything that the ordering thread owns.
pub(crate) struct OrderingThread {
    core: RecordedCore,
    links: PeerLinks,
    executor: Arc<Executor>,
    /// None without a data directory.
    log: Option<Arc<LogInbox>>,
    /// None without a data directory.
    checkpointing: Option<Checkpointing>,
    inbox: Arc<OrderingInbox>,
    clients: Arc<ClientInbox>,
    state: Arc<State>,
    limits: BatchLimits,
    /// The membership that the replica began with.
    root: Membership,
    /// With durability `memory`, where the newest membership is kept.
    membership_file: Option<MembershipFile>,
    /// From so many slots on that are decided and not executed, the thread wants to know when execution advances.
    backlog_slots: u64,
    origin: Instant,
    /// None if nobody looks at them.
    traces: Option<Arc<Traces>>,
    counters: Counters,
    notices: Vec<Notice>,
    reads: AwaitedReads,
    inputs: Vec<Input>,
    records: Vec<Record>,
    /// The records that the core knows are kept.
    durable: u64,
    log_is_behind: bool,
    /// Who is to hear whether the replica steps down.
    step_downs: Vec<SyncSender<Answer>>,
    /// The last slot that the core knows is executed.
    executed: Slot,
    /// The version of the service that what was delivered last is of.
    version: u32,
    /// When what the thread shows was last brought up to date, and whether it has changed since.
    shown_at: Instant,
    show_due: bool,
}

/// What the ordering thread is made of.
pub(crate) struct Parts {
    pub(crate) core: RecordedCore,
    pub(crate) links: PeerLinks,
    pub(crate) executor: Arc<Executor>,
    pub(crate) log: Option<Arc<LogInbox>>,
    pub(crate) checkpointing: Option<Checkpointing>,
    pub(crate) inbox: Arc<OrderingInbox>,
    pub(crate) clients: Arc<ClientInbox>,
    pub(crate) state: Arc<State>,
    pub(crate) limits: BatchLimits,
    pub(crate) root: Membership,
    pub(crate) membership_file: Option<MembershipFile>,
    pub(crate) unexecuted_slots_max: usize,
    /// The instant that the core's clock counts from.
    pub(crate) origin: Instant,
    pub(crate) traces: Option<Arc<Traces>>,
}

/// The two clocks, for the core.
pub(crate) fn clocks(origin: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { monotonic: origin.elapsed().as_nanos() as u64, wall: wall.as_nanos() as u64 }
}

impl OrderingThread {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            version: parts.core.service_version(),
            core: parts.core,
            links: parts.links,
            executor: parts.executor,
            log: parts.log,
            checkpointing: parts.checkpointing,
            inbox: parts.inbox,
            clients: parts.clients,
            state: parts.state,
            limits: parts.limits,
            root: parts.root,
            membership_file: parts.membership_file,
            backlog_slots: (parts.unexecuted_slots_max as u64).div_ceil(2),
            origin: parts.origin,
            traces: parts.traces,
            counters: Counters::default(),
            notices: Vec::new(),
            reads: AwaitedReads::default(),
            inputs: Vec::new(),
            records: Vec::new(),
            durable: 0,
            log_is_behind: false,
            step_downs: Vec::new(),
            executed: Slot(0),
            shown_at: parts.origin,
            show_due: true,
        }
    }

    /// The thread's life.
    pub(crate) fn run(mut self, mut transport: Transport) {
        let worked = catch_unwind(AssertUnwindSafe(|| self.work(&mut transport)));
        let reason = match worked {
            Ok(Ok(())) => None,
            Ok(Err(reason)) => Some(reason),
            Err(panic) => Some(format!("the ordering thread panicked: {}", panic_message(&*panic))),
        };
        if let Some(reason) = reason {
            self.state.halt(reason);
        }
        self.inbox.close();
        self.show(&transport, Instant::now());
        if let Err(error) = transport.shutdown(LINGER) {
            tracing::debug!(%error, "closing the links to other replicas");
        }
    }

    /// Works until the replica is stopped.
    fn work(&mut self, transport: &mut Transport) -> Result<(), String> {
        let mut events = Vec::new();
        let mut requests: Vec<Request> = Vec::new();
        let mut reads: Vec<TakenRead> = Vec::new();
        let mut effects = Vec::new();
        let mut pieces_due = None;
        self.follow(transport)?;
        while !self.inbox.is_stopping() {
            let timeout = self.timeout().into_iter().chain(pieces_due).min();
            transport.poll(timeout, &mut events).map_err(|error| format!("cannot poll the links: {error}"))?;
            for event in events.drain(..) {
                self.take_event(event, transport);
            }
            if let Some(reason) = self.inbox.failure() {
                return Err(reason);
            }
            self.inbox.take_requests(&mut requests, &mut reads);
            self.reads.take(&self.core, &mut reads, &mut self.notices);
            self.inputs.extend(requests.drain(..).map(Input::Request));
            let executed = self.inbox.executed_slot();
            if executed > self.executed {
                self.executed = executed;
                self.inputs.push(Input::Executed(executed));
            }
            self.inbox.take_told(&mut self.inputs);
            self.look_at_log();
            self.step_downs.append(&mut self.inbox.step_downs.take());
            if !self.step_downs.is_empty() {
                self.inputs.push(Input::StepDown);
            }
            self.core.step(clocks(self.origin), self.inputs.drain(..), &mut effects);
            for effect in effects.drain(..) {
                self.apply(effect, transport)?;
            }
            self.reads.release(&self.core, &self.executor, &mut self.notices);
            if let Some(log) = self.log.as_ref().filter(|_| !self.records.is_empty()) {
                let bytes = log.append(&mut self.records);
                self.state.meters.log.given(bytes);
            }
            pieces_due = self.send_pieces(transport);
            transport.flush();
            self.clients.notify(&mut self.notices);
            self.watch_backlog();
            self.show_sometimes(transport);
        }
        Ok(())
    }

    /// Tells the core how far the log is.
    fn look_at_log(&mut self) {
        let Some(log) = &self.log else { return };
        let durable = self.inbox.durable_records();
        if durable > self.durable {
            self.durable = durable;
            self.inputs.push(Input::Durable(durable));
        }
        self.inputs.extend(self.inbox.take_promised().map(Input::Promised));
        let is_behind = log.is_behind();
        if is_behind != self.log_is_behind {
            self.log_is_behind = is_behind;
            self.inputs.push(Input::LogBehind(is_behind));
        }
    }

    /// How long to sleep if nothing comes.
    fn timeout(&self) -> Option<Duration> {
        let now = self.origin.elapsed();
        let due = self.core.deadline().map(Duration::from_nanos);
        let shown = self.show_due.then(|| self.shown_at.duration_since(self.origin) + SHOW_INTERVAL);
        due.into_iter().chain(shown).min().map(|due| due.saturating_sub(now))
    }

    fn take_event(&mut self, event: LinkEvent, transport: &mut Transport) {
        match event {
            LinkEvent::Frame { link, frame } => {
                let taken = self.links.take_frame(link, frame, &self.limits, transport);
                match taken {
                    Ok(Taken::Connected(peer)) => {
                        tracing::info!(replica = %peer, "link to a replica up");
                        self.state.tell(&ReplicaEvent::PeerUp { replica: peer.0 });
                        self.inputs.push(Input::Connected(peer));
                    }
                    Ok(Taken::Message(from, epoch, message)) => {
                        self.counters.messages_received += 1;
                        match (message, &self.checkpointing) {
                            (PeerMessage::Snapshot(message), Some(snapshots)) => snapshots.inbox.message(from, message),
                            (message, _) => self.inputs.push(Input::Message { from, epoch, message }),
                        }
                    }
                    Ok(Taken::OfFormer(link, epoch)) => {
                        for message in self.core.handovers_since(epoch) {
                            self.links.answer(link, &message, transport, &mut self.counters);
                        }
                    }
                    Ok(Taken::Nothing) => {}
                    Err(refusal) => {
                        self.counters.bad_frames += 1;
                        self.links.refuse(link, refusal, transport);
                    }
                }
            }
            LinkEvent::Up { link, key, .. } => self.links.up(link, &key, transport),
            LinkEvent::Down { link, reason } => {
                if let Some((peer, reason)) = self.links.down(link, &reason) {
                    tracing::info!(replica = %peer, reason, "link to a replica down");
                    self.inputs.push(Input::Disconnected(peer));
                    self.state.tell(&ReplicaEvent::PeerDown { replica: peer.0, reason });
                }
            }
            LinkEvent::DialFailed { link, reason } => self.links.dial_failed(link, &reason),
            LinkEvent::Woken => return,
        }
        self.show_due = true;
    }

    fn apply(&mut self, effect: Effect, transport: &mut Transport) -> Result<(), String> {
        match effect {
            Effect::Promise(promise) => {
                self.log.as_ref().expect("a replica without a directory has no bound").promise(promise);
            }
            Effect::Persist(record) => self.records.push(record),
            Effect::Send { to, message } => self.links.send(to, &message, transport, &mut self.counters),
            Effect::Broadcast(message) => self.links.broadcast(&message, transport, &mut self.counters),
            Effect::Deliver(delivery) => {
                self.state.meters.slot_commands.add(delivery.commands.len() as u64);
                self.deliver(delivery).map_err(|error| error.to_string())?;
            }
            Effect::Reply { client, sequence, outcome } => {
                self.notices.push(Notice::Reply { client, sequence, outcome });
            }
            Effect::SessionEvicted(client) => {
                self.notices.push(Notice::Evicted { client, slot: self.core.decided() });
            }
            Effect::Checkpoint { snapshot, is_asked } => self.checkpoint(snapshot, is_asked),
            Effect::Stable(certificate) => self.stable(certificate),
            Effect::Transfer(certificate) => self.transfer(certificate),
            Effect::Install(slot) => {
                self.restore(slot).map_err(|failure| match failure {
                    RestoreFailure::Lost(reason) | RestoreFailure::Fatal(reason) => reason,
                    RestoreFailure::Version(error) => error.to_string(),
                })?;
            }
            Effect::Reconfigured(_) => self.follow(transport)?,
            Effect::SteppedDown(answer) => {
                let leader = |view| self.core.membership().leader(view).0;
                let answer = answer.map(|view| SteppedDown { view: view.number(), leader: leader(view) });
                // Who has gone meanwhile need not know.
                for wish in self.step_downs.drain(..) {
                    let _ = wish.send(answer);
                }
            }
            Effect::Event(event) => self.tell(&event),
            Effect::Halt(reason) => return Err(reason),
        }
        Ok(())
    }

    /// Hands a slot to execution.
    ///
    /// # Errors
    /// It brings a version of the service into force that the code here does not have; nothing of it is executed then.
    fn deliver(&mut self, delivery: Delivery) -> Result<(), VersionError> {
        self.note_upgrades(&delivery)?;
        self.counters.slots += 1;
        self.counters.commands += delivery.commands.len() as u64;
        self.show_due = true;
        if let Some(traces) = &self.traces {
            traces.decided(delivery.commands.iter().map(|command| (command.client, command.sequence)));
        }
        let mut last: Option<(ClientId, u64)> = None;
        for command in &delivery.commands {
            match &mut last {
                Some((client, below)) if *client == command.client => *below = command.acknowledged.max(*below),
                _ => {
                    let before = last.replace((command.client, command.acknowledged));
                    self.notices.extend(before.map(acknowledged));
                }
            }
        }
        self.notices.extend(last.map(acknowledged));
        let Delivery { slot, digest, timestamp, commands } = delivery;
        let commands = commands.into_iter().map(|command| Command {
            position: command.position,
            slot,
            client: command.client,
            sequence: command.sequence,
            timestamp,
            seed: digest.0,
            version: command.version,
            kind: match command.operation {
                Operation::Command => CommandKind::Application,
                Operation::StateDigest | Operation::Checkpoint => CommandKind::StateDigest,
                Operation::Reconfigure | Operation::Upgrade => CommandKind::Settled,
                Operation::OpenSession => unreachable!("the opening of a session is not delivered"),
            },
            payload: command.payload,
        });
        self.executor.submit(commands, slot);
        Ok(())
    }

    fn note_upgrades(&mut self, delivery: &Delivery) -> Result<(), VersionError> {
        let is_made = |command: &&OrderedCommand| {
            command.operation == Operation::Upgrade && command.payload.is_empty() && command.version > self.version
        };
        let Some(version) = delivery.commands.iter().filter(is_made).map(|command| command.version).last() else {
            return Ok(());
        };
        let in_force = self.core.upgraded().expect("an upgrade was made");
        self.state.code.check(in_force)?;
        self.version = version;
        let slot = delivery.slot;
        tracing::info!(version, %slot, "the service has gone over to a later version");
        self.state.tell(&ReplicaEvent::ServiceUpgraded { version, slot: slot.0 });
        Ok(())
    }

    fn tell(&mut self, event: &Event) {
        let told = match *event {
            Event::LeaderSuspected { view, is_lost } => {
                tracing::info!(%view, is_lost, "suspecting the leader");
                ReplicaEvent::LeaderSuspected { view: view.number(), is_lost }
            }
            Event::SteppingDown { view } => {
                tracing::warn!(%view, "stepping down, as was asked for");
                ReplicaEvent::SteppingDown { view: view.number() }
            }
            Event::ViewEntered { view, leader } => {
                self.counters.view_changes += 1;
                tracing::info!(%view, %leader, "view change");
                ReplicaEvent::ViewEntered { view: view.number(), leader: leader.0 }
            }
            Event::ViewActive { view, leader, base } => {
                tracing::info!(%view, %leader, %base, "ordering goes on");
                self.notices.push(Notice::Leader { view, leader });
                ReplicaEvent::ViewActive { view: view.number(), leader: leader.0 }
            }
            Event::EpochEntered { epoch, slot } => {
                let ids: Vec<_> = self.core.membership().replicas().map(|id| id.0).collect();
                tracing::info!(%epoch, %slot, replicas = ?ids, "the membership has changed");
                ReplicaEvent::EpochEntered { epoch: epoch.0, slot: slot.0, replicas: ids }
            }
            Event::Retired { epoch } => {
                tracing::warn!(%epoch, "this replica is no longer one of the membership: it can be stopped for good");
                ReplicaEvent::Retired { epoch: epoch.0 }
            }
            Event::CatchingUp { decided, target } => {
                tracing::info!(%decided, %target, "catching up");
                ReplicaEvent::CatchingUp { decided: decided.0, target: target.0 }
            }
            Event::CheckpointStable { slot } => {
                tracing::debug!(%slot, "a checkpoint is stable");
                ReplicaEvent::CheckpointStable { slot: slot.0 }
            }
            Event::Transferring { slot } => {
                tracing::info!(%slot, "the others keep less than what is missing here: fetching a snapshot");
                ReplicaEvent::Transferring { slot: slot.0 }
            }
            Event::Installed { slot } => {
                tracing::info!(%slot, "going on from a snapshot of other replicas");
                ReplicaEvent::Installed { slot: slot.0 }
            }
            Event::Forgotten { bound } => {
                tracing::warn!(
                    %bound,
                    "the cluster has begun before, and this replica has nothing of it: it follows without voting until that is settled"
                );
                ReplicaEvent::Forgotten { slot: bound.0 }
            }
            Event::Rejoined { slot } => {
                tracing::info!(%slot, "nothing that was forgotten is open any more: the replica votes again");
                ReplicaEvent::Rejoined { slot: slot.0 }
            }
            Event::BeyondRetention { decided, oldest } => {
                tracing::warn!(%decided, %oldest, "too far behind to catch up slot by slot");
                ReplicaEvent::BeyondRetention { decided: decided.0, oldest: oldest.0 }
            }
            Event::Misbehaviour { replica, what } => {
                tracing::warn!(%replica, what, "a replica broke the protocol");
                ReplicaEvent::Misbehaviour { replica: replica.0, what }
            }
        };
        self.show_due = true;
        self.state.tell(&told);
    }

    /// Goes over to the membership in force: links, clients, and what is shown.
    fn follow(&mut self, transport: &mut Transport) -> Result<(), String> {
        let (membership, handovers) = (self.core.membership(), self.core.handovers());
        let past = handovers.iter().rev().map(|handover| &handover.next).chain([&self.root]);
        let connected = self.links.follow(membership, past.filter(|past| past.epoch() < membership.epoch()), transport);
        let connected =
            connected.map_err(|error| format!("cannot reach the replicas of {}: {error}", membership.epoch()))?;
        self.inputs.extend(connected.into_iter().map(Input::Connected));
        let begins_with = membership.epoch() > self.root.epoch() && !self.core.is_retired();
        if let Some(file) = self.membership_file.as_ref().filter(|_| begins_with) {
            // Without a log to go on from, the later it begins the better: others may forget how it was before.
            file.write(membership).map_err(|error| format!("cannot keep the membership: {error}"))?;
        }
        self.state.follow(membership, handovers);
        self.clients.wake();
        self.show_due = true;
        Ok(())
    }

    /// Says whether execution should wake this thread.
    fn watch_backlog(&mut self) {
        let is_behind = |executed: u64| self.core.decided().0.saturating_sub(executed) >= self.backlog_slots;
        let awaits = is_behind(self.inbox.executed_slot().0);
        let before = self.inbox.awaits_execution.swap(awaits, Ordering::SeqCst);
        // What was executed between the look and the swap woke nobody.
        if awaits && !before && !is_behind(self.inbox.executed_slot().0) {
            self.inbox.awaits_execution.store(false, Ordering::SeqCst);
        }
    }

    fn show_sometimes(&mut self, transport: &Transport) {
        if self.show_due {
            let now = Instant::now();
            if now.duration_since(self.shown_at) >= SHOW_INTERVAL {
                self.show(transport, now);
            }
        }
    }

    fn show(&mut self, transport: &Transport, now: Instant) {
        let transported = transport.counters();
        self.counters.peer_bytes_sent = transported.bytes_sent;
        self.counters.peer_bytes_received = transported.bytes_received;
        let core = self.core.status();
        let peers = self.links.status(&core.peers);
        let mut shown = self.state.ordering.lock();
        shown.core = core;
        shown.peers = peers;
        shown.counters = self.counters;
        shown.transport = transported;
        (self.shown_at, self.show_due) = (now, false);
    }
}

fn acknowledged((client, below): (ClientId, u64)) -> Notice {
    Notice::Acknowledged { client, below }
}
