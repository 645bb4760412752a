//! One random run of the model.

use pssmr_ordering::choice::{Base, choose_with};
use pssmr_types::{Quorums, StopData};

use super::chains::{Chain, Chains};
use super::replica::Replica;
use super::{Behaviour, Setting, Summary, Violation, liar};
use crate::random::Random;

const WRITE: usize = 0;
const LOCK: usize = 1;
const DECIDE: usize = 2;
const CATCH_UP: usize = 3;
const LEAVE: usize = 4;

/// What differs from run to run.
struct Draw {
    views: u64,
    window: u64,
    steps: u64,
    /// How likely each kind of step is.
    weights: [u64; 6],
    /// Replicas that seldom do a step.
    slow: Vec<bool>,
    /// How often a faulty leader sends different proposals to different replicas, of 8.
    branching: u64,
}

impl Draw {
    fn new(random: &mut Random, correct: usize) -> Self {
        let mut weights = [0; 6];
        for weight in &mut weights {
            *weight = random.between(1, 8);
        }
        weights[WRITE] += random.between(2, 12);
        weights[LOCK] += random.between(2, 12);
        weights[LEAVE] = random.between(1, 4);
        let slow_too = random.chance(1, 2);
        Self {
            views: random.between(3, 7),
            window: random.between(1, 4),
            steps: random.between(60, 200),
            weights,
            slow: (0..correct).map(|_| slow_too && random.chance(1, 3)).collect(),
            branching: random.below(5),
        }
    }
}

pub(super) struct World<'a> {
    setting: &'a Setting,
    quorums: Quorums,
    chains: &'a mut Chains,
    random: Random,
    draw: Draw,
    replicas: Vec<Replica>,
    /// All chains that were ever on a correct replica's way.
    proposed: Vec<Chain>,
    /// Chains that quorums accepted, and in which view.
    decisions: Vec<(u64, Chain)>,
    /// Bases that the choice allowed, and in which view.
    bases: Vec<(u64, Chain)>,
    /// With crash faults only: by view, the base and then the chain of its one honest leader.
    leaders: Vec<Option<(Chain, Chain)>>,
    summary: Summary,
}

/// How many times a faulty leader tries another set of states, in one step.
const TRIES: usize = 6;

impl<'a> World<'a> {
    pub(super) fn new(setting: &'a Setting, seed: u64, chains: &'a mut Chains) -> Self {
        let quorums = setting.quorums();
        let mut random = Random::new(seed);
        let correct = quorums.replicas() - liars(&quorums);
        let draw = Draw::new(&mut random, correct);
        let turns = setting.behaviour == Behaviour::VotesOnAnotherChain;
        let replicas = (0..correct as u16).map(|id| Replica { turns, ..Replica::new(id, draw.views) }).collect();
        let mut leaders = vec![None; draw.views as usize];
        leaders[0] = Some((Chains::EMPTY, Chains::EMPTY));
        Self {
            setting,
            quorums,
            chains,
            random,
            draw,
            replicas,
            proposed: vec![Chains::EMPTY],
            decisions: Vec::new(),
            bases: Vec::new(),
            leaders,
            summary: Summary::default(),
        }
    }

    pub(super) fn run(mut self) -> Result<Summary, Violation> {
        let total: u64 = self.draw.weights.iter().sum();
        for _ in 0..self.draw.steps {
            let i = self.random.index(self.replicas.len());
            if self.draw.slow[i] && self.random.chance(3, 4) {
                continue;
            }
            let mut ticket = self.random.below(total);
            let mut kind = 0;
            while ticket >= self.draw.weights[kind] {
                ticket -= self.draw.weights[kind];
                kind += 1;
            }
            match kind {
                WRITE => self.write(i)?,
                LOCK => self.lock(i)?,
                DECIDE => self.decide(i),
                CATCH_UP => self.catch_up(i),
                LEAVE => self.leave(i),
                _ => self.new_view(i)?,
            }
        }
        let longest = self.decisions.iter().map(|(_, chain)| self.chains.slot(*chain)).max().unwrap_or(0);
        self.summary.decided = longest;
        Ok(self.summary)
    }

    fn byzantine(&self) -> bool {
        self.quorums.has_write_phase()
    }

    /// Votes that a chain needs from the correct replicas: the liars always help.
    fn needed(&self) -> usize {
        self.quorums.quorum() - liars(&self.quorums)
    }

    /// Replica `i` gets the next proposal of its view and votes for it.
    fn write(&mut self, i: usize) -> Result<(), Violation> {
        let replica = &self.replicas[i];
        let head = replica.head;
        let full = self.chains.slot(head) >= self.chains.slot(replica.decided) + self.draw.window;
        if replica.base.is_none() || replica.barred || full {
            return Ok(());
        }
        let next = if self.byzantine() { Some(self.proposal_of_a_liar(i)) } else { self.proposal_of_the_leader(i) };
        let Some(next) = next else { return Ok(()) };
        if !self.proposed.contains(&next) {
            self.proposed.push(next);
        }
        self.replicas[i].write(self.chains, next);
        if self.byzantine() {
            return Ok(());
        }
        self.replicas[i].lock(self.chains, next);
        self.count_accepts(i, self.replicas[i].view)
    }

    /// A new batch, or one that the slot had in another chain of the past: a batch kept over a view change keeps its
    /// digest.
    fn proposal_of_a_liar(&mut self, i: usize) -> Chain {
        let (view, head) = (self.replicas[i].view, self.replicas[i].head);
        if self.random.chance(1, 4) {
            let slot = self.chains.slot(head) + 1;
            let again: Vec<Chain> = self
                .proposed
                .iter()
                .copied()
                .filter(|chain| self.chains.slot(*chain) == slot && self.chains.extends(*chain, head))
                .collect();
            if !again.is_empty() {
                return *self.random.pick(&again);
            }
        }
        let branch = u16::from(self.random.chance(self.draw.branching, 8));
        self.chains.extend(head, view as u16 * 10 + branch)
    }

    fn proposal_of_the_leader(&mut self, i: usize) -> Option<Chain> {
        let (view, head) = (self.replicas[i].view, self.replicas[i].head);
        let (base, end) = self.leaders[view as usize].expect("a replica got its base from the leader");
        if self.chains.slot(end) > self.chains.slot(head) {
            return Some(self.chains.up_to(end, self.chains.slot(head) + 1));
        }
        if end != head {
            return None;
        }
        let next = self.chains.extend(head, view as u16 * 10);
        self.leaders[view as usize] = Some((base, next));
        Some(next)
    }

    /// Replica `i` sees WRITE quorums on its chain, not necessarily all there are, and accepts.
    fn lock(&mut self, i: usize) -> Result<(), Violation> {
        let replica = &self.replicas[i];
        let Some(base) = replica.base else { return Ok(()) };
        if !self.byzantine() || replica.barred {
            return Ok(());
        }
        let (view, head) = (replica.view, replica.head);
        let ours = replica.writes[view as usize];
        let (low, high) = (self.chains.slot(base), self.chains.slot(head));
        let below = self.setting.behaviour == Behaviour::CountsBelowTheBase;
        let any_view = self.setting.behaviour == Behaviour::CountsWritesOfAnyView;
        let supported: Vec<Chain> = (low + 1..=high)
            .map(|slot| self.chains.up_to(head, slot))
            .filter(|chain| {
                let writes = |replica: &Replica| {
                    replica.writes.iter().enumerate().any(|(of_view, voted)| {
                        (any_view || of_view as u64 == view)
                            && voted.is_some_and(|voted| {
                                voted.is_for(self.chains, *chain) || below && self.chains.extends(voted.chain, *chain)
                            })
                    })
                };
                self.replicas.iter().filter(|replica| writes(replica)).count() >= self.needed()
            })
            .collect();
        if supported.is_empty() || ours.is_none() {
            return Ok(());
        }
        let chain = *self.random.pick(&supported);
        if self.replicas[i].lock(self.chains, chain) {
            self.count_accepts(i, view)?;
        }
        Ok(())
    }

    /// Replica `i` has voted to accept: whether that decides something.
    fn count_accepts(&mut self, i: usize, view: u64) -> Result<(), Violation> {
        let voted = self.replicas[i].accepts[view as usize].expect("it has just voted");
        for slot in (voted.base + 1..=self.chains.slot(voted.chain)).rev() {
            let chain = self.chains.up_to(voted.chain, slot);
            if self.is_decided(view, chain) {
                return self.record_decision(view, chain);
            }
        }
        Ok(())
    }

    fn is_decided(&self, view: u64, chain: Chain) -> bool {
        let any_view = self.setting.behaviour == Behaviour::CountsAcceptsOfAnyView;
        let accepts = |replica: &Replica| {
            replica.accepts.iter().enumerate().any(|(of_view, voted)| {
                (any_view || of_view as u64 == view) && voted.is_some_and(|voted| voted.is_for(self.chains, chain))
            })
        };
        self.replicas.iter().filter(|replica| accepts(replica)).count() >= self.needed()
    }

    fn record_decision(&mut self, view: u64, chain: Chain) -> Result<(), Violation> {
        if self.decisions.contains(&(view, chain)) {
            return Ok(());
        }
        for (other_view, other) in &self.decisions {
            if !self.chains.extends(*other, chain) && !self.chains.extends(chain, *other) {
                let show = |chain| self.chains.show(chain);
                let text = format!("{} in v{view} and {} in v{other_view}", show(chain), show(*other));
                return Err(Violation::Disagreement(text));
            }
        }
        self.decisions.push((view, chain));
        self.bases.iter().try_for_each(|base| self.check_base(*base, (view, chain)))
    }

    fn check_base(&self, base: (u64, Chain), decision: (u64, Chain)) -> Result<(), Violation> {
        if base.0 <= decision.0 || self.chains.extends(base.1, decision.1) {
            return Ok(());
        }
        Err(Violation::DecisionLost(format!(
            "base {} of v{} cuts off {}, decided in v{}",
            self.chains.show(base.1),
            base.0,
            self.chains.show(decision.1),
            decision.0
        )))
    }

    /// Replica `i` sees ACCEPT quorums on its chain, not necessarily all there are.
    fn decide(&mut self, i: usize) {
        let replica = &self.replicas[i];
        if replica.base.is_none() || replica.barred {
            return;
        }
        let (view, head) = (replica.view, replica.head);
        let (low, high) = (self.chains.slot(replica.decided), self.chains.slot(head));
        let decided: Vec<Chain> = self
            .decisions
            .iter()
            .filter(|(in_view, _)| *in_view == view)
            .flat_map(|(_, chain)| {
                (low + 1..=high.min(self.chains.slot(*chain))).map(|slot| self.chains.up_to(*chain, slot))
            })
            .filter(|chain| self.chains.extends(head, *chain))
            .collect();
        if !decided.is_empty() {
            let chain = *self.random.pick(&decided);
            self.replicas[i].decide(self.chains, chain, true);
        }
    }

    /// Replica `i` is told by others what they decided.
    fn catch_up(&mut self, i: usize) {
        let low = self.chains.slot(self.replicas[i].decided);
        let ahead: Vec<Chain> =
            self.replicas.iter().map(|other| other.decided).filter(|chain| self.chains.slot(*chain) > low).collect();
        if ahead.is_empty() {
            return;
        }
        let end = *self.random.pick(&ahead);
        let slot = self.random.between(low + 1, self.chains.slot(end));
        let chain = self.chains.up_to(end, slot);
        let drops = self.setting.behaviour == Behaviour::DropsEntriesWhenCatchingUp;
        self.replicas[i].decide(self.chains, chain, drops);
        self.summary.caught_up += 1;
    }

    /// Replica `i` gives up its view.
    fn leave(&mut self, i: usize) {
        let step = if self.random.chance(1, 6) { 2 } else { 1 };
        let left = self.replicas[i].view;
        let view = left + step;
        if view >= self.draw.views {
            return;
        }
        if self.setting.behaviour == Behaviour::TrimsUndecided {
            for written in &mut self.replicas[i].writeset {
                written.first = written.last();
                written.digests.drain(..written.digests.len() - 1);
            }
        }
        self.replicas[i].leave(self.chains, view);
        if self.setting.behaviour == Behaviour::AcceptsAfterLeaving {
            self.accept_what_was_left(i, left);
        }
    }

    /// The seeded fault: an ACCEPT of a view that was left, for what was written there.
    fn accept_what_was_left(&mut self, i: usize, view: u64) {
        let written = self.replicas[i].writes[view as usize];
        if let Some(voted) = written
            && self
                .replicas
                .iter()
                .filter(|other| other.writes[view as usize].is_some_and(|vote| vote.is_for(self.chains, voted.chain)))
                .count()
                >= self.needed()
        {
            self.replicas[i].accepts[view as usize] = Some(voted);
        }
    }

    /// Replica `i` gets a SYNC: some set of states, from which it takes the base.
    fn new_view(&mut self, i: usize) -> Result<(), Violation> {
        let view = self.replicas[i].view;
        if self.replicas[i].base.is_some() {
            return Ok(());
        }
        if !self.byzantine()
            && let Some((base, _)) = self.leaders[view as usize]
        {
            self.replicas[i].adopt(self.chains, base);
            return Ok(());
        }
        self.check_that_enough_states_determine_a_base(view)?;
        let mut allowed = Vec::new();
        for _ in 0..TRIES {
            let states = self.some_states(view);
            if let Some(base) = self.choose(view, &states)? {
                allowed.push(base);
            }
        }
        if allowed.is_empty() {
            return Ok(());
        }
        let base = *self.random.pick(&allowed);
        self.leaders[view as usize] = Some((base, base));
        self.replicas[i].adopt(self.chains, base);
        self.summary.views += 1;
        Ok(())
    }

    /// What `states` determine, checked against all decisions of the views before.
    fn choose(&mut self, view: u64, states: &[StopData]) -> Result<Option<Chain>, Violation> {
        self.summary.choices += 1;
        let chosen = choose_with(&self.quorums, states, self.setting.mutation);
        let base = match chosen {
            None => {
                self.summary.undetermined += 1;
                return Ok(None);
            }
            Some(_) if states.len() < self.quorums.quorum() => {
                return Err(Violation::TooFewStates(format!("{} of them determine {chosen:?}", states.len())));
            }
            Some(Base::Genesis) => Chains::EMPTY,
            Some(Base::Chain { slot, digest }) => match self.chains.with_digest(digest) {
                Some(chain) if self.chains.slot(chain) == slot.0 && self.proposed.contains(&chain) => chain,
                _ => return Err(Violation::Forged(format!("base {slot} {digest} was never proposed there"))),
            },
        };
        for decision in &self.decisions {
            self.check_base((view, base), *decision)?;
        }
        if !self.bases.contains(&(view, base)) {
            self.bases.push((view, base));
        }
        Ok(Some(base))
    }

    /// Some of the states that correct replicas froze for `view`, and with them what liars say.
    fn some_states(&mut self, view: u64) -> Vec<StopData> {
        let mut states: Vec<StopData> =
            self.replicas.iter().filter_map(|replica| replica.frozen[view as usize].clone()).collect();
        self.random.shuffle(&mut states);
        let least = self.needed().min(states.len());
        states.truncate(self.random.between(least as u64, states.len() as u64) as usize);
        let aim = *self.random.pick(&self.proposed);
        let known = self.known_to_liars();
        let room = liars(&self.quorums);
        let silent = if self.random.chance(1, 8) { self.random.index(room + 1) } else { 0 };
        for liar in 0..room - silent {
            let id = (self.replicas.len() + liar) as u16;
            states.push(liar::state(&mut self.random, self.chains, id, view, aim, &known));
        }
        states
    }

    /// The chains that were proposed, and one that only a liar knows.
    fn known_to_liars(&mut self) -> Vec<Chain> {
        let mut known = self.proposed.clone();
        let on = *self.random.pick(&self.proposed);
        known.push(self.chains.extend(on, 99));
        known
    }

    /// With the states of all correct replicas the choice must be determined, whatever liars add. Except where the view,
    /// or a later one, has decided something already: a replica that knows of it has trimmed its entries, but then the
    /// others have gone on without its state.
    fn check_that_enough_states_determine_a_base(&mut self, view: u64) -> Result<(), Violation> {
        let mut states: Vec<StopData> =
            self.replicas.iter().filter_map(|replica| replica.frozen[view as usize].clone()).collect();
        let too_late = self.decisions.iter().any(|(decided_in, _)| *decided_in >= view);
        if states.len() < self.quorums.replicas() - self.quorums.faults() || too_late {
            return Ok(());
        }
        self.summary.complete += 1;
        for more in 0..=liars(&self.quorums) {
            if more > 0 {
                let known = self.known_to_liars();
                let aim = *self.random.pick(&known);
                let id = (self.replicas.len() + more - 1) as u16;
                states.push(liar::state(&mut self.random, self.chains, id, view, aim, &known));
            }
            if self.choose(view, &states)?.is_none() {
                return Err(Violation::Undetermined(format!("v{view}, {more} liars, {states:?}")));
            }
        }
        Ok(())
    }
}

/// Byzantine replicas: as many as there may be. Crashed ones are not told from slow ones.
fn liars(quorums: &Quorums) -> usize {
    if quorums.has_write_phase() { quorums.faults() } else { 0 }
}
