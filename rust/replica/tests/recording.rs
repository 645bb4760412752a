//! Recordings of real replicas: with threads, links and disks, so in another order each time.

#[allow(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use pssmr_execution::services::KeyValue;
use pssmr_ordering::{Durability, Effect, Event};
use pssmr_recording::{Call, End, Ending, Playback, Played};
use pssmr_replica::{RecordingConfig, Replica, ReplicaEvent, Silent, StartError};
use pssmr_types::FaultModel;
use tempfile::TempDir;

use support::{Cluster, TestClient, add, configs, eventually, get, number_of};

/// Four replicas that all but replica 3 are recorded, each into `ID.recording`.
fn cluster(bytes_max: u64) -> (Cluster, TempDir) {
    let root = tempfile::tempdir().expect("there is a place for temporary files");
    let path = root.path().to_owned();
    let cluster = Cluster::start_with(FaultModel::Byzantine, 4, KeyValue::new, move |config| {
        config.ordering.durability = Durability::Sync;
        config.ordering.limits.requests_max = 10;
        config.ordering.checkpoint_slots = 20;
        config.ordering.retained_slots_max = 40;
        config.data_directory = Some(path.join(config.me.to_string()));
        let file = path.join(format!("{}.recording", config.me.0));
        config.recording = (config.me.0 < 3).then_some(RecordingConfig { file, bytes_max });
    });
    (cluster, root)
}

fn work(client: &TestClient, commands: usize) {
    assert!(client.call_all(vec![add("sum", 1); commands]).iter().all(Result::is_ok));
}

/// Plays a recording back, to its orderly end.
fn play(file: &Path, mut look: impl FnMut(&Played)) {
    let mut playback = Playback::open(BufReader::new(File::open(file).expect("a file"))).expect("a recording");
    while let Some(played) = playback.advance().expect("a whole recording") {
        assert_eq!(played.difference, None, "{}: {played:#?}", file.display());
        look(&played);
    }
    assert_eq!(playback.ending(), Some(&Ending::End(End::Stopped)));
}

#[test]
fn replicas_that_led_followed_and_came_back_do_the_same_when_they_are_played_back() {
    let (mut cluster, root) = cluster(1 << 30);
    let client = cluster.client(0);
    work(&client, 500);
    let first_of_log = root.path().join("r1").join("log").join("00000000000000000001.log");
    let mut commands = 800;
    eventually("the log begins with a checkpoint", || {
        client.checkpoint();
        work(&client, 20);
        commands += 20;
        !first_of_log.exists()
    });
    // One view change that was asked for, and one for want of a leader.
    let next = cluster.replica(0).step_down().expect("it leads");
    work(&client, 100);
    assert_eq!(next.leader, 1);
    cluster.stop_replica(1);
    work(&client, 100);
    cluster.start_replica(1, Arc::new(Silent));
    let decided = cluster.status(2).decided;
    eventually("it has caught up", || cluster.status(1).decided >= decided);
    work(&client, 100);
    assert_eq!(number_of(client.call(get("sum"))), commands);
    (0..4).for_each(|id| cluster.stop_replica(id));

    let views = |file: &str| {
        let (mut views, mut restored) = (0, false);
        play(&root.path().join(file), |played| {
            restored |= matches!(played.call, Call::Restore(_));
            let begins = |effect: &&_| matches!(effect, Effect::Event(Event::ViewActive { .. }));
            views += played.effects.iter().filter(begins).count();
        });
        (views, restored)
    };
    for (file, least, restored) in
        [("0.recording", 2, false), ("1.recording.1", 1, false), ("1.recording", 0, true), ("2.recording", 2, false)]
    {
        let found = views(file);
        assert!(found.0 >= least && found.1 == restored, "{file}: {found:?}");
    }
    let mut names: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let expected = ["0.recording", "1.recording", "1.recording.1", "2.recording", "r0", "r1", "r2", "r3"];
    assert_eq!(names, expected, "nothing of the replica that is not recorded");
}

#[test]
fn a_replica_goes_on_when_its_recording_has_reached_its_limit_and_says_so() {
    const LIMIT: u64 = 50_000;
    let (mut cluster, root) = cluster(LIMIT);
    let (sender, events) = channel();
    cluster.stop_replica(2);
    cluster.start_replica(2, Arc::new(move |event: &ReplicaEvent| drop(sender.send(event.clone()))));
    let client = cluster.client(0);
    let ended = || events.try_iter().any(|event| matches!(event, ReplicaEvent::RecordingEnded { .. }));
    eventually("it is full", || {
        work(&client, 100);
        ended()
    });
    let decided = cluster.status(2).decided;
    work(&client, 100);
    eventually("it goes on", || cluster.status(2).decided > decided);
    cluster.stop_replica(2);
    let file = root.path().join("2.recording");
    let bytes = fs::metadata(&file).expect("a file").len();
    assert!((LIMIT / 2..LIMIT + 100).contains(&bytes), "{bytes} bytes");
    let mut playback = Playback::open(File::open(&file).expect("a file")).expect("a recording");
    while let Some(played) = playback.advance().expect("whole") {
        assert_eq!(played.difference, None);
    }
    assert_eq!(playback.ending(), Some(&Ending::End(End::Full)));
    assert!(playback.played() > 20);
}

#[test]
fn a_replica_that_can_not_record_does_not_start() {
    let mut config = configs(FaultModel::Crash, 1).remove(0);
    let file = tempfile::tempdir().expect("there is a place").path().join("gone").join("r");
    config.recording = Some(RecordingConfig { file: file.clone(), bytes_max: 1 << 20 });
    let refused =
        Replica::start(&config, Arc::new(KeyValue::new()), Arc::new(Silent)).err().expect("no such directory");
    assert!(matches!(&refused, StartError::Recording { file: named, .. } if *named == file), "{refused}");
}
