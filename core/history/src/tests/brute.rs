//! The checker as the definition has it: every order of every choice of the unknown operations, on another model.

use crate::History;
use crate::record::{Fate, Operation};
use crate::reply::Reply;
use crate::sample::Store;
use crate::text::integer;

/// True if some order explains the history.
pub(super) fn is_linearizable(history: &History) -> bool {
    let operations: Vec<&Operation> =
        history.operations().iter().filter(|operation| operation.fate() != Fate::Void).collect();
    explains(&operations, &Store::default())
}

/// True if the operations that are left may follow on this state.
fn explains(left: &[&Operation], store: &Store) -> bool {
    if left.iter().all(|operation| operation.fate() == Fate::Unknown) {
        return true;
    }
    (0..left.len()).any(|at| {
        let next = left[at];
        if left.iter().any(|other| returns_before(other, next)) {
            return false;
        }
        let mut store = store.clone();
        let answer = store.run(next.command.words());
        let fits = match next.fate() {
            Fate::Done { reply, .. } => same(&answer, reply),
            Fate::Unknown | Fate::Void => true,
        };
        let others: Vec<&Operation> = [&left[..at], &left[at + 1..]].concat();
        fits && explains(&others, &store)
    })
}

fn returns_before(one: &Operation, other: &Operation) -> bool {
    matches!(one.fate(), Fate::Done { return_ns, .. } if return_ns < other.invoke_ns)
}

fn same(answer: &Reply, reply: &Reply) -> bool {
    match (answer, reply) {
        // That a write was done may be told in any words; no value here reads OK.
        (Reply::Text(text), Reply::Int(_) | Reply::Text(_)) if **text == *b"OK" => true,
        (Reply::Text(text), Reply::Int(number)) | (Reply::Int(number), Reply::Text(text)) => {
            integer(text) == Some(*number)
        }
        (Reply::List(answers), Reply::List(replies)) => {
            answers.len() == replies.len() && answers.iter().zip(replies).all(|(a, b)| same(a, b))
        }
        (answer, reply) => answer == reply,
    }
}
