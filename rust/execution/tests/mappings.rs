//! Mappings of classes to lanes: which are refused, and why.

use std::sync::Arc;

use pssmr_execution::scheduler::{
    Class, Early, Mapping, MappingError, Partitioning, Ready, Scheduler, Synchronisation,
};
use pssmr_execution::{Claim, Footprint, FootprintBuilder, KeyHash, Mode, TableId};

use Synchronisation::{Concurrent, Synchronised};

fn class(name: &str, touches: &[(usize, Mode)], lanes: &[usize], synchronisation: Synchronisation) -> Class {
    Class { name: name.to_owned(), touches: touches.to_vec(), lanes: lanes.to_vec(), synchronisation }
}

/// A mapping as hand-written ones are: for each partition the lanes of its readers, which are concurrent, and its
/// writers, which are synchronised; and those that read all and write all.
fn sharded(lanes: usize, all_readers: &[usize], shards: &[&[usize]]) -> Result<Mapping, MappingError> {
    let everywhere = |mode| (0..shards.len()).map(|shard| (shard, mode)).collect::<Vec<_>>();
    let every_lane: Vec<usize> = (0..lanes).collect();
    let mut classes = vec![
        class("GR", &everywhere(Mode::Read), all_readers, Synchronised),
        class("GW", &everywhere(Mode::Write), &every_lane, Synchronised),
    ];
    for (shard, lanes) in shards.iter().enumerate() {
        classes.push(class(&format!("R{}", shard + 1), &[(shard, Mode::Read)], lanes, Concurrent));
        classes.push(class(&format!("W{}", shard + 1), &[(shard, Mode::Write)], lanes, Synchronised));
    }
    Mapping::new(Partitioning::Tables, shards.len(), lanes, classes)
}

fn no_common_lane(first: &str, second: &str) -> MappingError {
    MappingError::NoCommonLane { first: first.to_owned(), second: second.to_owned() }
}

/// Of parallel-SMR's tables for 4 shards and 8 threads (`getM2P4T8`), 4 and 10 (`getP4T10`), 2 and 12 (`getM2P2T12RW`),
/// 2 and 4 (`getM2P2T4TunnedW1`, where one entry is written twice): a read of everything and the writes of one shard have
/// no thread in common, so they run beside each other.
#[test]
fn tables_of_which_a_global_read_misses_a_shard_are_refused_and_name_the_pair() {
    let eleven: Vec<usize> = (1..12).collect();
    for (mapping, writers) in [
        (sharded(8, &[0, 4, 6, 7], &[&[2, 4], &[0, 6], &[3, 5], &[1, 7]]), "W3"),
        (sharded(10, &[0, 4, 6, 7], &[&[2, 4, 8], &[0, 6, 8], &[3, 5, 9], &[1, 7, 9]]), "W3"),
        (sharded(12, &[0], &[&eleven, &[0]]), "W1"),
        (sharded(4, &[3, 0], &[&[3], &[2]]), "W2"),
    ] {
        assert_eq!(mapping, Err(no_common_lane("GR", writers)));
    }
}

/// The same tables with one lane of each shard for the readers of everything, and one of parallel-SMR's own that is right.
#[test]
fn tables_in_which_a_global_read_meets_every_shard_are_taken() {
    assert!(sharded(8, &[3, 4, 6, 7], &[&[2, 4], &[0, 6], &[3, 5], &[1, 7]]).is_ok());
    assert!(sharded(4, &[0, 3], &[&[0, 2], &[1, 3]]).is_ok());
    assert!(sharded(4, &[2, 0], &[&[0, 1, 3], &[2]]).is_ok());
}

fn refused(classes: Vec<Class>) -> String {
    Mapping::new(Partitioning::Tables, 2, 3, classes).unwrap_err().to_string()
}

#[test]
fn every_rule_is_checked_and_the_error_names_who_breaks_it() {
    let writes = [(0, Mode::Write)];
    assert_eq!(refused(vec![class("a", &writes, &[], Concurrent)]), "class a has no lane");
    assert!(refused(vec![class("a", &writes, &[0, 1], Concurrent)]).starts_with("commands of class a conflict"));
    let pair = |first, second| refused(vec![first, second]);
    assert_eq!(
        pair(class("a", &writes, &[0], Concurrent), class("b", &[(0, Mode::Read)], &[0], Concurrent)),
        "classes a and b conflict: one of them has to be synchronised"
    );
    for swapped in [false, true] {
        let mut both = [
            class("a", &[(0, Mode::Commute)], &[0, 2], Concurrent),
            class("b", &[(0, Mode::Read)], &[0, 1], Synchronised),
        ];
        if swapped {
            both.reverse();
        }
        let error = refused(both.to_vec());
        assert_eq!(error, "class a has lane 2, but class b, which conflicts with it, does not");
    }
    assert_eq!(
        pair(class("a", &writes, &[0], Synchronised), class("b", &writes, &[1, 2], Synchronised)),
        "classes a and b conflict and have no lane in common"
    );
    assert_eq!(refused(vec![class("a", &writes, &[3], Concurrent)]), "class a has lane 3, but there are lanes 0 to 2");
    assert_eq!(refused(vec![class("a", &writes, &[1, 1], Synchronised)]), "class a has lane 1 twice");
    assert_eq!(
        refused(vec![class("a", &[(2, Mode::Read)], &[1], Concurrent)]),
        "class a touches partition 2, but there are partitions 0 to 1"
    );
    assert_eq!(Mapping::new(Partitioning::Keys, 1, 0, Vec::new()), Err(MappingError::Empty));
}

#[test]
fn classes_that_do_not_conflict_need_no_common_lane() {
    let classes = vec![
        class("a", &[(0, Mode::Write)], &[0], Synchronised),
        class("b", &[(1, Mode::Write)], &[1], Synchronised),
        class("c", &[(0, Mode::Commute)], &[0], Concurrent),
    ];
    assert!(Mapping::new(Partitioning::Tables, 2, 3, classes).is_ok());
}

fn claims(claims: &[Claim]) -> Footprint {
    let mut builder = FootprintBuilder::new();
    for claim in claims {
        builder.claim(*claim);
    }
    builder.build()
}

fn key(table: u16, key: u64, mode: Mode) -> Claim {
    Claim::key(TableId(table), KeyHash(key), mode)
}

/// Submits commands to an early scheduler with a mapping by key and two lanes; those that are ready at once.
fn ready_at_once(footprints: &[Footprint]) -> Vec<u32> {
    let mut early = Early::new(Arc::new(Mapping::by_key(2)), 2);
    let mut ready = Ready::new();
    for (handle, footprint) in (0..).zip(footprints) {
        early.submit(handle, footprint, &mut ready);
    }
    ready.into_iter().map(|command| command.handle).collect()
}

#[test]
fn commands_of_different_lanes_run_at_once_and_those_of_one_do_not() {
    let write = |hash| claims(&[key(0, hash, Mode::Write)]);
    assert_eq!(ready_at_once(&[write(0), write(1), write(2), write(3)]), [0, 1]);
}

#[test]
fn a_command_that_no_class_covers_waits_for_all_lanes() {
    let both = claims(&[key(0, 0, Mode::Read), key(0, 1, Mode::Read)]);
    let (left, right) = (claims(&[key(0, 0, Mode::Read)]), claims(&[key(0, 1, Mode::Read)]));
    assert_eq!(ready_at_once(&[both.clone(), left.clone(), right.clone()]), [0]);
    assert_eq!(ready_at_once(&[left, both, right]), [0]);
    let table = claims(&[Claim::table(TableId(0), Mode::Read)]);
    assert_eq!(ready_at_once(&[table.clone(), table, Footprint::exclusive(), Footprint::nothing()]), [0]);
}

#[test]
fn the_last_to_arrive_runs_a_synchronised_command() {
    let mut early = Early::new(Arc::new(Mapping::by_key(2)), 2);
    let mut ready = Ready::new();
    for (handle, hash) in [(0, 0), (1, 1)] {
        early.submit(handle, &claims(&[key(0, hash, Mode::Write)]), &mut ready);
    }
    ready.clear();
    early.submit(2, &Footprint::exclusive(), &mut ready);
    early.complete(0, 0, &mut ready);
    assert_eq!(ready, []);
    early.complete(1, 1, &mut ready);
    assert_eq!(ready.iter().map(|command| (command.handle, command.worker)).collect::<Vec<_>>(), [(2, Some(1))]);
}

#[test]
fn a_partition_that_a_class_touches_twice_counts_in_both_modes() {
    let reads = class("reads", &[(0, Mode::Read)], &[0], Concurrent);
    for touches in [[(0, Mode::Write), (0, Mode::Read)], [(0, Mode::Read), (0, Mode::Commute)]] {
        let both = class("both", &touches, &[1], Concurrent);
        assert_eq!(
            refused(vec![reads.clone(), both]),
            "classes reads and both conflict: one of them has to be synchronised"
        );
    }
}

#[test]
fn commands_of_a_concurrent_class_are_spread_over_its_lanes() {
    let readers = class("readers", &[(0, Mode::Read)], &[0, 1, 2], Concurrent);
    let mapping = Mapping::new(Partitioning::Tables, 1, 3, vec![readers]).unwrap();
    let mut early = Early::new(Arc::new(mapping), 3);
    let mut ready = Ready::new();
    (0..4).for_each(|handle| early.submit(handle, &claims(&[key(0, 7, Mode::Read)]), &mut ready));
    assert_eq!(ready.iter().map(|command| command.handle).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn what_is_behind_a_command_of_several_lanes_does_not_follow_it() {
    let mut early = Early::new(Arc::new(Mapping::by_key(2)), 2);
    let mut ready = Ready::new();
    early.submit(0, &Footprint::exclusive(), &mut ready);
    for (handle, hash) in [(1, 0), (2, 1)] {
        early.submit(handle, &claims(&[key(0, hash, Mode::Write)]), &mut ready);
    }
    assert_eq!(early.follow(0), None, "the two can run beside each other");
    ready.clear();
    early.complete(0, 0, &mut ready);
    assert_eq!(ready.iter().map(|command| command.handle).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn nothing_is_wished_onto_a_worker_that_is_gone() {
    let mut early = Early::new(Arc::new(Mapping::by_key(1)), 2);
    let mut ready = Ready::new();
    (0..4).for_each(|handle| early.submit(handle, &Footprint::exclusive(), &mut ready));
    ready.clear();
    early.complete(1, 0, &mut ready);
    early.resize(1);
    early.complete(1, 1, &mut ready);
    early.resize(4);
    early.complete(3, 2, &mut ready);
    assert_eq!(ready.iter().map(|command| command.worker).collect::<Vec<_>>(), [Some(1), None, Some(3)]);
}

#[test]
fn commands_of_one_lane_follow_each_other_in_one_run() {
    let mut early = Early::new(Arc::new(Mapping::by_key(2)), 2);
    let mut ready = Ready::new();
    for (handle, hash) in [(0, 0), (1, 2), (2, 4)] {
        early.submit(handle, &claims(&[key(0, hash, Mode::Write)]), &mut ready);
    }
    early.submit(3, &Footprint::exclusive(), &mut ready);
    assert_eq!((early.follow(0), early.follow(1)), (Some(1), Some(2)));
    assert_eq!(early.follow(2), Some(3), "the other lane is empty, so this one is the last to arrive");
    ready.clear();
    (0..3).for_each(|handle| early.complete(0, handle, &mut ready));
    assert_eq!(ready, []);
}
