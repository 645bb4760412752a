//! What is simulated: the profile says which cluster, and the seed draws everything else (swarm testing: Groce et al.,
//! ISSTA'12). Most faults are absent from most runs, and where one is present, how bad it is differs by orders of
//! magnitude.

use std::time::Duration;

use pssmr_ordering::{Config, Durability};
use pssmr_types::{BatchLimits, FaultModel, Quorums};

use super::adversary::Character;
use super::faults::FaultKind;
use super::members::administrator;
use super::network::Weather;
use crate::random::Random;

/// A kind of cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// What faulty replicas may do.
    pub model: FaultModel,
    /// How many replicas there are at first.
    pub replicas: usize,
    /// How many more there can be: with them, the membership changes.
    pub spares: usize,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self { name: "bft4", model: FaultModel::Byzantine, replicas: 4, spares: 0 },
        Self { name: "bft7", model: FaultModel::Byzantine, replicas: 7, spares: 0 },
        Self { name: "cft3", model: FaultModel::Crash, replicas: 3, spares: 0 },
        Self { name: "cft5", model: FaultModel::Crash, replicas: 5, spares: 0 },
        Self { name: "one", model: FaultModel::Byzantine, replicas: 1, spares: 0 },
        Self { name: "changing4", model: FaultModel::Byzantine, replicas: 4, spares: 2 },
        Self { name: "changing3", model: FaultModel::Crash, replicas: 3, spares: 2 },
    ];

    /// The profile of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name == name)
    }

    pub(super) fn quorums(&self) -> Quorums {
        Quorums::new(self.model, self.replicas).expect("the profiles are memberships")
    }
}

pub(super) const MILLISECOND: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1000 * MILLISECOND;

/// What one client does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// How many commands it sends in all.
    pub(super) commands: u64,
    /// How many may be under way.
    pub(super) pipeline: usize,
    /// How long it waits between two.
    pub(super) gap: u64,
    /// How long it waits before it sends one again.
    pub(super) retry: u64,
    /// Bytes of a command.
    pub(super) payload: usize,
    /// What it does that no correct client does. Nobody need answer one that does.
    pub(super) faulty: Option<Mischief>,
}

/// What a faulty client does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mischief {
    /// Different commands under one number.
    pub(super) equivocates: bool,
    /// Replicas that hear nothing of it, by bit.
    pub(super) leaves_out: u64,
    /// How often, in parts per million, it sends something old again.
    pub(super) replays: u32,
    /// How many commands it sends at a time, whatever its window.
    pub(super) flood: u64,
}

impl Mischief {
    fn new(random: &mut Random) -> Self {
        let equivocates = random.chance(2, 3);
        Self {
            equivocates,
            leaves_out: if random.chance(1, 2) { random.any() } else { 0 },
            replays: if random.chance(1, 2) { random.magnitude(10_000, 800_000) as u32 } else { 0 },
            flood: if random.chance(1, 3) { random.magnitude(2, 300) } else { 1 },
        }
    }
}

/// How one replica's machine is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    /// How its clock differs from the true time, in nanoseconds.
    pub(super) skew: i64,
    /// How long inputs wait to be taken together.
    pub(super) step_delay: u64,
    /// The longest that a write to its disk takes.
    pub(super) disk_delay_max: u64,
    /// The longest that a slot takes to execute.
    pub(super) execution_max: u64,
}

/// While the network is good, a correct leader stays: neither Byzantine replicas nor clients can depose it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Everything that the seed decides about a run beforehand.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    pub(super) config: Config,
    pub(super) weather: Weather,
    /// No faults at all.
    pub(super) calm: bool,
    /// When all faults end.
    pub(super) heal_at: u64,
    /// How long the cluster is watched after that, once its views have had the time to settle. Mostly not at all.
    pub(super) watch: Option<Watch>,
    pub(super) clients: Vec<Habits>,
    pub(super) machines: Vec<Machine>,
    /// The mean time between two faults of a kind.
    pub(super) faults: Vec<(FaultKind, u64)>,
    /// One in how many effects that matter a crash follows; 0 for none.
    pub(super) strikes: u64,
    /// Replicas that stop for good, and when.
    pub(super) crashes: Vec<(usize, u64)>,
    /// Byzantine replicas.
    pub(super) adversaries: Vec<(usize, Character)>,
    /// The mean time between two changes of the membership, if it changes.
    pub(super) changes: Option<u64>,
}

impl Draw {
    pub(super) fn new(profile: Profile, random: &mut Random) -> Self {
        let quorums = profile.quorums();
        let calm = random.chance(1, 10);
        let heal_at = if calm { SECOND } else { random.magnitude(SECOND, 8 * SECOND) };
        let mut config = Self::config(random, calm);
        let mut watch = None;
        if !calm && random.chance(1, 12) {
            config.request_timeout_max = config.request_timeout * 2;
            let timeout = config.request_timeout_max.as_nanos() as u64;
            let from = heal_at + 2 * SECOND + 4 * (quorums.faults() as u64 + 2) * timeout;
            watch = Some(Watch { from, to: from + 6 * timeout });
            // One that lags too far when the faults end could still lag when the watch begins.
            config.retained_slots_max = 100_000;
            // Pools that are full of different requests take some of their clients' retries to agree.
            config.pending_requests_max = 100_000;
        }
        // Delays that the time-out was not made for: it has to grow.
        let patient = !calm && watch.is_none() && random.chance(1, 15);
        if patient {
            config.request_timeout_max = config.request_timeout * 32;
        }
        let weather = Self::weather(random, &config, calm, patient);
        let mut suspects: Vec<usize> = (0..profile.replicas).collect();
        random.shuffle(&mut suspects);
        // Leaders of the first views are the more interesting ones.
        if random.chance(1, 2) {
            suspects.sort_unstable();
        }
        let mut crashes = Vec::new();
        let mut adversaries = Vec::new();
        for suspect in suspects.into_iter().take(if calm { 0 } else { quorums.faults() }) {
            match random.below(4) {
                0 => {}
                1 => crashes.push((suspect, random.below(heal_at))),
                _ if profile.model == FaultModel::Byzantine => {
                    adversaries.push((suspect, Character::new(random)));
                }
                _ => crashes.push((suspect, random.below(heal_at))),
            }
        }
        let skew_max = config.clock_skew_max.as_nanos() as u64 / 2 - MILLISECOND;
        let all_fast = random.chance(1, 2);
        let machines = (0..profile.replicas + profile.spares)
            .map(|_| Machine {
                skew: random.around_zero(skew_max),
                step_delay: if all_fast || random.chance(1, 2) { 0 } else { random.magnitude(10_000, 5 * MILLISECOND) },
                disk_delay_max: if all_fast { 100_000 } else { random.magnitude(10_000, 20 * MILLISECOND) },
                execution_max: if all_fast { 0 } else { random.magnitude(1, 30 * MILLISECOND) },
            })
            .collect();
        let mut clients = Self::clients(random, heal_at, calm);
        if let Some(watch) = watch {
            for client in &mut clients {
                client.faulty = None;
                client.commands = 60;
                client.gap = watch.to / 60;
            }
        }
        let mut faults = Vec::new();
        let losses: &[FaultKind] = match config.durability {
            Durability::Memory | Durability::Async => &[FaultKind::Kill, FaultKind::DiskLoss],
            Durability::Sync => &[FaultKind::Kill, FaultKind::PowerCut, FaultKind::Blackout, FaultKind::DiskLoss],
        };
        for kind in FaultKind::MILD.into_iter().chain(losses.iter().copied()) {
            if !calm && random.chance(2, 5) {
                faults.push((kind, random.magnitude(100 * MILLISECOND, 4 * SECOND)));
            }
        }
        let strikes = if calm || random.chance(1, 2) { 0 } else { random.magnitude(20, 1000) };
        let changes = (profile.spares > 0).then(|| random.magnitude(50 * MILLISECOND, 2 * SECOND));
        // What replicas forget counts as a fault, and a change of the membership changes how many there may be.
        let forgets = config.durability == Durability::Memory && changes.is_some();
        faults.retain(|(kind, _)| *kind != FaultKind::Kill || !forgets);
        // Where replicas may do anything, one that forgets without knowing it is one of the f for a time that nobody knows.
        let may_lose_disks = changes.is_none() && profile.model == FaultModel::Crash;
        faults.retain(|(kind, _)| *kind != FaultKind::DiskLoss || may_lose_disks);
        let strikes = if forgets { 0 } else { strikes };
        Self {
            config,
            weather,
            calm,
            heal_at,
            watch,
            clients,
            machines,
            faults,
            strikes,
            crashes,
            adversaries,
            changes,
        }
    }

    fn config(random: &mut Random, calm: bool) -> Config {
        let request_timeout = random.magnitude(100, 800);
        let rarely = |random: &mut Random| !calm && random.chance(1, 8);
        let window = *random.pick(&[1, 2, 4, 8, 16]);
        let checkpoint_slots = *random.pick(&[1, 2, 4, 7, 15, 50_000]);
        // Some keep little more than they must.
        let least = (2 * window).max(2 * checkpoint_slots as usize);
        Config {
            durability: *random.pick(&[Durability::Memory, Durability::Async, Durability::Sync, Durability::Sync]),
            window,
            checkpoint_slots,
            checkpoint_bytes: if random.chance(1, 8) { random.magnitude(200, 20_000) } else { 32 << 20 },
            retained_slots_max: if random.chance(1, 2) { least } else { 100_000 },
            limits: BatchLimits { requests_max: *random.pick(&[1, 3, 16, 4096]), bytes_max: 64 << 10 },
            request_timeout: Duration::from_millis(request_timeout),
            request_timeout_max: Duration::from_millis(request_timeout * random.between(1, 8)),
            // A replica that lags learns it from a heartbeat; later than its time-out, and it suspects the leader.
            heartbeat_interval: Duration::from_millis(
                random.magnitude(30, if calm { request_timeout / 3 } else { 400 }),
            ),
            // The core looks at its time-outs this often.
            retransmit_interval: Duration::from_millis(random.magnitude(20, request_timeout / 4)),
            clock_skew_max: Duration::from_millis(random.magnitude(100, 10_000)),
            sessions_per_client_max: if rarely(random) { random.between(1, 3) as usize } else { 1024 },
            pending_requests_max: if rarely(random) { random.between(16, 64) as usize } else { 100_000 },
            unexecuted_slots_max: if rarely(random) { random.between(1, 8) as usize } else { 256 },
            administrator: Some(administrator().public()),
            ..Config::default()
        }
    }

    fn weather(random: &mut Random, config: &Config, calm: bool, patient: bool) -> Weather {
        let timeout = config.request_timeout.as_nanos() as u64;
        let slowest = if calm { timeout / 40 } else { *random.pick(&[timeout / 8, timeout / 4, timeout]) };
        let delay_max = random.magnitude(50_000, slowest);
        let delay_min = random.between(10_000, delay_max.min(MILLISECOND));
        let healed = if patient { (timeout / 4, timeout / 2) } else { (delay_min.min(100_000), 300_000) };
        let or_none = |random: &mut Random, most| {
            if calm || random.chance(1, 2) { 0 } else { random.magnitude(1000, most) as u32 }
        };
        Weather {
            streams: random.chance(1, 2),
            delay_min,
            delay_max,
            spikes: or_none(random, 100_000),
            spike_max: 2 * timeout,
            loss: or_none(random, 300_000),
            duplicates: or_none(random, 300_000),
            unlucky_kinds: random.any() as u32 & random.any() as u32,
            kinds_lost: or_none(random, 900_000),
            healed,
        }
    }

    fn clients(random: &mut Random, heal_at: u64, calm: bool) -> Vec<Habits> {
        let clients = random.between(1, 4);
        let slow = random.chance(1, 2);
        (0..clients)
            .map(|number| {
                let commands = random.magnitude(2, if slow { 20 } else { 80 });
                Habits {
                    commands,
                    pipeline: random.magnitude(1, 16) as usize,
                    gap: random.below(2 * heal_at / commands),
                    retry: random.magnitude(200 * MILLISECOND, 3 * SECOND),
                    payload: random.magnitude(1, 200) as usize,
                    faulty: (!calm && number > 0 && random.chance(1, 8)).then(|| Mischief::new(random)),
                }
            })
            .collect()
    }
}
