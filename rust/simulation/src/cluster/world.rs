//! One run: the event loop, and what each event does.

use std::sync::OnceLock;

use pssmr_ordering::{Core, Effect, Input};
use pssmr_recording::RecordedCore;
use pssmr_types::{ClusterId, Digest, Epoch, Member, Membership, ReplicaId, SecretKey, View};

use super::adversary::Adversary;
use super::checker::Checker;
use super::client::Client;
use super::counters::{Counters, Sometimes};
use super::faults::Fault;
use super::host::{Fate, Host};
use super::network::Network;
use super::profile::{Draw, MILLISECOND, Profile, SECOND};
use super::queue::{Event, Queue};
use super::reads::Reads;
use super::recordings::Recordings;
use super::{Report, faults};
use crate::random::Random;

const CLUSTER: ClusterId = ClusterId(*b"simulated pssmr!");

/// A run with more events than this does not come to rest.
const EVENTS_MAX: u64 = 2_000_000;

/// More ticks than this at one instant, and time would stand still.
const TICKS_AT_ONCE_MAX: u32 = 100;

pub(super) fn secrets() -> &'static [SecretKey] {
    static SECRETS: OnceLock<Vec<SecretKey>> = OnceLock::new();
    SECRETS.get_or_init(|| (1..=8).map(|number| SecretKey::from_seed([number; 32])).collect())
}

pub(super) struct World {
    pub(super) profile: Profile,
    pub(super) draw: Draw,
    /// The last membership that some correct replica is in.
    pub(super) newest: Membership,
    pub(super) now: u64,
    pub(super) queue: Queue,
    pub(super) hosts: Vec<Host>,
    pub(super) adversaries: Vec<Adversary>,
    pub(super) network: Network,
    pub(super) clients: Vec<Client>,
    pub(super) reads: Reads,
    pub(super) checker: Checker,
    pub(super) counters: Counters,
    pub(super) random: Random,
    /// Counts partitions; only the last one is in force.
    pub(super) partition: u64,
    pub(super) healed: bool,
    /// By host, the view that it was in last.
    pub(super) left: Vec<View>,
    probed: bool,
    give_up_at: u64,
    traced: bool,
    /// None if nobody wants them.
    recordings: Option<Recordings>,
    events: u64,
    ticks_at_once: (u64, u32),
    effects: Vec<Effect>,
}

impl World {
    pub(super) fn new(profile: Profile, seed: u64, traced: bool, recordings: Option<Recordings>) -> Self {
        let mut random = Random::new(seed);
        let draw = Draw::new(profile, &mut random);
        let keys = secrets()[..profile.replicas].iter().map(SecretKey::public).collect();
        let membership = Membership::new(CLUSTER, Epoch(0), profile.model, keys).expect("seven different keys");
        let mut hosts: Vec<Host> = Vec::new();
        let boot = |id: usize, random: &mut Random| {
            let id = ReplicaId(id as u16);
            let machine = draw.machines[id.index()];
            let (secret, tape) = (&secrets()[id.index()], recordings.as_ref().map(|all| all.begin(id)));
            Host::new(id, &draw.config, &membership, secret, machine, random.below(1000 * SECOND), tape)
        };
        // A core needs a membership with its own key; a spare gets another core when it starts.
        let unborn = |id: usize, random: &mut Random| {
            let id = ReplicaId(id as u16);
            let (machine, secret) = (draw.machines[id.index()], &secrets()[id.index()]);
            let alone = Member { id, key: secret.public(), peer_address: String::new(), client_address: String::new() };
            let alone = Membership::of(CLUSTER, Epoch(0), profile.model, vec![alone]).expect("one replica");
            Host::new(id, &draw.config, &alone, secret, machine, random.below(1000 * SECOND), None).unborn()
        };
        for id in 0..profile.replicas {
            hosts.push(boot(id, &mut random));
        }
        for id in profile.replicas..profile.replicas + profile.spares {
            hosts.push(unborn(id, &mut random));
        }
        let mut adversaries = Vec::new();
        for (id, character) in &draw.adversaries {
            hosts[*id].fate = Fate::Byzantine;
            let mut selves = vec![*id];
            if character.twins {
                let mut twin = boot(*id, &mut random);
                twin.fate = Fate::Byzantine;
                selves.push(hosts.len());
                hosts.push(twin);
            }
            let (id, secret) = (ReplicaId(*id as u16), secrets()[*id].clone());
            adversaries.push(Adversary::new(id, selves, *character, membership.clone(), secret, random.fork()));
        }
        let weak = profile.quorums().weak();
        let clients = draw.clients.iter().enumerate();
        let clients = clients.map(|(number, habits)| Client::new(number, *habits, weak, random.fork())).collect();
        let sessions_are_few = draw.config.sessions_per_client_max < 100;
        Self {
            profile,
            now: 0,
            queue: Queue::default(),
            reads: Reads::new(draw.clients.len(), &membership, Random::new(!seed)),
            newest: membership,
            checker: Checker::new(hosts.len(), sessions_are_few),
            network: Network::new(profile.replicas + profile.spares, draw.weather, random.fork()),
            adversaries,
            clients,
            counters: Counters::default(),
            random,
            partition: 0,
            healed: false,
            left: vec![View(0); hosts.len()],
            hosts,
            probed: false,
            give_up_at: 0,
            traced,
            recordings,
            events: 0,
            ticks_at_once: (0, 0),
            effects: Vec::new(),
            draw,
        }
    }

    /// Runs until all is done, or something is wrong.
    pub(super) fn run(mut self) -> Result<Report, String> {
        self.note(|| "run", |world| format!("{:#?}", world.draw));
        self.begin();
        self.give_up_at = self.draw.watch.map_or(self.draw.heal_at, |watch| watch.to) + self.patience();
        while let Some((at, event)) = self.queue.next() {
            self.now = at;
            self.events += 1;
            self.handle(event);
            if let Some(failure) = self.checker.failure() {
                return Err(format!("at {} ms: {failure}", self.now / MILLISECOND));
            }
            if self.healed && self.events.is_multiple_of(8) && self.is_done() {
                if self.probed {
                    return self.finish();
                }
                self.probe();
            }
            if self.now > self.give_up_at || self.events > EVENTS_MAX {
                return Err(self.no_progress());
            }
        }
        Err(format!("nothing is left to happen; {}", self.no_progress()))
    }

    fn begin(&mut self) {
        for host in 0..self.hosts.len() {
            let at = self.random.below(20 * MILLISECOND);
            self.hosts[host].tick_at = at;
            self.queue.schedule(at, Event::Tick { host });
        }
        if let Some(mean) = self.draw.changes {
            let at = faults::interval(&mut self.random, mean);
            self.queue.schedule(at, Event::Reconfigure { mean });
        }
        for client in 0..self.clients.len() {
            let at = self.random.below(200 * MILLISECOND);
            self.queue.schedule(at, Event::ClientWork { client });
            self.queue.schedule(at, Event::ClientTimer { client });
        }
        self.schedule_reads();
        for (host, at) in self.draw.crashes.clone() {
            self.queue.schedule(at, Event::Fault(Fault::Crash { host }));
        }
        for (kind, mean) in self.draw.faults.clone() {
            let at = faults::interval(&mut self.random, mean);
            self.queue.schedule(at, Event::Fault(Fault::Recurring { kind, mean }));
        }
        self.queue.schedule(self.draw.heal_at, Event::Heal);
    }

    /// How long it may take until all is done: enough for time-outs that have grown to their limit, once for each leader
    /// that may be faulty and once for a good one, and for requests that nobody can prove to be forgotten.
    fn patience(&self) -> u64 {
        let timeout = self.draw.config.request_timeout_max.as_nanos() as u64;
        let bad_leaders = self.profile.quorums().faults() as u64;
        let forgotten =
            if self.draw.clients.iter().any(|client| client.faulty.is_some()) { 40 * SECOND + 4 * timeout } else { 0 };
        20 * SECOND + forgotten + 8 * (bad_leaders + 2) * timeout
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Message { host, from, generation, bytes } => self.on_message(host, from, generation, bytes),
            Event::Request { host, request } => self.on_request(host, request),
            Event::Reply { client, from, reply } => self.on_reply(client, from, &reply),
            Event::Read { client } => self.on_read(client),
            Event::Query { host, query } => self.on_query(host, query),
            Event::Answered { from, answered } => self.on_answered(from, answered),
            Event::Step { host, incarnation } => {
                let target = &mut self.hosts[host];
                if target.incarnation == incarnation {
                    target.step_scheduled = false;
                    if target.is_up(self.now) {
                        self.step(host);
                    }
                }
            }
            Event::Tick { host } => {
                if self.hosts[host].tick_at == self.now && self.hosts[host].is_up(self.now) {
                    self.watch_time(host);
                    self.step(host);
                }
            }
            Event::Executed { host, incarnation } => self.on_executed(host, incarnation),
            Event::Written { host, incarnation } => self.on_written(host, incarnation),
            Event::Promised { host, incarnation } => self.on_promised(host, incarnation),
            Event::SnapshotWritten { host, incarnation, slot, snapshot } => {
                self.on_snapshot_written(host, incarnation, slot, *snapshot);
            }
            Event::Transferred { host, incarnation, slot, offer } => {
                self.on_transferred(host, incarnation, slot, offer);
            }
            Event::Start { host, incarnation } => {
                if self.hosts[host].is_down && self.hosts[host].incarnation == incarnation {
                    self.start(host);
                }
            }
            Event::Resume { host } => {
                if self.hosts[host].is_up(self.now) {
                    self.step(host);
                    self.execute_later(host);
                }
            }
            Event::ClientWork { client } => self.on_client_work(client),
            Event::ClientTimer { client } => self.on_client_timer(client),
            Event::LinkUp { one, other } => self.on_link_up(one, other),
            Event::Fault(fault) => self.on_fault(fault),
            Event::PartitionEnds { number } => {
                if number == self.partition {
                    self.end_partition();
                }
            }
            Event::SlownessEnds { host } => self.hosts[host].slowness = 0,
            Event::Reconfigure { mean } => self.on_reconfigure(mean),
            Event::Heal => self.heal(),
        }
    }

    /// A core that wants to be woken at once, again and again, does not let time pass.
    fn watch_time(&mut self, host: usize) {
        if self.ticks_at_once.0 != self.now {
            self.ticks_at_once = (self.now, 0);
        }
        self.ticks_at_once.1 += 1;
        if self.ticks_at_once.1 > TICKS_AT_ONCE_MAX {
            let id = self.hosts[host].id;
            self.checker.fail(format!("{id} wants to be woken for ever at one instant"));
        }
    }

    /// An input arrives at a host, which takes it at once or together with others.
    pub(super) fn give(&mut self, host: usize, input: Input) {
        let target = &mut self.hosts[host];
        if target.is_crashed() || target.is_down {
            return;
        }
        target.inbox.push(input);
        let delay = target.machine.step_delay + target.slowness;
        if !target.is_up(self.now) || target.step_scheduled {
            return;
        }
        if delay == 0 {
            self.step(host);
        } else {
            target.step_scheduled = true;
            let incarnation = target.incarnation;
            self.queue.schedule(self.now + delay, Event::Step { host, incarnation });
        }
    }

    /// A host that went down starts again, from what its disk kept.
    fn start(&mut self, host: usize) {
        let id = self.hosts[host].id;
        self.note(|| "start", |_| format!("{id} comes back"));
        let core = RecordedCore::new(
            self.draw.config.clone(),
            self.hosts[host].root.clone(),
            id,
            secrets()[id.index()].clone(),
            self.hosts[host].clocks(self.now),
            self.recordings.as_ref().map(|all| all.begin(id)),
        );
        let core = core.expect("the settings were good before");
        self.checker.on_restarted(host);
        let mut effects = Vec::new();
        if let Err(error) = self.hosts[host].start(core, &mut effects) {
            self.checker.fail(format!("{id} can't replay its log: {error}"));
            return;
        }
        self.checker.on_recovered(host, self.hosts[host].core.decided());
        self.write_snapshots(host);
        for effect in effects {
            self.perform(host, effect);
        }
        self.step(host);
        for other in 0..self.draw.machines.len() {
            if other != id.index() {
                self.network.reset(id, ReplicaId(other as u16));
                self.connected(id, ReplicaId(other as u16));
            }
        }
    }

    /// The host's core takes what has arrived.
    fn step(&mut self, host: usize) {
        let target = &mut self.hosts[host];
        let clocks = target.clocks(self.now);
        let inputs = std::mem::take(&mut target.inbox);
        if inputs.len() > 1 {
            self.counters.count(Sometimes::Burst);
        }
        let mut effects = std::mem::take(&mut self.effects);
        target.core.step(clocks, inputs, &mut effects);
        let incarnation = self.hosts[host].incarnation;
        for effect in effects.drain(..) {
            let strikes = self.strikes(&effect);
            self.perform(host, effect);
            if strikes {
                self.strike(host);
            }
            // What the host was going to do after it went down does not happen.
            if self.hosts[host].incarnation != incarnation {
                break;
            }
        }
        self.effects = effects;
        if self.hosts[host].incarnation != incarnation {
            return;
        }
        self.release_reads(host);
        self.schedule_tick(host);
        self.execute_later(host);
    }

    fn schedule_tick(&mut self, host: usize) {
        let target = &mut self.hosts[host];
        if let Some(deadline) = target.deadline() {
            let at = deadline.max(self.now);
            if at != target.tick_at {
                target.tick_at = at;
                self.queue.schedule(at, Event::Tick { host });
            } else if at == self.now {
                self.queue.schedule(at, Event::Tick { host });
            }
        }
    }

    /// Whether every client has what it is owed, and all correct replicas are at the same place.
    fn is_done(&self) -> bool {
        let is_watched = self.draw.watch.is_some_and(|watch| self.now < watch.to);
        if is_watched || !self.clients.iter().all(Client::is_done) {
            return false;
        }
        let slots = self.checker.slots() as u64;
        let correct = || self.serving();
        let at_rest = |host: &Host| {
            !host.is_down
                && !host.core.status().learner
                && host.core.decided().0 == slots
                && host.work.is_empty()
                && !host.executing
                && host.inbox.is_empty()
        };
        correct().all(at_rest) && self.has_a_view()
    }

    /// The correct replicas of the newest membership.
    fn serving(&self) -> impl Iterator<Item = &Host> {
        (0..self.hosts.len()).filter(|host| self.serves(*host)).map(|host| &self.hosts[host])
    }

    /// Whether some view is active, and nobody stayed behind it. A few may be ahead: they have left a view that the others
    /// found a reason to stay in, and the next request brings them together.
    fn has_a_view(&self) -> bool {
        let correct = || self.serving();
        let active = correct().filter(|host| host.core.is_active()).map(|host| host.core.view()).max();
        active.is_some_and(|view| {
            correct().all(|host| host.core.view() > view || host.core.view() == view && host.core.is_active())
        })
    }

    /// All is at rest: one more command shows that the cluster is not dead but idle.
    fn probe(&mut self) {
        self.note(|| "probe", |_| "one more command".into());
        self.probed = true;
        self.give_up_at = self.now + self.patience();
        self.clients[0].go_on();
        self.queue.schedule(self.now, Event::ClientWork { client: 0 });
        self.queue.schedule(self.now, Event::ClientTimer { client: 0 });
    }

    fn finish(mut self) -> Result<Report, String> {
        let wrong = self.serving().find(|host| host.service != *self.checker.service()).map(|host| host.id);
        if let Some(id) = wrong {
            self.checker.fail(format!("{id} has another state than the agreed history gives"));
        }
        let digest = self.serving().next().map_or(Digest::default(), digest_of);
        let views = self.serving().map(|host| host.core.view().number()).max();
        match self.checker.failure() {
            Some(failure) => Err(failure),
            None => Ok(Report {
                events: self.events,
                nanoseconds: self.now,
                slots: self.checker.slots() as u64,
                views: views.unwrap_or(0),
                digest,
                counters: self.counters,
            }),
        }
    }

    fn no_progress(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(Host::show).collect();
        let clients: Vec<String> = self.clients.iter().map(Client::show).collect();
        format!(
            "no rest by {} ms, after {} events, {} slots:\n  {}\n  {}",
            self.now / MILLISECOND,
            self.events,
            self.checker.slots(),
            hosts.join("\n  "),
            clients.join("\n  ")
        )
    }

    /// Prints a line of the trace, if one is wanted.
    pub(super) fn note(&self, kind: impl FnOnce() -> &'static str, text: impl FnOnce(&Self) -> String) {
        if self.traced {
            println!("{:>12.3} ms {:8} {}", self.now as f64 / MILLISECOND as f64, kind(), text(self));
        }
    }
}

fn digest_of(host: &Host) -> Digest {
    Core::status(&host.core).digest
}
