//! What every scheduler promises, in virtual time: any number of workers, any delays, any footprints.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use proptest::prelude::*;
use pssmr_execution::scheduler::{
    Class, Conflicts, Early, Graph, GraphVariant, Keyed, Mapping, Partitioning, Scheduler, Sequential, Static,
    Synchronisation,
};
use pssmr_execution::{Footprint, FootprintBuilder, Mode, TableId};

use support::model::{any_footprint, in_delivery_order, keys};
use support::virtual_time::{Conditions, Outcome, Random, run};

/// An arbitrary number; a replica draws its own.
const SECRET: u64 = 0x5eed_0f5e_c2e7_1234;

fn conditions() -> impl Strategy<Value = Conditions> {
    let workers = prop_oneof![1..=4usize, 1..=64usize];
    (workers, 1..=8usize, 1..=64usize, 0..=9u64, any::<u64>()).prop_map(
        |(workers, run_length_max, window, duration_max, seed)| Conditions {
            workers,
            run_length_max,
            window,
            duration_max,
            seed,
        },
    )
}

fn assert_as_in_delivery_order(footprints: &[Footprint], outcome: &Outcome) {
    let (state, replies) = in_delivery_order(footprints);
    assert_eq!(outcome.replies, replies, "every reply is that of sequential execution");
    assert_eq!(outcome.state, state, "the state is that of sequential execution");
    for (second, footprint) in footprints.iter().enumerate() {
        for (first, older) in footprints[..second].iter().enumerate() {
            let in_order = outcome.spans[first].1 < outcome.spans[second].0;
            assert!(in_order || !older.conflicts(footprint), "{first} and {second} conflict, and overlap");
        }
    }
}

const VARIANTS: [GraphVariant; 3] = [GraphVariant::Coarse, GraphVariant::Fine, GraphVariant::LockFree];

fn graph(variant: GraphVariant, conditions: Conditions) -> Graph {
    Graph::new(variant, conditions.window, Conflicts::default())
}

/// A mapping as the papers have them: readers and writers of each partition, and of all of them.
fn readers_and_writers(partitions: usize, lanes: usize, seed: u64) -> Mapping {
    let mut random = Random(seed);
    let mut some_of = |from: &[usize]| {
        let mut some: Vec<usize> = from.iter().copied().filter(|_| random.below(2) == 0).collect();
        if some.is_empty() {
            some.push(from[random.below(from.len() as u64) as usize]);
        }
        some
    };
    let every_lane: Vec<usize> = (0..lanes).collect();
    let class = |name: &str, touches: Vec<(usize, Mode)>, lanes: Vec<usize>, synchronisation| Class {
        name: name.to_owned(),
        touches,
        lanes,
        synchronisation,
    };
    let everywhere = |mode| (0..partitions).map(|partition| (partition, mode)).collect::<Vec<_>>();
    let (mut classes, mut meeting) = (Vec::new(), Vec::new());
    for partition in 0..partitions {
        let writers = some_of(&every_lane);
        let readers = some_of(&writers);
        meeting.push(writers[0]);
        let mut of_readers = Synchronisation::Concurrent;
        if partition % 2 == 1 {
            // One of two that conflict is synchronised: here those that commute are concurrent, and readers are not.
            let adders = some_of(&readers);
            meeting.extend(&adders);
            classes.push(class("adders", vec![(partition, Mode::Commute)], adders, Synchronisation::Concurrent));
            of_readers = Synchronisation::Synchronised;
        }
        classes.push(class("readers", vec![(partition, Mode::Read)], readers, of_readers));
        classes.push(class("writers", vec![(partition, Mode::Write)], writers, Synchronisation::Synchronised));
    }
    meeting.sort_unstable();
    meeting.dedup();
    classes.push(class("all readers", everywhere(Mode::Read), meeting, Synchronisation::Synchronised));
    classes.push(class("all writers", everywhere(Mode::Write), every_lane, Synchronisation::Synchronised));
    let partitioning = if random.below(2) == 0 { Partitioning::Keys } else { Partitioning::Tables };
    Mapping::new(partitioning, partitions, lanes, classes).unwrap()
}

fn check(footprints: &[Footprint], scheduler: &mut dyn Scheduler, conditions: Conditions) {
    let outcome = run(footprints, scheduler, conditions, &mut |_, _| {});
    assert_as_in_delivery_order(footprints, &outcome);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sequential_executes_in_delivery_order(
        footprints in prop::collection::vec(any_footprint(), 0..40),
        conditions in conditions(),
    ) {
        let outcome = run(&footprints, &mut Sequential::new(), conditions, &mut |_, _| {});
        assert_as_in_delivery_order(&footprints, &outcome);
        prop_assert!(outcome.spans.windows(2).all(|pair| pair[0].1 < pair[1].0), "one after the other");
    }

    #[test]
    fn keyed_equals_sequential_execution(
        footprints in prop::collection::vec(any_footprint(), 0..80),
        conditions in conditions(),
        entries in prop::sample::select(vec![1usize, 2, 8, 1 << 16]),
        secret in any::<u64>(),
    ) {
        check(&footprints, &mut Keyed::new(entries, conditions.workers, secret), conditions);
    }

    #[test]
    fn keyed_equals_sequential_execution_when_all_touch_few_keys(
        footprints in prop::collection::vec(keys(), 0..80),
        conditions in conditions(),
        entries in prop::sample::select(vec![1usize, 4, 1 << 16]),
    ) {
        check(&footprints, &mut Keyed::new(entries, conditions.workers, SECRET), conditions);
    }

    #[test]
    fn graphs_equal_sequential_execution(
        footprints in prop::collection::vec(any_footprint(), 0..80),
        conditions in conditions(),
        variant in prop::sample::select(&VARIANTS[..]),
    ) {
        check(&footprints, &mut graph(variant, conditions), conditions);
    }

    #[test]
    fn early_equals_sequential_execution(
        footprints in prop::collection::vec(any_footprint(), 0..80),
        conditions in conditions(),
        lanes in 1..=12usize,
        partitions in 1..=4usize,
        seed in any::<u64>(),
    ) {
        let by_key = Mapping::by_key(lanes);
        let by_class = readers_and_writers(partitions, lanes, seed);
        for mapping in [by_key, by_class] {
            check(&footprints, &mut Early::new(Arc::new(mapping), conditions.workers), conditions);
        }
    }

    #[test]
    fn static_lanes_equal_sequential_execution(
        footprints in prop::collection::vec(any_footprint(), 0..80),
        conditions in conditions(),
        lanes in 1..=12usize,
    ) {
        check(&footprints, &mut Static::new(lanes, conditions.workers), conditions);
    }

    /// With a predicate of the application's own, the graph orders what that says.
    #[test]
    fn graphs_take_any_predicate(
        footprints in prop::collection::vec(keys(), 0..60),
        conditions in conditions(),
        variant in prop::sample::select(&VARIANTS[..]),
    ) {
        // Of two commands with equally many claims the younger waits, and whenever one reads what the other writes.
        let predicate = |a: &Footprint, b: &Footprint| a.claims().len() == b.claims().len() || a.conflicts(b);
        let mut scheduler = Graph::new(variant, conditions.window, Conflicts::new(predicate));
        let outcome = run(&footprints, &mut scheduler, conditions, &mut |_, _| {});
        assert_as_in_delivery_order(&footprints, &outcome);
        for (second, footprint) in footprints.iter().enumerate() {
            for (first, older) in footprints[..second].iter().enumerate() {
                let in_order = outcome.spans[first].1 < outcome.spans[second].0;
                prop_assert!(in_order || !predicate(older, footprint));
            }
        }
    }

    /// Work conservation: what waits has a reason to.
    #[test]
    fn a_command_waits_only_for_an_older_one_that_conflicts(
        footprints in prop::collection::vec(keys(), 0..80),
        conditions in conditions(),
        variant in prop::sample::select(&VARIANTS[..]),
    ) {
        let mut keyed = Keyed::new(1 << 16, conditions.workers, SECRET);
        let mut graph = graph(variant, conditions);
        for scheduler in [&mut keyed as &mut dyn Scheduler, &mut graph] {
            let mut unfounded = None;
            run(&footprints, scheduler, conditions, &mut |waiting, pending| {
                for &command in waiting {
                    let reason = |&&older: &&usize| older < command && footprints[older].conflicts(&footprints[command]);
                    if pending.iter().find(reason).is_none() {
                        unfounded = Some(command);
                    }
                }
            });
            prop_assert_eq!(unfounded, None);
        }
    }

    /// The same for wide commands: they wait in line, so a reason may itself wait for the reason.
    #[test]
    fn something_always_runs(
        footprints in prop::collection::vec(any_footprint(), 0..80),
        conditions in conditions(),
        lanes in 1..=8usize,
        variant in prop::sample::select(&VARIANTS[..]),
    ) {
        let mut keyed = Keyed::new(1 << 16, conditions.workers, SECRET);
        let mut graph = graph(variant, conditions);
        let mut early = Early::new(Arc::new(readers_and_writers(3, lanes, conditions.seed)), conditions.workers);
        let mut by_key = Static::new(lanes, conditions.workers);
        for scheduler in [&mut keyed as &mut dyn Scheduler, &mut graph, &mut early, &mut by_key] {
            let mut stuck = false;
            run(&footprints, scheduler, conditions, &mut |waiting, pending| {
                stuck |= !pending.is_empty() && waiting.len() == pending.len();
            });
            prop_assert!(!stuck);
        }
    }
}

fn key(name: &str, mode: Mode) -> Footprint {
    let mut builder = FootprintBuilder::new();
    builder.key(TableId(0), name.as_bytes(), mode);
    builder.build()
}

fn table(mode: Mode) -> Footprint {
    let mut builder = FootprintBuilder::new();
    builder.table(TableId(0), mode);
    builder.build()
}

/// A keyed scheduler, and the handles that are ready.
struct Keys {
    scheduler: Keyed,
    submitted: u32,
}

impl Keys {
    fn new() -> Self {
        Self { scheduler: Keyed::new(1 << 16, 2, SECRET), submitted: 0 }
    }

    fn submit(&mut self, footprint: &Footprint) -> Vec<u32> {
        let mut ready = Vec::new();
        self.scheduler.submit(self.submitted, footprint, &mut ready);
        self.submitted += 1;
        ready.into_iter().map(|command| command.handle).collect()
    }

    fn complete(&mut self, handle: u32) -> Vec<u32> {
        let mut ready = Vec::new();
        self.scheduler.complete(0, handle, &mut ready);
        ready.into_iter().map(|command| command.handle).collect()
    }
}

#[test]
fn readers_run_together_and_do_not_overtake_an_older_writer() {
    let mut keys = Keys::new();
    assert_eq!(keys.submit(&key("a", Mode::Read)), [0]);
    assert_eq!(keys.submit(&key("a", Mode::Read)), [1]);
    assert_eq!(keys.submit(&key("a", Mode::Write)), []);
    assert_eq!(keys.submit(&key("a", Mode::Read)), []);
    assert_eq!(keys.submit(&key("a", Mode::Read)), []);
    assert_eq!(keys.complete(0), []);
    assert_eq!(keys.complete(1), [2]);
    assert_eq!(keys.complete(2), [3, 4]);
}

#[test]
fn commuting_commands_run_together_and_readers_wait_for_them() {
    let mut keys = Keys::new();
    assert_eq!(keys.submit(&key("a", Mode::Commute)), [0]);
    assert_eq!(keys.submit(&key("a", Mode::Commute)), [1]);
    assert_eq!(keys.submit(&key("a", Mode::Read)), []);
    assert_eq!(keys.complete(1), []);
    assert_eq!(keys.complete(0), [2]);
}

#[test]
fn a_command_on_two_keys_waits_for_both() {
    let mut builder = FootprintBuilder::new();
    builder.key(TableId(0), b"a", Mode::Write);
    builder.key(TableId(0), b"b", Mode::Write);
    let mut keys = Keys::new();
    keys.submit(&key("a", Mode::Write));
    keys.submit(&key("b", Mode::Write));
    assert_eq!(keys.submit(&builder.build()), []);
    assert_eq!(keys.complete(1), []);
    assert_eq!(keys.complete(0), [2]);
}

#[test]
fn a_whole_table_waits_for_its_keys_and_is_not_starved_by_younger_ones() {
    let mut keys = Keys::new();
    assert_eq!(keys.submit(&key("a", Mode::Write)), [0]);
    assert_eq!(keys.submit(&table(Mode::Read)), []);
    assert_eq!(keys.submit(&key("b", Mode::Write)), []);
    assert_eq!(keys.complete(0), [1]);
    assert_eq!(keys.complete(1), [2]);
}

#[test]
fn a_fence_is_between_what_is_before_and_what_is_after() {
    let mut keys = Keys::new();
    assert_eq!(keys.submit(&Footprint::nothing()), [0]);
    let mut ready = Vec::new();
    keys.scheduler.fence(1, &mut ready);
    keys.submitted += 1;
    assert_eq!(ready, []);
    assert_eq!(keys.submit(&Footprint::nothing()), []);
    assert_eq!(keys.submit(&key("a", Mode::Read)), []);
    assert_eq!(keys.complete(0), [1]);
    assert_eq!(keys.complete(1), [2, 3]);
}

#[test]
fn writers_of_one_key_follow_each_other_in_one_run() {
    let mut keys = Keys::new();
    assert_eq!(keys.submit(&key("hot", Mode::Write)), [0]);
    for _ in 0..3 {
        assert_eq!(keys.submit(&key("hot", Mode::Write)), []);
    }
    assert_eq!(keys.scheduler.follow(0), Some(1));
    assert_eq!(keys.scheduler.follow(1), Some(2));
    assert_eq!(keys.complete(0), []);
    assert_eq!(keys.complete(1), []);
    assert_eq!(keys.complete(2), [3]);
}

#[test]
fn exclusive_commands_follow_each_other_in_one_run() {
    let mut keys = Keys::new();
    assert_eq!(keys.submit(&Footprint::exclusive()), [0]);
    keys.submit(&Footprint::exclusive());
    keys.submit(&Footprint::exclusive());
    keys.submit(&key("a", Mode::Write));
    assert_eq!(keys.scheduler.follow(0), Some(1));
    assert_eq!(keys.scheduler.follow(0), None, "the next waits for the one that follows");
    assert_eq!(keys.scheduler.follow(1), Some(2));
    assert_eq!(keys.scheduler.follow(2), None, "a key's writer could run elsewhere");
    assert_eq!(keys.complete(0), []);
    assert_eq!(keys.complete(1), []);
    assert_eq!(keys.complete(2), [3]);
}

#[test]
fn a_scheduler_counts_what_it_is_given_and_what_has_to_wait() {
    let mut graph = Graph::new(GraphVariant::Coarse, 8, Conflicts::default());
    let mut keyed = Keyed::new(8, 2, SECRET);
    let mut by_key = Static::new(2, 2);
    let mut sequential = Sequential::new();
    for scheduler in [&mut graph as &mut dyn Scheduler, &mut keyed, &mut by_key, &mut sequential] {
        let mut ready = Vec::new();
        (0..3).for_each(|handle| scheduler.submit(handle, &key("a", Mode::Write), &mut ready));
        scheduler.complete(0, 0, &mut ready);
        let stats = scheduler.stats();
        assert_eq!((stats.submitted, stats.completed, stats.delayed, stats.pending()), (3, 1, 2, 2));
    }
}

fn graph_with(variant: GraphVariant, predicate: fn(&Footprint, &Footprint) -> bool) -> Graph {
    Graph::new(variant, 8, Conflicts::new(predicate))
}

/// What is ready when these are submitted.
fn ready_of(scheduler: &mut dyn Scheduler, footprints: &[Footprint]) -> Vec<u32> {
    let mut ready = Vec::new();
    (0..).zip(footprints).for_each(|(handle, footprint)| scheduler.submit(handle, footprint, &mut ready));
    ready.into_iter().map(|command| command.handle).collect()
}

#[test]
fn an_exclusive_command_keeps_its_order_whatever_the_predicate_says() {
    for variant in VARIANTS {
        let never = || graph_with(variant, |_, _| false);
        assert_eq!(ready_of(&mut never(), &[Footprint::exclusive(), Footprint::nothing()]), [0]);
        assert_eq!(ready_of(&mut never(), &[Footprint::nothing(), Footprint::exclusive()]), [0]);
        assert_eq!(ready_of(&mut never(), &[key("a", Mode::Write), key("a", Mode::Write)]), [0, 1]);
    }
}

#[test]
fn a_predicate_is_asked_about_an_older_and_a_younger_command() {
    for variant in VARIANTS {
        let mut graph = graph_with(variant, |older, younger| older.claims().len() > younger.claims().len());
        assert_eq!(ready_of(&mut graph, &[Footprint::nothing(), key("a", Mode::Read), Footprint::nothing()]), [0, 1]);
    }
}

#[test]
fn what_waits_is_not_removed_from_a_graph() {
    for variant in VARIANTS {
        let mut graph = graph_with(variant, |_, _| true);
        ready_of(&mut graph, &[Footprint::nothing(), Footprint::nothing()]);
        let removed = catch_unwind(AssertUnwindSafe(|| graph.complete(0, 1, &mut Vec::new())));
        assert!(removed.is_err(), "{variant:?}");
    }
}

#[test]
#[should_panic(expected = "a window of")]
fn a_graph_has_room_for_a_command() {
    Graph::new(GraphVariant::Coarse, 0, Conflicts::default());
}

#[test]
fn a_window_that_takes_several_words_is_handed_over_whole() {
    for variant in VARIANTS {
        let mut graph = Graph::new(variant, 200, Conflicts::default());
        let mut ready = Vec::new();
        graph.submit(0, &Footprint::exclusive(), &mut ready);
        (1..200).for_each(|handle| graph.submit(handle, &Footprint::nothing(), &mut ready));
        assert_eq!((ready.len(), graph.room()), (1, 0));
        ready.clear();
        graph.complete(0, 0, &mut ready);
        let mut handles: Vec<_> = ready.iter().map(|command| command.handle).collect();
        handles.sort_unstable();
        assert_eq!(handles, (1..200).collect::<Vec<_>>(), "{variant:?}");
    }
}

#[test]
fn each_worker_is_wished_what_its_own_command_made_ready() {
    let mut keys = Keys::new();
    for name in ["a", "b", "a", "b"] {
        keys.submit(&key(name, Mode::Write));
    }
    let mut ready = Vec::new();
    keys.scheduler.complete(1, 0, &mut ready);
    keys.scheduler.complete(0, 1, &mut ready);
    let wishes: Vec<_> = ready.iter().map(|command| (command.handle, command.worker)).collect();
    assert_eq!(wishes, [(2, Some(1)), (3, Some(0))]);
}

/// Clients choose keys, and must not be able to choose ones that wait for each other: what does is another matter for
/// each secret.
#[test]
fn which_keys_share_an_entry_depends_on_the_secret() {
    let keys: Vec<_> = (0..64).map(|number| key(&number.to_string(), Mode::Write)).collect();
    let at_once = |secret| ready_of(&mut Keyed::new(16, 2, secret), &keys);
    assert_ne!(at_once(SECRET), at_once(SECRET ^ 0x1234_5678_9abc_def0));
    for secret in [0, SECRET & !1] {
        assert!(at_once(secret).len() > 4, "also an even secret spreads them");
    }
}

#[test]
fn a_command_that_waits_for_something_else_does_not_follow() {
    let mut builder = FootprintBuilder::new();
    builder.key(TableId(0), b"a", Mode::Write);
    builder.key(TableId(0), b"b", Mode::Write);
    let mut keys = Keys::new();
    keys.submit(&key("a", Mode::Write));
    keys.submit(&key("b", Mode::Write));
    keys.submit(&builder.build());
    assert_eq!(keys.scheduler.follow(0), None);
}

#[test]
fn readers_do_not_follow_because_they_can_run_beside_each_other() {
    let mut keys = Keys::new();
    keys.submit(&key("a", Mode::Write));
    keys.submit(&key("a", Mode::Read));
    keys.submit(&key("a", Mode::Read));
    assert_eq!(keys.scheduler.follow(0), None);
    assert_eq!(keys.complete(0), [1, 2]);
}

#[test]
fn what_waited_for_a_command_is_wished_onto_its_worker() {
    let mut keys = Keys::new();
    keys.submit(&key("a", Mode::Write));
    keys.submit(&key("a", Mode::Write));
    let mut ready = Vec::new();
    keys.scheduler.complete(1, 0, &mut ready);
    assert_eq!(ready[0].worker, Some(1));
    keys.submit(&key("a", Mode::Write));
    keys.scheduler.resize(1);
    ready.clear();
    keys.scheduler.complete(1, 1, &mut ready);
    assert_eq!(ready[0].worker, None, "no wish for a worker that is gone");
}

/// With many pending commands the keyed scheduler fetches ahead what is announced.
#[test]
fn announcing_commands_changes_nothing() {
    const COMMANDS: u32 = 6000;
    let footprints: Vec<_> = (0..COMMANDS).map(|command| key(&format!("{}", command % 50), Mode::Write)).collect();
    let mut scheduler = Keyed::new(1 << 16, 2, SECRET);
    let (mut ready, mut executed) = (Vec::new(), Vec::new());
    for (handle, footprint) in (0..).zip(&footprints) {
        scheduler.expect_submissions(&mut footprints[handle as usize..].iter().take(8));
        scheduler.submit(handle, footprint, &mut ready);
    }
    while !ready.is_empty() {
        let run: Vec<_> = ready.drain(..).map(|command| command.handle).collect();
        scheduler.expect_completions(&run);
        for handle in run {
            scheduler.complete(0, handle, &mut ready);
            executed.push(handle);
        }
    }
    assert_eq!(executed, (0..COMMANDS).collect::<Vec<_>>());
}

#[test]
#[should_panic(expected = "is not running")]
fn a_command_that_waits_cannot_complete() {
    let mut keys = Keys::new();
    keys.submit(&key("a", Mode::Write));
    keys.submit(&key("a", Mode::Write));
    keys.complete(1);
}

#[test]
#[should_panic(expected = "is not running")]
fn a_command_cannot_complete_twice() {
    let mut keys = Keys::new();
    keys.submit(&key("a", Mode::Write));
    keys.complete(0);
    keys.complete(0);
}
