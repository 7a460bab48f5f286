//! try
mod raft;
mod replica;
mod rules;
mod scenes;
mod state;

use raft::{Action, Raft};
use scenes::{Tier, scenes};
use state::State;
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::time::Instant;

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
            Property::always("no rule is broken", |_, state: &State| state.broken.is_none()),
            Property::sometimes("a leader is elected", |_, state: &State| state.ledger.has_leader()),
            Property::sometimes("an entry commits", |_, state: &State| state.ledger.has_committed()),
            Property::sometimes("a leader changes after a commit", |_, state: &State| state.ledger.leader_changed_after_a_commit()),
        ]
    }
}

#[test]
fn it_runs() {
    let tier = if std::env::var("LONG").is_ok() { Tier::Long } else { Tier::Short };
    let only = std::env::var("ONLY").unwrap_or_default();
    let max = std::env::var("MAX").map_or(20_000_000, |n| n.parse().unwrap());
    for scene in scenes(tier).into_iter().filter(|scene| scene.name.contains(&only)) {
        let begun = Instant::now();
        let name = scene.name;
        let model = Raft { scene, mutation: None };
        let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).target_state_count(max).spawn_bfs().join();
        println!("{name:<20} {:>10} unique, {:>10} states, depth {}, {:?}", checker.unique_state_count(), checker.state_count(), checker.max_depth(), begun.elapsed());
        for (name, path) in checker.discoveries() {
            print!("    {name}: {}", path.clone().into_actions().len());
            if name == "no rule is broken" {
                println!("{:?}", path.last_state().broken);
                for action in path.into_actions() { println!("  {action:?}"); }
            }
        }
        println!("");
    }
}
