//! The end of a run: nothing breaks any more, and everything must come to an end that helps its clients.

use super::client::LAST_WORDS;
use super::{MS, World};
use base::NodeId;
use bytes::Bytes;
use consensus::lock::{Acquire, Claim, Command, Outcome, Waiter};

impl World {
    pub(super) fn finish(&mut self) {
        self.heal();
        self.pass(8_000);
        let busy = self.clients_that_wait();
        assert_eq!(busy, Vec::<String>::new(), "every_request_is_answered");
        self.every_voter_serves_once_healed();
        self.a_dead_holder_is_succeeded();
        self.nobody_keeps_a_dead_holder_alive();
        self.what_nobody_uses_is_forgotten();
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now + ms * MS;
        while self.agenda.next_at().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = end;
    }

    fn every_voter_serves_once_healed(&mut self) {
        for node in self.view.voters().to_vec() {
            let plane = self.machine(node).plane().expect("it runs");
            let status = plane.status();
            assert!(status.votes, "every_voter_serves_once_healed: {node} {status:?}");
        }
    }

    /// Asks, and gives the answer that comes within so long.
    fn told_within(&mut self, node: NodeId, name: &'static [u8], command: Command, ms: u64) -> Option<Outcome> {
        let ask = self.last_ask(node, name, command);
        self.heard_within(ask, ms)
    }

    fn last_ask(&mut self, node: NodeId, name: &'static [u8], command: Command) -> u64 {
        self.next_ask += 1;
        let ask = LAST_WORDS + self.next_ask;
        self.input(node, |plane, now, out| {
            plane.on_request(now, Waiter(ask), Bytes::from_static(name), command, out);
        });
        ask
    }

    fn heard_within(&mut self, ask: u64, ms: u64) -> Option<Outcome> {
        for _ in 0..ms {
            if let Some(outcome) = self.last_words.remove(&ask) {
                return Some(outcome);
            }
            self.pass(1);
        }
        None
    }

    /// Whoever waits for a dead holder's lock has it soon after the holder's time.
    fn a_dead_holder_is_succeeded(&mut self) {
        for name in [&b"exclusive"[..], b"shared", b"another"] {
            let (first, second) = (self.any_node(), self.any_node());
            let dead = self.told_within(first, name, acquire("dead", Claim::Exclusive, 3_000), 4_000);
            assert!(matches!(dead, Some(Outcome::Granted { .. })), "a_dead_holder_is_succeeded: {dead:?}");
            assert_eq!(self.ledger.holders(&Bytes::from_static(name)).len(), 1);
            let next = self.told_within(second, name, acquire("next", Claim::Exclusive, 3_000), 1_000);
            assert!(matches!(next, Some(Outcome::Granted { .. })), "a_dead_holder_is_succeeded: {next:?}");
        }
    }

    /// Those who go on beside a dead holder don't make it live on.
    fn nobody_keeps_a_dead_holder_alive(&mut self) {
        let permits = |count| Claim::Permits { count, of: 3 };
        let home = self.any_node();
        for owner in ["dead", "alive"] {
            let granted = self.told_within(home, b"permits", acquire(owner, permits(1), 3_000), 4_000);
            let Some(Outcome::Granted { token, .. }) = granted else {
                panic!("nobody_keeps_a_dead_holder_alive: {owner} {granted:?}")
            };
            if owner == "dead" {
                continue;
            }
            for _ in 0..30 {
                let renew = Command::Renew { owner: Bytes::from(owner), token, ttl_ms: TTL_MS };
                let renewed = self.told_within(home, b"permits", renew, 500);
                assert!(matches!(renewed, Some(Outcome::Renewed { .. })), "{renewed:?}");
                self.pass(20);
            }
        }
        // For less time than a renewal would prolong him.
        let wants = self.told_within(home, b"permits", acquire("next", permits(2), TTL_MS - 50), 1_000);
        assert!(matches!(wants, Some(Outcome::Granted { .. })), "nobody_keeps_a_dead_holder_alive: {wants:?}");
    }

    /// Nothing of a lock stays behind with any voter, whoever died as its holder.
    fn what_nobody_uses_is_forgotten(&mut self) {
        let most_ms = 10_000 + 10 * self.mood.idle_ms;
        let mut left = Vec::new();
        for _ in 0..most_ms / 50 {
            self.pass(50);
            left = self.view.voters().to_vec();
            left.retain(|node| self.machine(*node).plane().is_none_or(|plane| !plane.table().is_empty()));
            if left.is_empty() {
                return;
            }
        }
        let node = left[0];
        let plane = self.machine(node).plane().expect("it runs");
        panic!("what_nobody_uses_is_forgotten: {left:?} have registers, of which {node}: {:?}", plane.table());
    }
}

const TTL_MS: u64 = 300;

fn acquire(owner: &'static str, claim: Claim, wait_ms: u64) -> Command {
    let owner = Bytes::from_static(owner.as_bytes());
    Command::Acquire(Acquire { owner, ttl_ms: TTL_MS, wait_ms, claim, token: None, id: Bytes::new() })
}
