//! Registers and locks under a model checker (stateright): every order of messages, syncs, crashes and expiries, up to bounds.
//!
//! The states are those of the real [`consensus::lock::Plane`]s with their disks and their network, not of a model of them, and what
//! must hold is what the simulator's ledger demands: [`sim::locks::ledger`]. Each of [`scenes`] lets in one kind of trouble
//! and is searched to its end; [`world`] says what may happen in a state. `SCENE=steals` searches one scene alone:
//! `cargo test --profile sim -p sim --test registers -- --nocapture`. With the feature `mutations` rules are broken in
//! turn, and a scene must notice.

mod scenes;
mod world;

use base::mutation::Mutation;
use scenes::{Scene, scenes};
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::time::Instant;
use world::{Action, Locks, State};

const RULES: &str = "no rule is broken";

impl Model for Locks {
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
            Property::sometimes("all come to their end", |_, state: &State| state.is_over()),
            Property::sometimes("two are granted the lock", |_, state: &State| state.grants >= 2),
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
    let model = Locks { scene, mutation };
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

#[test]
fn rules_hold_in_every_scene() {
    let only = std::env::var("SCENE").unwrap_or_default();
    for scene in scenes().into_iter().filter(|scene| scene.name.contains(&only)) {
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

/// Rules of registers and locks, and the scene in which each is missed at once; seeds of the simulator show the others.
#[cfg(feature = "mutations")]
const BROKEN: [(Mutation, &str); 5] = [
    (Mutation::AcceptBelowPromise, "races"),
    (Mutation::CacheKeptOnRefusal, "crashes"),
    (Mutation::StealByOneVerdict, "steals"),
    (Mutation::RenewalUncounted, "steals"),
    (Mutation::AnswerBeforeDurable, "crashes"),
];

#[cfg(feature = "mutations")]
#[test]
fn broken_rules_are_noticed() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for (mutation, name) in BROKEN {
        let begun = Instant::now();
        let scene = scenes().into_iter().find(|scene| scene.name == name).expect("there is such a scene");
        let Outcome { states, broken, .. } = search(scene, Some(mutation));
        let seconds = begun.elapsed().as_secs_f64();
        match broken {
            Some((what, steps)) => {
                println!("{mutation:?} | {name} | {} steps | {states} states | {seconds:.1} s | {what}", steps.len());
            }
            None => missed.push((mutation, name, states)),
        }
    }
    assert!(missed.is_empty(), "these go unnoticed: {missed:?}");
}
