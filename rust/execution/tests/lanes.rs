//! The static scheduler: the lanes of a command are a function of its keys.

use pssmr_execution::scheduler::{LaneSet, Ready, Scheduler, Static, lane_of, lanes_of};
use pssmr_execution::{Claim, Footprint, FootprintBuilder, KeyHash, Mode, TableId};

const LANES: usize = 3;

fn claims(claims: &[Claim]) -> Footprint {
    let mut builder = FootprintBuilder::new();
    for claim in claims {
        builder.claim(*claim);
    }
    builder.build()
}

fn keys(hashes: &[u64], mode: Mode) -> Footprint {
    let keys: Vec<_> = hashes.iter().map(|hash| Claim::key(TableId(0), KeyHash(*hash), mode)).collect();
    claims(&keys)
}

/// Handles in the order of submission; those that are ready.
struct Lanes {
    scheduler: Static,
    submitted: u32,
}

impl Lanes {
    fn new() -> Self {
        Self { scheduler: Static::new(LANES, 2), submitted: 0 }
    }

    fn submit(&mut self, footprint: &Footprint) -> Vec<u32> {
        let mut ready = Ready::new();
        self.scheduler.submit(self.submitted, footprint, &mut ready);
        self.submitted += 1;
        ready.into_iter().map(|command| command.handle).collect()
    }

    fn complete(&mut self, handle: u32) -> Vec<u32> {
        let mut ready = Ready::new();
        self.scheduler.complete(0, handle, &mut ready);
        ready.into_iter().map(|command| command.handle).collect()
    }
}

#[test]
fn a_key_has_its_lane_whatever_the_table_and_the_mode() {
    for hash in 0..9 {
        let lane = lane_of(KeyHash(hash), LANES);
        for (table, mode) in [(0, Mode::Read), (0, Mode::Write), (7, Mode::Commute)] {
            let footprint = claims(&[Claim::key(TableId(table), KeyHash(hash), mode)]);
            assert_eq!(lanes_of(&footprint, LANES), LaneSet::These([lane].into_iter().collect()));
        }
    }
}

/// A golden value: clients, leaders and replicas of all versions have to agree on it.
#[test]
fn the_lane_of_a_key_is_the_same_in_every_version() {
    let lanes: Vec<_> =
        ["alice", "bob", "carol", "dave"].map(|key| lane_of(KeyHash::of(TableId(0), key.as_bytes()), 8)).into();
    assert_eq!(lanes, [1, 7, 5, 5]);
}

#[test]
fn keys_of_several_lanes_give_each_lane_once_and_what_is_wide_gives_all() {
    assert_eq!(lanes_of(&keys(&[5, 2, 0, 3], Mode::Read), LANES), LaneSet::These([0, 2].into_iter().collect()));
    assert_eq!(lanes_of(&Footprint::nothing(), LANES), LaneSet::Any);
    let table = claims(&[Claim::table(TableId(0), Mode::Read)]);
    for wide in [table, Footprint::read_all(), Footprint::exclusive()] {
        assert_eq!(lanes_of(&wide, LANES), LaneSet::All);
    }
}

#[test]
fn commands_of_one_lane_run_one_after_the_other_even_if_they_do_not_conflict() {
    let mut lanes = Lanes::new();
    assert_eq!(lanes.submit(&keys(&[0], Mode::Read)), [0]);
    assert_eq!(lanes.submit(&keys(&[0], Mode::Read)), []);
    assert_eq!(lanes.submit(&keys(&[1], Mode::Read)), [2]);
    assert_eq!(lanes.complete(0), [1]);
}

#[test]
fn a_command_of_two_lanes_waits_for_both_and_stops_no_other() {
    let mut lanes = Lanes::new();
    assert_eq!(lanes.submit(&keys(&[0], Mode::Write)), [0]);
    assert_eq!(lanes.submit(&keys(&[1], Mode::Write)), [1]);
    assert_eq!(lanes.submit(&keys(&[0, 1], Mode::Write)), []);
    assert_eq!(lanes.submit(&keys(&[2], Mode::Write)), [3]);
    assert_eq!(lanes.submit(&keys(&[1], Mode::Write)), [], "not past one that waits in its lane");
    assert_eq!(lanes.complete(1), []);
    assert_eq!(lanes.complete(0), [2]);
    assert_eq!(lanes.complete(2), [4]);
}

#[test]
fn commands_that_touch_nothing_are_spread_over_the_lanes() {
    let mut lanes = Lanes::new();
    let ready: usize = (0..LANES).map(|_| lanes.submit(&Footprint::nothing()).len()).sum();
    assert_eq!(ready, LANES);
    assert_eq!(lanes.submit(&Footprint::exclusive()), []);
}
