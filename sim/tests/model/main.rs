//! The Raft core under a model checker (stateright): every order of messages, syncs, crashes and timers, up to bounds.
//!
//! The states are those of the real [`consensus::raft::Group`]s with their disks and their network, not of a model of them.
//! Each of [`scenes`] lets in one kind of trouble and is searched to its end: [`raft`] says what may happen in a state,
//! [`rules`] what must hold behind it. `MODEL=long cargo test --profile sim -p sim --test model -- --nocapture` searches
//! further than a test run has time for, `SCENE=leases` one scene alone. With the feature `mutations` each rule of the
//! protocol is broken in turn, and some scene must notice.

mod raft;
mod replica;
mod rules;
mod scenes;
mod state;

use base::mutation::Mutation;
use raft::{Action, Raft};
use scenes::{Scene, Tier, scenes};
use state::State;
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::time::Instant;

const RULES: &str = "no rule is broken";

impl Model for Raft {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.opening()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.allowed(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        Some(self.act(last, &action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(RULES, |_, state: &State| state.broken.is_none()),
            Property::sometimes("a leader is elected", |_, state: &State| state.ledger.has_leader()),
            Property::sometimes("an entry commits", |_, state: &State| state.ledger.has_committed()),
        ]
    }
}

/// What a search came to.
struct Outcome {
    states: usize,
    depth: usize,
    /// The rule that broke first, and the steps that led there.
    broken: Option<(String, Vec<Action>)>,
    missing: Vec<&'static str>,
}

fn search(scene: Scene, mutation: Option<Mutation>) -> Outcome {
    let model = Raft { scene, mutation };
    let wanted: Vec<&'static str> =
        model.properties().iter().map(|property| property.name).filter(|name| *name != RULES).collect();
    let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let broken = checker.discovery(RULES).map(|path| {
        let what = path.last_state().broken.as_deref().unwrap_or_default().to_owned();
        (what, path.into_actions())
    });
    let missing = wanted.into_iter().filter(|name| checker.discovery(name).is_none()).collect();
    Outcome { states: checker.unique_state_count(), depth: checker.max_depth(), broken, missing }
}

/// The scenes to be searched, as the environment asks.
fn asked() -> Vec<Scene> {
    let tier = match std::env::var("MODEL").as_deref() {
        Ok("long") => Tier::Long,
        Ok(other) => panic!("MODEL may be 'long', not '{other}'"),
        Err(_) => Tier::Short,
    };
    let only = std::env::var("SCENE").unwrap_or_default();
    let found: Vec<Scene> = scenes(tier).into_iter().filter(|scene| scene.name.contains(&only)).collect();
    assert!(!found.is_empty(), "SCENE={only} names none");
    found
}

#[test]
fn rules_hold_in_every_scene() {
    for scene in asked() {
        let (begun, name) = (Instant::now(), scene.name);
        let Outcome { states, depth, broken, missing } = search(scene, None);
        println!("{name:<20} {states:>10} states, depth {depth:>3}, {:>8.1} s", begun.elapsed().as_secs_f64());
        if let Some((what, steps)) = broken {
            let told: Vec<String> = steps.iter().map(|step| format!("{step:?}")).collect();
            panic!("{name}: {what}\n  {}", told.join("\n  "));
        }
        assert!(missing.is_empty(), "{name}: nothing happens: {missing:?}");
    }
}

/// Rules of the protocol, and the scene in which each is missed at once. What is not here the simulator breaks around the
/// core, or, like entries that are passed over, nothing in the model looks at.
#[cfg(feature = "mutations")]
const BROKEN: [(Mutation, &str); 15] = [
    (Mutation::CommitWithoutQuorum, "elections"),
    (Mutation::NoticeFromBeforeCut, "elections"),
    (Mutation::VoteForOlderLog, "elections"),
    (Mutation::TermNotDurable, "elections"),
    (Mutation::AckBeforeDurable, "elections"),
    (Mutation::CommitOldTermDirectly, "overwritten"),
    (Mutation::NoQuarantine, "leases"),
    (Mutation::LeaseFromAnswer, "late answers"),
    (Mutation::LeaseKeptInTransfer, "hand-over"),
    (Mutation::ReadBeforeOwnEntry, "rounds"),
    (Mutation::SnapshotOverCommitted, "snapshots"),
    (Mutation::NoticesInOrderOnly, "notices"),
    (Mutation::SecondChangeUnwaited, "members"),
    (Mutation::ChangeWithoutJoint, "members"),
    (Mutation::LeaseAcrossVote, "leases"),
];

#[cfg(feature = "mutations")]
#[test]
fn broken_rules_are_noticed() {
    std::panic::set_hook(Box::new(|_| {}));
    for (mutation, name) in BROKEN {
        let begun = Instant::now();
        let scene = scenes(Tier::Short).into_iter().find(|scene| scene.name == name).expect("there is such a scene");
        let Outcome { states, broken, .. } = search(scene, Some(mutation));
        let (what, steps) = broken.unwrap_or_else(|| panic!("{mutation:?} goes unnoticed in {name}"));
        let seconds = begun.elapsed().as_secs_f64();
        println!("{mutation:?} | {name} | {} steps | {states} states | {seconds:.1} s | {what}", steps.len());
    }
}
