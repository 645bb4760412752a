//! Local states by number, and what follows on each.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use pssmr_types::ReplicaId;

use super::Setting;
use super::local::{Action, Burst, Common, Local, NONE};
use super::network::{Messages, Network};

/// A local state's number.
pub(super) type Number = u32;

/// All local states that were reached.
#[derive(Debug)]
pub(super) struct Store {
    common: Common,
    pub(super) network: Network,
    locals: Vec<Local>,
    numbers: HashMap<(u8, u64), Number, FixedState>,
    steps: HashMap<(Number, Action), Number, FixedState>,
    /// What a local state leads to, if these messages can arrive; by their hash, since they are many.
    successors: HashMap<(Number, u64), Vec<(Action, Number)>, FixedState>,
    pub(super) steps_taken: u64,
}

impl Store {
    pub(super) fn new(setting: Setting) -> Self {
        Self {
            common: Common::new(setting),
            network: Network::new(setting.replicas),
            locals: Vec::new(),
            numbers: HashMap::default(),
            steps: HashMap::default(),
            successors: HashMap::default(),
            steps_taken: 0,
        }
    }

    /// The nodes at the beginning: the replicas, and the Byzantine one's other self at last.
    pub(super) fn boot(&mut self) -> Vec<Number> {
        let setting = self.common.setting;
        let mut nodes: Vec<_> = (0..setting.replicas as u16).map(|id| (ReplicaId(id), false)).collect();
        nodes.extend(setting.byzantine.map(|id| (ReplicaId(id), true)));
        let boot = |(id, reversed)| self.common.boot(id, reversed, &mut self.network);
        let locals: Vec<_> = nodes.into_iter().map(boot).collect();
        (0..).zip(locals).map(|(node, local)| self.add(node, local)).collect()
    }

    fn add(&mut self, node: u8, local: Local) -> Number {
        let next = self.locals.len() as Number;
        let number = *self.numbers.entry((node, local.fingerprint())).or_insert(next);
        if number == next {
            self.locals.push(local);
        }
        number
    }

    pub(super) fn local(&self, number: Number) -> &Local {
        &self.locals[number as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.locals.len()
    }

    fn step(&mut self, node: u8, from: Number, action: Action) -> Number {
        if let Some(known) = self.steps.get(&(from, action)) {
            return *known;
        }
        self.steps_taken += 1;
        let next = self.common.act(&self.locals[from as usize], action, &mut self.network);
        let number = next.map_or(from, |next| self.add(node, next));
        self.steps.insert((from, action), number);
        number
    }

    /// What a node's state leads to when `available` is on the network.
    pub(super) fn successors(&mut self, node: u8, from: Number, available: &Messages) -> &[(Action, Number)] {
        let inbox = available.intersection(self.network.inbox(self.local(from).id));
        let key = (from, FixedState::default().hash_one(inbox));
        if !self.successors.contains_key(&key) {
            let found = self.find_successors(node, from, &inbox);
            self.successors.insert(key, found);
        }
        &self.successors[&key]
    }

    fn find_successors(&mut self, node: u8, from: Number, inbox: &Messages) -> Vec<(Action, Number)> {
        let mut found = Vec::new();
        for action in [Action::Timeout, Action::Crash] {
            let next = self.step(node, from, action);
            if action == Action::Crash && next != from || self.is_visible(from, next) {
                found.push((action, next));
            }
        }
        // Messages that change the node's state, but not so that others could tell.
        let mut quiet: Vec<u16> = Vec::new();
        for message in inbox.iter() {
            let burst = [message, NONE, NONE, NONE];
            let next = self.step(node, from, Action::Burst(burst));
            if self.is_visible(from, next) {
                self.add_burst(node, from, burst, &mut found);
            } else if next != from {
                quiet.push(message);
            }
        }
        let mut pairs = Vec::new();
        for (place, first) in quiet.iter().enumerate() {
            for second in &quiet[place + 1..] {
                let burst = [*first, *second, NONE, NONE];
                if self.add_burst(node, from, burst, &mut found) {
                    continue;
                }
                pairs.push((*first, *second));
            }
        }
        for (first, second) in &pairs {
            for third in quiet.iter().filter(|third| *third > second) {
                // Every pair of the three is quiet.
                if pairs.binary_search(&(*first, *third)).is_ok() && pairs.binary_search(&(*second, *third)).is_ok() {
                    self.add_burst(node, from, [*first, *second, *third, NONE], &mut found);
                }
            }
        }
        found
    }

    fn is_visible(&self, from: Number, next: Number) -> bool {
        next != from && self.local(next).differs_visibly(self.local(from))
    }

    /// Adds what a burst leads to, if others could tell; and a crash in the middle of it.
    fn add_burst(&mut self, node: u8, from: Number, burst: Burst, found: &mut Vec<(Action, Number)>) -> bool {
        let next = self.step(node, from, Action::Burst(burst));
        if !self.is_visible(from, next) {
            return false;
        }
        found.push((Action::Burst(burst), next));
        let crashed = self.step(node, from, Action::CrashIn(burst));
        if crashed != from {
            found.push((Action::CrashIn(burst), crashed));
        }
        true
    }
}
