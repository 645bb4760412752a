//! Requests one at a time, in the caller's thread: what a service does with them, without schedulers and workers.

use bytes::Bytes;

use crate::compound::unfold;
use crate::executor::task_of;
use crate::footprint::{Footprint, FootprintBuilder};
use crate::service::{Command, CommandKind, Service, Task};
use crate::worker::{completion, execute_run};

/// Executes an application's request as a replica does, and returns its reply. Nothing else may use the service.
///
/// # Panics
/// If the request asks for something that is not the application's.
pub fn execute(service: &dyn Service, request: Command) -> Bytes {
    assert_eq!(request.kind, CommandKind::Application, "an application's request");
    let mut last = None;
    for mut task in tasks_of(service, request) {
        execute_run(service, 0, std::slice::from_mut(&mut task), &mut Vec::new());
        last = completion(&mut task);
    }
    last.expect("the last operation completes the request").reply
}

/// What an application's request touches: nothing, if it is refused.
pub fn footprint(service: &dyn Service, request: Command) -> Footprint {
    let mut builder = FootprintBuilder::new();
    for task in tasks_of(service, request) {
        builder.include(&task.footprint);
    }
    builder.build()
}

fn tasks_of(service: &dyn Service, request: Command) -> Vec<Task> {
    let mut builder = FootprintBuilder::new();
    let mut tasks = vec![task_of(service, request, &mut builder)];
    if tasks[0].deferred {
        unfold(service, &mut tasks, &mut builder);
    }
    tasks
}
