//! A cluster and its clients in one process, over TLS on the loopback: how many commands a second, and how long each
//! takes. The service does nothing, so what remains is the cost of replication.
//!
//! ```text
//! cargo run --release -p pssmr-replica --example throughput -- model=bft replicas=4 in_flight=1000 seconds=5
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pssmr_client::{Client, ClientConfig, Completion, Submission, Work};
use pssmr_execution::services::Null;
use pssmr_replica::{AcceptKeys, RecordingConfig, Replica, ReplicaConfig, Silent};
use pssmr_types::{ClusterId, Epoch, FaultModel, Member, Membership, ReplicaId, SecretKey};

const CLUSTER: ClusterId = ClusterId([7; 16]);
const CLIENT_SEED: u8 = 200;

/// What to measure.
struct Options {
    model: FaultModel,
    replicas: usize,
    clients: usize,
    in_flight: usize,
    payload: usize,
    result: usize,
    workers: usize,
    window: usize,
    seconds: f64,
    /// How long the replicas rest before, while their use of the processor is measured.
    rest: f64,
    /// A directory in which each replica records what its ordering is told.
    record: Option<PathBuf>,
}

impl Options {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let mut options = Self {
            model: FaultModel::Byzantine,
            replicas: 4,
            clients: 1,
            in_flight: 1000,
            payload: 0,
            result: 0,
            workers: 1,
            window: 16,
            seconds: 5.0,
            rest: 0.0,
            record: None,
        };
        for argument in std::env::args().skip(1) {
            let (name, value) = argument.split_once('=').ok_or_else(|| format!("{argument}: name=value"))?;
            match name {
                "model" if value == "bft" => options.model = FaultModel::Byzantine,
                "model" if value == "cft" => options.model = FaultModel::Crash,
                "replicas" => options.replicas = value.parse()?,
                "clients" => options.clients = value.parse()?,
                "in_flight" => options.in_flight = value.parse()?,
                "payload" => options.payload = value.parse()?,
                "result" => options.result = value.parse()?,
                "workers" => options.workers = value.parse()?,
                "window" => options.window = value.parse()?,
                "rest" => options.rest = value.parse()?,
                "record" => options.record = Some(value.into()),
                "seconds" => options.seconds = value.parse()?,
                _ => return Err(format!("{argument} is no option").into()),
            }
        }
        Ok(options)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    let options = Options::parse()?;
    let replicas = start_replicas(&options)?;
    let members = replicas.iter().zip(0..).map(|(replica, id)| Member {
        id: ReplicaId(u16::from(id)),
        key: secret(id).public(),
        peer_address: replica.peer_address().to_string(),
        client_address: replica.client_address().to_string(),
    });
    let membership = Membership::of(CLUSTER, Epoch(0), options.model, members.collect())?;
    if options.rest > 0.0 {
        rest(Duration::from_secs_f64(options.rest))?;
    }
    let end = Instant::now() + Duration::from_secs_f64(options.seconds);
    let load: Vec<_> = (0..options.clients)
        .map(|client| {
            let secret = secret(CLIENT_SEED + client as u8);
            let config =
                ClientConfig { in_flight_max: options.in_flight, ..ClientConfig::new(membership.clone(), secret) };
            let (in_flight, payload) = (options.in_flight, Bytes::from(vec![1; options.payload]));
            thread::spawn(move || run_client(&config, in_flight, &payload, end))
        })
        .collect();
    let mut latencies = Vec::new();
    let mut longest = Duration::ZERO;
    for load in load {
        let (of_client, took) = load.join().expect("no client panics")?;
        latencies.extend(of_client);
        longest = longest.max(took);
    }
    report(&options, latencies, longest);
    let status = replicas[0].status();
    println!(
        "replica 0: {} slots, {:.1} commands a slot, {} messages sent, view {}",
        status.counters.slots,
        status.counters.commands as f64 / status.counters.slots.max(1) as f64,
        status.counters.messages_sent,
        status.view
    );
    Ok(())
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn start_replicas(options: &Options) -> Result<Vec<Replica>, Box<dyn Error>> {
    let member = |id: usize| Member {
        id: ReplicaId(id as u16),
        key: secret(id as u8).public(),
        peer_address: String::new(),
        client_address: String::new(),
    };
    let members: Vec<_> = (0..options.replicas).map(member).collect();
    // Each is known when it listens.
    let mut addresses = HashMap::new();
    let clients = AcceptKeys::only((0..options.clients).map(|client| secret(CLIENT_SEED + client as u8).public()));
    let mut replicas: Vec<Replica> = Vec::new();
    for id in 0..options.replicas {
        let me = ReplicaId(id as u16);
        let mut config = ReplicaConfig::new(CLUSTER, options.model, members.clone(), me, secret(id as u8));
        config.peer_addresses.clone_from(&addresses);
        config.clients = clients.clone();
        config.execution.workers = options.workers;
        config.ordering.window = options.window;
        let file = options.record.as_ref().map(|directory| directory.join(format!("{id}.recording")));
        config.recording = file.map(|file| RecordingConfig { file, bytes_max: 1 << 33 });
        let replica = Replica::start(&config, Arc::new(Null::new(options.result)), Arc::new(Silent))?;
        addresses.insert(members[id].key, replica.peer_address().to_string());
        replicas.push(replica);
    }
    Ok(replicas)
}

/// Lets the replicas rest, and prints what they use meanwhile.
fn rest(time: Duration) -> Result<(), Box<dyn Error>> {
    // Until the links are up.
    thread::sleep(Duration::from_secs(1));
    let before = processor_ticks()?;
    thread::sleep(time);
    let used = (processor_ticks()? - before) as f64 / 100.0;
    println!("at rest: {:.2} % of one core, all replicas together", 100.0 * used / time.as_secs_f64());
    Ok(())
}

/// The processor time of this process, in hundredths of a second.
fn processor_ticks() -> Result<u64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // Fields 14 and 15 of the line: user and system time.
    let times: Vec<u64> = fields.skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(times.iter().sum())
}

/// Keeps so many requests in flight until `end`. Returns their latencies, without those of the first tenth, and how
/// long they took together.
fn run_client(
    config: &ClientConfig,
    in_flight: usize,
    payload: &Bytes,
    end: Instant,
) -> Result<(Vec<Duration>, Duration), String> {
    let (sender, completions): (_, Receiver<Vec<Completion>>) = channel();
    let client = Client::connect(config, sender).map_err(|error| error.to_string())?;
    let command = |token| Submission { token, work: Work::Command(payload.clone()), timeout: None, trace: None };
    let mut sent_at = vec![Instant::now(); in_flight];
    let mut latencies = Vec::new();
    let mut burst: Vec<_> = (0..in_flight as u64).map(command).collect();
    client.submit_many(&mut burst).map_err(|error| error.to_string())?;
    let first = completions.recv().map_err(|error| error.to_string())?;
    let warm = Instant::now() + end.saturating_duration_since(Instant::now()) / 10;
    let (mut start, mut pending, mut completed) = (None, in_flight, first);
    loop {
        let now = Instant::now();
        if now >= warm && start.is_none() {
            start = Some(now);
        }
        pending -= completed.len();
        for completion in completed {
            completion.result.map_err(|error| error.to_string())?;
            let sent = &mut sent_at[completion.token as usize];
            if start.is_some() {
                latencies.push(now - *sent);
            }
            *sent = now;
            if now < end {
                burst.push(command(completion.token));
            }
        }
        if now >= end {
            break;
        }
        pending += burst.len();
        client.submit_many(&mut burst).map_err(|error| error.to_string())?;
        completed = completions.recv().map_err(|error| error.to_string())?;
        while let Ok(more) = completions.try_recv() {
            completed.extend(more);
        }
    }
    let took = start.map_or(Duration::ZERO, |start| start.elapsed());
    assert!(pending < in_flight + 1, "no completion comes twice");
    Ok((latencies, took))
}

fn report(options: &Options, mut latencies: Vec<Duration>, took: Duration) {
    latencies.sort_unstable();
    let percentile = |p: usize| latencies.get(latencies.len() * p / 100).copied().unwrap_or_default();
    println!(
        "{} n={} payload={} result={} clients={} in_flight={} workers={} window={} in one process on {} cores:",
        options.model.as_str(),
        options.replicas,
        options.payload,
        options.result,
        options.clients,
        options.in_flight,
        options.workers,
        options.window,
        thread::available_parallelism().map_or(0, std::num::NonZero::get),
    );
    println!(
        "{:.0} commands/s, latency p50 {:?} p99 {:?} max {:?}",
        latencies.len() as f64 / took.as_secs_f64(),
        percentile(50),
        percentile(99),
        latencies.last().copied().unwrap_or_default()
    );
}
