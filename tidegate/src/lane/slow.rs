//! Finding slow commands without making the fast ones slower.
//!
//! Only reads of kinds that can be slow are timed one by one. What waits is not: its batch is, and should that be slow,
//! the arguments are still on the [`Slow`]'s tape, a ring of bytes that each waiting request writes its shortened
//! arguments to. It is large enough for what waits at a time but under the heaviest load; then an entry has none.

use crate::admin::slowlog::{ARG_BYTES_MAX, ARGS_MAX, shortened_arg};
use data::Command;
use data::command::{self, ID_MAX};

/// See the module; the lane's own.
#[derive(Debug)]
pub struct Slow {
    /// By id, the commands that are timed one by one.
    kinds: Box<[bool]>,
    tape: Box<[u8]>,
    /// Where the tape is written next; it grows, and the place is its remainder.
    at: usize,
}

/// Arguments on the tape.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    at: usize,
    bytes: usize,
}

const TAPE_BYTES: usize = 256 * 1024;
/// Calls with more arguments are timed, whatever the command.
const FEW_ARGS: usize = 16;
const HEAD_BYTES: usize = 4;
const _: () = assert!(TAPE_BYTES > 8 * (ARGS_MAX + 1) * (ARG_BYTES_MAX + HEAD_BYTES), "the tape holds some calls");

impl Slow {
    pub fn new() -> Self {
        let mut kinds = vec![false; ID_MAX].into_boxed_slice();
        for row in command::all() {
            let fast = row.flags.split(' ').any(|flag| flag == "fast");
            kinds[usize::from(row.id)] = !fast && !row.is_write();
        }
        Self { kinds, tape: vec![0; TAPE_BYTES].into_boxed_slice(), at: 0 }
    }

    /// True if a call should be timed by itself.
    pub fn times(&self, command: &Command, argc: usize, slower_than_ns: Option<u64>) -> bool {
        match slower_than_ns {
            None => false,
            Some(0) => true,
            Some(_) => argc > FEW_ARGS || self.kinds[usize::from(command.id)],
        }
    }

    /// Remembers the arguments of a call for a while.
    pub fn mark(&mut self, args: &[&[u8]]) -> Mark {
        let kept = &args[..args.len().min(ARGS_MAX)];
        let bytes = kept.iter().map(|arg| HEAD_BYTES + arg.len().min(ARG_BYTES_MAX)).sum();
        if self.at % TAPE_BYTES + bytes > TAPE_BYTES {
            self.at = self.at.next_multiple_of(TAPE_BYTES);
        }
        let mark = Mark { at: self.at, bytes };
        let mut place = self.at % TAPE_BYTES;
        for arg in kept {
            let head = u32::try_from(arg.len()).unwrap_or(u32::MAX).to_le_bytes();
            let known = &arg[..arg.len().min(ARG_BYTES_MAX)];
            self.tape[place..place + HEAD_BYTES].copy_from_slice(&head);
            self.tape[place + HEAD_BYTES..place + HEAD_BYTES + known.len()].copy_from_slice(known);
            place += HEAD_BYTES + known.len();
        }
        self.at += bytes;
        mark
    }

    /// The arguments, if the tape still has them.
    pub fn recall(&self, mark: Mark) -> Vec<Vec<u8>> {
        if self.at - mark.at > TAPE_BYTES {
            return vec![b"(too much has been asked since)".to_vec()];
        }
        let from = mark.at % TAPE_BYTES;
        let mut rest = &self.tape[from..from + mark.bytes];
        let mut args = Vec::new();
        while let Some((head, tail)) = rest.split_first_chunk::<HEAD_BYTES>() {
            let len = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
            let (known, tail) = tail.split_at(len.min(ARG_BYTES_MAX));
            args.push(shortened_arg(known, len));
            rest = tail;
        }
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tape_gives_back_what_it_was_given_until_it_is_written_over() {
        let mut slow = Slow::new();
        let long = [b'x'; 200];
        let first = slow.mark(&[b"SET", b"key", &long]);
        let wanted = vec![b"SET".to_vec(), b"key".to_vec(), shortened_arg(&long, 200)];
        assert_eq!(slow.recall(first), wanted);
        for _ in 0..1000 {
            slow.mark(&[b"SET", b"k", b"v"]);
        }
        assert_eq!(slow.recall(first), wanted);
        let many: Vec<&[u8]> = vec![&long; 100];
        let mut last = first;
        for _ in 0..100 {
            last = slow.mark(&many);
        }
        assert_ne!(slow.recall(first), wanted);
        assert_eq!(slow.recall(last).len(), ARGS_MAX);
    }

    #[test]
    fn only_what_can_be_slow_is_timed() {
        let slow = Slow::new();
        let times = |name: &str, argc| {
            let row = command::find(name.as_bytes()).expect("a command");
            slow.times(row, argc, Some(10_000_000))
        };
        assert!(times("keys", 2) && times("mget", 1000));
        assert!(!times("get", 2) && !times("set", 3));
        assert!(!slow.times(command::find(b"keys").expect("a command"), 2, None));
    }
}
