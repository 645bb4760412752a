//! Which commands of a run may be executed together.

mod support;

use bytes::Bytes;
use proptest::prelude::*;
use pssmr_execution::{Command, CommandKind, Footprint, Independent, Task};

use support::model::{any_footprint, keys};

fn task(footprint: Footprint, handler: u32) -> Task {
    let command = Command::alone(1, CommandKind::Application, Bytes::new());
    Task::new(command, footprint, handler)
}

/// The definition: each is compared with all before it.
fn expected(footprints: &[Footprint]) -> usize {
    let conflicts = |at: &usize| footprints[..*at].iter().any(|older| older.conflicts(&footprints[*at]));
    (0..footprints.len()).find(conflicts).unwrap_or(footprints.len())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_prefix_ends_before_the_first_command_that_conflicts_with_one_before(
        runs in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any_footprint(), 0..12),
                prop::collection::vec(keys(), 0..12),
            ],
            1..4,
        ),
    ) {
        let mut independent = Independent::default();
        for footprints in runs {
            let run: Vec<_> = footprints.iter().map(|footprint| task(footprint.clone(), 0)).collect();
            prop_assert_eq!(independent.prefix(&run), expected(&footprints));
        }
    }
}

#[test]
fn commands_of_another_handler_are_not_of_the_prefix() {
    let run = [0, 0, 1, 0].map(|handler| task(Footprint::nothing(), handler));
    assert_eq!(Independent::default().prefix(&run), 2);
}

#[test]
fn reads_are_not_executed_together_with_what_has_a_place_in_the_order() {
    let run = [CommandKind::Application, CommandKind::Read, CommandKind::Read, CommandKind::Application]
        .map(|kind| Task::new(Command::alone(1, kind, Bytes::new()), Footprint::nothing(), 0));
    let mut independent = Independent::default();
    assert_eq!([&run[..], &run[1..]].map(|run| independent.prefix(run)), [1, 2]);
}
