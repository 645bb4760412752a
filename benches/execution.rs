//! Parallel execution: what a command costs in the schedulers, and in the executor with workers.
//!
//! `cargo bench --bench execution` prints, in this order: what scheduling alone costs with few and many commands pending;
//! what a graph costs beside it; what the executor's hand-off costs beside an empty one; and the list of the papers, for
//! every scheduler. Each figure is the least of several rounds, for the machine may be busy with other things; figures that
//! are compared are measured in turns. Give one of the words `scheduling`, `hand-off`, `list` to see a part.
//!
//! With `-- instructions SCHEDULER N` it runs N single-key commands through a scheduler and nothing else, with
//! `instructions extract N` it only finds their footprints: `benches/execution/instructions.sh` counts what they take.

#[path = "execution/hand_off.rs"]
mod hand_off;
#[path = "execution/list.rs"]
mod list;
#[path = "execution/scheduling.rs"]
mod scheduling;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "instructions") {
        let commands = arguments[place + 2].parse().expect("a number of commands");
        scheduling::run_only(&arguments[place + 1], commands);
        return;
    }
    if arguments.iter().any(|argument| argument == "--test" || argument == "--list") {
        return;
    }
    let parts = ["scheduling", "hand-off", "list"];
    let chosen: Vec<_> = arguments.iter().filter(|argument| parts.contains(&argument.as_str())).collect();
    let wanted = |part: &str| chosen.is_empty() || chosen.iter().any(|chosen| *chosen == part);
    println!("cores: {}", std::thread::available_parallelism().map_or(0, std::num::NonZero::get));
    if wanted("scheduling") {
        scheduling::report();
    }
    if wanted("hand-off") {
        hand_off::report();
    }
    if wanted("list") {
        list::report();
    }
}
