//! Scripts in the world of a cluster: what clients run, and where it runs.
//!
//! One text does for all: it runs the commands in its arguments and lists their answers. So it is a transaction to the checker of
//! histories.

use super::machine::{Input, Life};
use super::{Happening, MS, World};
use base::NodeId;
use base::rng::Rng;
use data::batch::{Batch, Pace};
use node::Now;
use script::Limits;

/// What scripts may use: little, so that some have to be run apart.
pub(super) const LIMITS: Limits =
    Limits { brisk_steps: 20_000, brisk_bytes: 1 << 20, steps: 200_000, bytes: 4 << 20, ms: 0 };
/// How long the longest takes.
const APART_NS_MAX: u64 = 400 * MS;

const TEXT: &str = "local keys, args = KEYS, ARGV ";
const BODY: &str = "local out, at = {}, 1 while at <= #args do local n = tonumber(args[at]) \
                    out[#out + 1] = redis.call(unpack(args, at + 1, at + n)) at = at + n + 1 end return out";
const LIBRARY: &str = "#!lua name=batches\nredis.register_function('batch', function(keys, args) ";

/// How a script is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Eval,
    /// One that takes long.
    Slow,
    Function,
}

impl Call {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.below(4) {
            0 => Self::Slow,
            1 => Self::Function,
            _ => Self::Eval,
        }
    }

    /// The words that have these commands run.
    pub(super) fn words(self, commands: &[Vec<String>]) -> Vec<String> {
        let keys: Vec<String> = commands.iter().map(|words| words[1].clone()).collect();
        let (name, text) = match self {
            Self::Eval => ("EVAL", format!("{TEXT}{BODY}")),
            Self::Slow => ("EVAL", format!("{TEXT}for i = 1, 30000 do end {BODY}")),
            Self::Function => ("FCALL", "batch".to_owned()),
        };
        let mut words = vec![name.to_owned(), text, keys.len().to_string()];
        words.extend(keys);
        for command in commands {
            words.push(command.len().to_string());
            words.extend(command.iter().cloned());
        }
        words
    }
}

/// The words that take the function in.
pub(super) fn load() -> [String; 4] {
    ["FUNCTION".into(), "LOAD".into(), "REPLACE".into(), format!("{LIBRARY}{BODY} end)")]
}

/// Runs what is brisk; true if there was any.
pub(super) fn run_brisk(life: &mut Life, now: Now) -> bool {
    let Life { lane, out, engine, .. } = life;
    let mut any = false;
    while let Some(at) = out.batches.iter().position(|batch| batch.pace == Pace::Brisk) {
        let batch = engine.run(out.batches.swap_remove(at));
        lane.on_batch(now, batch, out);
        any = true;
    }
    any
}

impl World {
    /// What takes long is run apart, and comes back later.
    pub(super) fn run_patient(&mut self, node: NodeId) {
        let machine = self.machines.get_mut(&node).expect("it is there");
        let lives = machine.lives;
        let Some(life) = machine.life_mut() else { return };
        let batches: Vec<Batch> = life.out.batches.drain(..).collect();
        for batch in batches {
            let batch = Box::new(self.machine(node).life_mut().expect("it lives").engine.run(batch));
            self.count("script run apart");
            let delay = self.rng.below(APART_NS_MAX);
            self.plan(delay, Happening::Script(node, lives, batch));
        }
    }

    /// A script that ran apart is done.
    pub(super) fn on_script(&mut self, node: NodeId, life: u64, batch: Box<Batch>) {
        if self.machine(node).lives == life {
            self.input(node, Input::Batch(batch));
        }
    }
}
