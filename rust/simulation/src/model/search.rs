//! The search through the states of the cluster.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use pssmr_types::Digest;

use super::local::{Action, NONE};
use super::network::Messages;
use super::store::{Number, Store};
use super::{Order, Setting, Summary, Violation};
use crate::random::Random;

const NODES_MAX: usize = 5;

/// A state of the cluster.
type State = [Number; NODES_MAX];

struct Search {
    setting: Setting,
    store: Store,
    nodes: usize,
    /// By state, its number.
    known: HashMap<State, u32, FixedState>,
    states: Vec<State>,
    /// By state's number, that of the one it was reached from, and the way from the beginning.
    parents: Vec<(u32, u32)>,
    summary: Summary,
    /// Which node's next state is which: what is being looked at.
    next: Vec<(usize, Number)>,
}

/// Searches the states of `setting`, at most `states_max` of them.
///
/// # Errors
/// The first [`Violation`].
pub fn check(setting: Setting, order: Order, states_max: u64) -> Result<Summary, Violation> {
    let mut store = Store::new(setting);
    let numbers = store.boot();
    let mut first = [0; NODES_MAX];
    first[..numbers.len()].copy_from_slice(&numbers);
    let mut search = Search {
        setting,
        store,
        nodes: numbers.len(),
        known: [(first, 0)].into_iter().collect(),
        states: vec![first],
        parents: vec![(0, 0)],
        summary: Summary { states: 1, ..Summary::default() },
        next: Vec::new(),
    };
    search.run(order, states_max)
}

impl Search {
    fn run(&mut self, order: Order, states_max: u64) -> Result<Summary, Violation> {
        match order {
            Order::Breadth => self.search_all(states_max),
            Order::Walks { seed } => self.walk(&mut Random::new(seed), states_max),
        }
    }

    fn search_all(&mut self, states_max: u64) -> Result<Summary, Violation> {
        let mut next = Vec::new();
        // States have their numbers in the order in which they were found.
        for number in 0.. {
            if number as usize == self.states.len() {
                return Ok(self.finish(true));
            }
            if self.summary.states >= states_max {
                break;
            }
            self.expand(number, &mut next)?;
        }
        Ok(self.finish(false))
    }

    fn walk(&mut self, random: &mut Random, states_max: u64) -> Result<Summary, Violation> {
        let (mut at, mut next) = (0, Vec::new());
        while self.summary.states < states_max {
            self.expand(at, &mut next)?;
            if next.is_empty() {
                if at == 0 {
                    return Ok(self.finish(true));
                }
                at = 0;
            } else {
                at = *random.pick(&next);
            }
        }
        Ok(self.finish(false))
    }

    /// Finds the states that follow on this one.
    fn expand(&mut self, number: u32, found: &mut Vec<u32>) -> Result<(), Violation> {
        found.clear();
        let state = self.states[number as usize];
        for node in 0..self.nodes {
            let available = self.available(&state, node);
            for (_, local) in self.store.successors(node as u8, state[node], &available) {
                self.next.push((node, *local));
            }
        }
        for (node, local) in std::mem::take(&mut self.next) {
            self.summary.transitions += 1;
            let mut next = state;
            next[node] = local;
            let fresh = self.states.len() as u32;
            let known = *self.known.entry(next).or_insert(fresh);
            found.push(known);
            if known != fresh {
                continue;
            }
            self.states.push(next);
            let depth = self.parents[number as usize].1 + 1;
            self.parents.push((number, depth));
            self.summary.states += 1;
            self.summary.depth = self.summary.depth.max(u64::from(depth));
            if let Err(what) = self.judge(&next) {
                return Err(Violation { what, trace: self.trace(fresh) });
            }
        }
        Ok(())
    }

    /// What any other node has sent.
    fn available(&self, state: &State, node: usize) -> Messages {
        let others = (0..self.nodes).filter(|other| *other != node);
        others.fold(Messages::default(), |all, other| all.union(&self.store.local(state[other]).sent))
    }

    fn is_correct(&self, number: Number) -> bool {
        self.setting.byzantine.is_none_or(|liar| self.store.local(number).id.0 != liar)
    }

    fn judge(&mut self, state: &State) -> Result<(), String> {
        let correct = || state[..self.nodes].iter().filter(|number| self.is_correct(**number));
        let mut longest: &[Digest] = &[];
        for number in correct() {
            let local = self.store.local(*number);
            if let Some(wrong) = &local.wrong {
                return Err(wrong.clone());
            }
            let (shorter, longer) = if local.decided.len() < longest.len() {
                (&local.decided[..], longest)
            } else {
                (longest, &local.decided[..])
            };
            if !longer.starts_with(shorter) {
                return Err(format!("{} decides something else than another one", local.id));
            }
            longest = longer;
        }
        let has_all = longest.len() as u64 >= self.setting.slots;
        let active = correct().map(|number| &self.store.local(*number).core).filter(|core| core.is_active());
        let view = active.map(|core| core.view().0).max();
        self.summary.decided += u64::from(has_all);
        if let Some(count) = view.and_then(|view| self.summary.views.get_mut(view as usize)) {
            *count += 1;
        }
        Ok(())
    }

    /// The steps from the beginning to a state.
    fn trace(&mut self, to: u32) -> Vec<String> {
        let mut steps = Vec::new();
        let mut at = to;
        while at != 0 {
            let (before, after) = (self.parents[at as usize].0, self.states[at as usize]);
            let state: State = self.states[before as usize];
            let node = (0..self.nodes).find(|node| state[*node] != after[*node]).expect("a step changes one node");
            let available = self.available(&state, node);
            let successors = self.store.successors(node as u8, state[node], &available).to_vec();
            let action = successors.iter().find(|(_, next)| *next == after[node]).expect("it was found before").0;
            steps.push(self.describe(node, action, after[node]));
            at = before;
        }
        steps.reverse();
        steps
    }

    fn describe(&self, node: usize, action: Action, after: Number) -> String {
        let local = self.store.local(after);
        let name = if node < self.setting.replicas { local.id.to_string() } else { format!("{}'", local.id) };
        let doing = match action {
            Action::Timeout => "waited long enough".to_owned(),
            Action::Crash => "crashes and comes back".to_owned(),
            Action::Burst(burst) => format!("takes {}", self.describe_burst(burst)),
            Action::CrashIn(burst) => format!("crashes while it takes {}", self.describe_burst(burst)),
        };
        let core = &local.core;
        let active = if core.is_active() { "" } else { " (no base)" };
        format!("{name} {doing}: {}{active}, head {}, decided {}", core.view(), core.head(), core.decided())
    }

    fn describe_burst(&self, burst: [u16; 4]) -> String {
        let messages = burst.iter().filter(|number| **number != NONE).map(|number| {
            let sent = self.store.network.message(*number);
            format!("{} of {}", pssmr_recording::describe::message(&sent.message), sent.from)
        });
        messages.collect::<Vec<_>>().join(" and ")
    }

    fn finish(&self, is_complete: bool) -> Summary {
        Summary {
            local_states: self.store.len() as u64,
            steps: self.store.steps_taken,
            messages: self.store.network.len() as u64,
            is_complete,
            ..self.summary
        }
    }
}
