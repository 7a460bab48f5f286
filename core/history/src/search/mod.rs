//! The search for an order that explains a piece (Wing and Gong, 1993; with Lowe's memo, 2017).
//!
//! It goes forward in time: of the operations that were called before anything left returned, one is placed whose
//! reply the model gives in the state so far; then the next. Where none can be placed it goes back. Two things keep it small
//! besides the memo:
//!
//! - What changes nothing in any state and fits now is placed at once, without trying others instead: whatever order
//!   explains the rest has it at some later place, from where it may be moved here.
//! - Unknown outcomes are supposed to have taken effect as late as possible ([`chains`]).
//!
//! A search can be paused and goes on where it was.

mod aims;
mod calls;
mod chains;
mod foresight;
mod memo;
mod near;
mod problem;

pub(crate) use problem::Problem;

use crate::model::step;
use crate::record::OpId;
use crate::state::State;
use crate::switch::{Switch, broken};
use calls::Calls;
use chains::Chains;
use foresight::Foresight;
use memo::{Memo, Placed, Used};
use near::near;
use std::rc::Rc;

#[derive(Debug)]
pub(crate) struct Search<'p, 'h> {
    problem: &'p Problem<'h>,
    calls: Calls,
    placed: Placed,
    state: State,
    used: Used,
    memo: Memo,
    /// What is left to try at each configuration on the way to this one, and at this one.
    levels: Vec<Level>,
    steps: Vec<Step>,
    tried: u64,
    depth: Depth,
    foresight: Option<Foresight>,
    /// Whether there were longer chains than the depth allows.
    longer: Longer,
    furthest: Furthest,
    /// When the read returns for which the last move there was given up.
    needed_until: Option<u64>,
    /// The steps to the furthest configuration, where they are kept.
    kept: Option<Vec<Step>>,
}

/// How deep a search looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// No more than so many unknown operations in a row, and what comes later in time plays no part: where such a search is
    /// stuck, what came before explains why.
    Near { chain_max: usize },
    /// No more than so many unknown operations in a row, with foresight.
    Far { chain_max: usize },
    /// Everything, with foresight.
    Full,
    /// Everything, without it.
    FullNear,
}

/// Whether there were chains that the search was not allowed to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Longer {
    None,
    LeftOut,
}

/// How a search stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// There is an order.
    Explained,
    /// There is none, with chains of that length.
    Unexplained,
    /// The effort is spent; it can go on.
    Paused,
    /// It was told to stop.
    OutOfBudget,
    /// It can't go on.
    OutOfMemory,
}

/// The configuration from which no way leads on, and which comes last in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Furthest {
    /// The place in time of the first return that is not explained.
    at: usize,
    /// How many operations were placed.
    pub(crate) placed: usize,
    /// The operation that returned there.
    pub(crate) blocked: usize,
}

/// What is left to try at a configuration.
#[derive(Debug)]
struct Level {
    moves: std::vec::IntoIter<Move>,
    chains: Untried,
}

#[derive(Debug)]
enum Untried {
    Nothing,
    /// All before these operations.
    All(Vec<usize>),
    /// Those longer than these.
    Longer(Vec<Chains>),
}

/// An operation to place next, behind a chain of unknown ones.
#[derive(Debug)]
struct Move {
    op: usize,
    chain: Vec<usize>,
    state: State,
    used: Used,
}

/// A move that was made, and what it takes to unmake it.
#[derive(Clone, Debug)]
struct Step {
    op: usize,
    chain: Vec<usize>,
    state: State,
    used: Used,
    end: usize,
}

impl Depth {
    fn has_foresight(self) -> bool {
        matches!(self, Self::Far { .. } | Self::Full)
    }

    fn chain_max(self) -> usize {
        match self {
            Self::Near { chain_max } | Self::Far { chain_max } => chain_max,
            Self::Full | Self::FullNear => usize::MAX,
        }
    }

    /// True if there is a lesser depth that differs in the length of the chains alone.
    pub(crate) fn only_lengthens(self) -> bool {
        matches!(self, Self::Near { chain_max: 2.. } | Self::Far { chain_max: 2.. })
    }
}

impl<'p, 'h> Search<'p, 'h> {
    pub(crate) fn new(problem: &'p Problem<'h>, depth: Depth) -> Self {
        let mut search = Self {
            problem,
            calls: Calls::new(&problem.ops),
            placed: Placed::none_of(problem.ops.len()),
            state: problem.start.clone(),
            used: Rc::from(vec![0; problem.classes.len()]),
            memo: Memo::default(),
            levels: Vec::new(),
            steps: Vec::new(),
            tried: 0,
            depth,
            foresight: depth.has_foresight().then(|| Foresight::new(problem)),
            longer: Longer::None,
            furthest: Furthest::default(),
            needed_until: None,
            kept: None,
        };
        search.look_around();
        search
    }

    /// The same, and it keeps the order up to the furthest configuration. That takes time where there are many operations.
    pub(crate) fn that_keeps_the_furthest(problem: &'p Problem<'h>) -> Self {
        Self { kept: Some(Vec::new()), ..Self::new(problem, Depth::FullNear) }
    }

    /// Tries about `effort` configurations.
    pub(crate) fn run(&mut self, effort: u64, go_on: &mut dyn FnMut() -> bool) -> Outcome {
        let until = self.tried.saturating_add(effort);
        while !self.calls.is_empty() {
            let Some(level) = self.levels.last_mut() else { return Outcome::Unexplained };
            if let Some(next) = level.moves.next() {
                if self.tried >= until {
                    self.put_off(next);
                    return Outcome::Paused;
                }
                self.tried += 1;
                if !go_on() {
                    return Outcome::OutOfBudget;
                }
                if self.go(next) {
                    self.look_around();
                }
            } else if let Some(stop) = self.look_for_chains(go_on) {
                return stop;
            }
            if self.memo.bytes() > base::limits::CHECK_BYTES_MAX {
                return Outcome::OutOfMemory;
            }
        }
        Outcome::Explained
    }

    /// Where it is stuck, or was for the longest.
    pub(crate) fn furthest(&self) -> Furthest {
        self.furthest
    }

    /// When the read returns whose value could not be kept there, if that is why.
    pub(crate) fn needed_until(&self) -> Option<u64> {
        self.needed_until
    }

    /// Whether chains were left out that another search could try.
    pub(crate) fn longer(&self) -> Longer {
        self.longer
    }

    /// The order up to the furthest configuration, if it was kept, and the state there.
    pub(crate) fn furthest_order(&self) -> (Vec<OpId>, State) {
        let steps = self.kept.as_deref().unwrap_or_default();
        let state = steps.last().map_or_else(|| self.problem.start.clone(), |last| self.state_after(last));
        (self.order(steps), state)
    }

    /// The ids of what the steps placed, each unknown one being the earliest of its class that was left.
    fn order(&self, steps: &[Step]) -> Vec<OpId> {
        let mut used = vec![0; self.problem.classes.len()];
        let mut order = Vec::new();
        for step in steps {
            for class in &step.chain {
                order.push(self.problem.classes[*class].calls[used[*class]].1);
                used[*class] += 1;
            }
            order.push(self.problem.ops[step.op].id);
        }
        order
    }

    fn state_after(&self, last: &Step) -> State {
        let mut state = last.state.clone();
        for class in &last.chain {
            let class = &self.problem.classes[*class];
            state = step(&class.body, &state, class.reply).expect("it was carried out before");
        }
        let op = &self.problem.ops[last.op];
        step(&op.body, &state, Some(op.reply)).expect("it was carried out before")
    }

    /// Opens a level for the configuration that has been reached.
    fn look_around(&mut self) {
        let Some((blocked, at)) = self.calls.first_return() else { return };
        let here = Furthest { at, placed: self.steps.len(), blocked };
        if here > self.furthest {
            self.furthest = here;
            if let Some(kept) = &mut self.kept {
                kept.clone_from(&self.steps);
            }
        }
        let level = self.level();
        self.levels.push(level);
    }

    fn level(&self) -> Level {
        let mut moves = Vec::new();
        for op in self.calls.candidates() {
            let one = &self.problem.ops[op];
            let Some(state) = step(&one.body, &self.state, Some(one.reply)) else { continue };
            let at_once = one.changes_nothing && state == self.state || broken(Switch::Greed);
            let one = Move { op, chain: Vec::new(), state, used: self.used.clone() };
            if at_once {
                return Level { moves: vec![one].into_iter(), chains: Untried::Nothing };
            }
            moves.push(one);
        }
        let near = self.near();
        moves.retain(|one| near.contains(&one.op));
        moves.sort_by_key(|one| near.iter().position(|op| *op == one.op));
        let chains = if self.problem.classes.is_empty() { Untried::Nothing } else { Untried::All(near) };
        Level { moves: moves.into_iter(), chains }
    }

    /// The candidates that are worth trying.
    fn near(&self) -> Vec<usize> {
        let (blocked, _) = self.calls.first_return().expect("nothing is looked for when all is placed");
        let now_ns = self.problem.ops[blocked].return_ns;
        let tying = self.problem.tying.iter().copied();
        let left = |class: &usize| (self.used[*class] as usize) < self.problem.classes[*class].called_by(now_ns);
        near(self.problem, blocked, self.calls.candidates().collect(), &tying.filter(left).collect::<Vec<_>>())
    }

    /// Makes a move; false if it leads to where the search has been.
    fn go(&mut self, next: Move) -> bool {
        let Move { op, chain, state, used } = next;
        if !self.has_future(op, &chain, &state) {
            return false;
        }
        let end = self.placed.end();
        self.placed.put(op);
        if !self.memo.is_new(&self.placed, &state, &used) {
            self.placed.take_back(op, end);
            if let Some(foresight) = &mut self.foresight {
                foresight.take_back(op, &chain);
            }
            return false;
        }
        if self.problem.ops[op].grows || !chain.is_empty() {
            self.memo.charge(state.fresh_bytes(&self.state));
        }
        self.calls.take_out(op);
        let state = std::mem::replace(&mut self.state, state);
        let used = std::mem::replace(&mut self.used, used);
        self.steps.push(Step { op, chain, state, used, end });
        true
    }

    /// Counts an operation as placed; false, and it is not, if a value is lost by that which others still need.
    fn has_future(&mut self, op: usize, chain: &[usize], after: &State) -> bool {
        let Some(foresight) = &mut self.foresight else { return true };
        foresight.place(op, chain);
        let in_chain = chain.iter().flat_map(|class| &self.problem.classes[*class].keys);
        let keys = self.problem.ops[op].keys.iter().chain(in_chain).copied();
        let Some(lost) = foresight.lost(keys, &self.state, after) else { return true };
        if self.steps.len() >= self.furthest.placed {
            self.needed_until = foresight.needed_until(lost, self.problem, &self.placed);
        }
        foresight.take_back(op, chain);
        false
    }

    /// Leaves the configuration, in which nothing is left to try.
    fn go_back(&mut self) {
        self.levels.pop();
        if let Some(Step { op, chain, state, used, end }) = self.steps.pop() {
            if let Some(foresight) = &mut self.foresight {
                foresight.take_back(op, &chain);
            }
            self.calls.put_back(op);
            self.placed.take_back(op, end);
            self.state = state;
            self.used = used;
        }
    }

    /// A move that was taken from the level is the first there again.
    fn put_off(&mut self, next: Move) {
        let level = self.levels.last_mut().expect("a move comes from a level");
        let rest = std::mem::take(&mut level.moves);
        level.moves = std::iter::once(next).chain(rest).collect::<Vec<_>>().into_iter();
    }

    /// Finds moves behind longer chains of unknown outcomes, or goes back if there are none.
    fn look_for_chains(&mut self, go_on: &mut dyn FnMut() -> bool) -> Option<Outcome> {
        let level = self.levels.last_mut().expect("the caller has looked at it");
        let mut all = match std::mem::replace(&mut level.chains, Untried::Nothing) {
            Untried::Nothing => {
                self.go_back();
                return None;
            }
            Untried::All(near) => self.chains(&near),
            Untried::Longer(chains) => chains,
        };
        if all.iter().any(|chains| chains.length() >= self.depth.chain_max()) {
            self.longer = Longer::LeftOut;
            self.go_back();
            return None;
        }
        let mut moves = Vec::new();
        for chains in &mut all {
            let at = chains.op;
            let op = &self.problem.ops[at];
            for end in chains.lengthen(self.problem) {
                self.tried += 1;
                if !go_on() {
                    return Some(Outcome::OutOfBudget);
                }
                if let Some(state) = step(&op.body, &end.state, Some(op.reply)) {
                    moves.push(Move { op: at, chain: end.chain.clone(), state, used: end.used.clone() });
                }
            }
            if chains.bytes() > base::limits::CHECK_BYTES_MAX / 8 {
                return Some(Outcome::OutOfMemory);
            }
        }
        all.retain(|chains| !chains.is_done());
        let level = self.levels.last_mut().expect("it is still there");
        level.moves = moves.into_iter();
        level.chains = if all.is_empty() { Untried::Nothing } else { Untried::Longer(all) };
        None
    }

    fn chains(&self, near: &[usize]) -> Vec<Chains> {
        let (blocked, _) = self.calls.first_return().expect("nothing is looked for when all is placed");
        let now_ns = self.problem.ops[blocked].return_ns;
        let chains = near.iter().map(|op| Chains::new(self.problem, *op, &self.state, &self.used, now_ns));
        chains.filter(|chains| !chains.is_done()).collect()
    }
}
