//! The model's LCS: the textbook's table, all of it.

use super::{Content, Model, count, error, integer, not_an_integer};
use crate::answer::Answer;

impl Model {
    pub(super) fn lcs(&self, now: u64, db: u8, words: &[&[u8]]) -> Answer {
        let string = |key: &[u8]| match self.get(db, key, now).map(|held| &held.value) {
            None => Some(Vec::new()),
            Some(Content::Str(bytes)) => Some(bytes.clone()),
            Some(_) => None,
        };
        let (Some(a), Some(b)) = (string(words[1]), string(words[2])) else {
            return error("ERR The specified keys must contain string values");
        };
        let (mut least, mut options) = (0, Vec::new());
        let mut rest = words[3..].iter().map(|word| String::from_utf8_lossy(word).to_ascii_lowercase());
        while let Some(option) = rest.next() {
            match (option.as_str(), rest.len()) {
                ("minmatchlen", 1..) => {
                    let Some(n) = rest.next().and_then(|word| integer(word.as_bytes())) else {
                        return not_an_integer();
                    };
                    least = n;
                }
                ("idx" | "len" | "withmatchlen", _) => options.push(option),
                _ => return error("ERR syntax error"),
            }
        }
        let has = |option: &str| options.iter().any(|one| one == option);
        if has("idx") && has("len") {
            return error("ERR If you want both the length and indexes, please just use IDX.");
        }
        if (a.len() + 1) * (b.len() + 1) > base::limits::LCS_CELLS_MAX {
            return error("ERR Insufficient memory, failed allocating transient memory for LCS");
        }
        let pairs = pairs(&a, &b);
        if has("len") {
            return count(pairs.len());
        }
        if !has("idx") {
            return Answer::Bulk(pairs.iter().rev().map(|(at, _)| a[*at]).collect());
        }
        let mut runs: Vec<(usize, usize, usize)> = Vec::new();
        for (i, j) in &pairs {
            match runs.last_mut() {
                Some((x, y, len)) if (i + 1, j + 1) == (*x, *y) => (*x, *y, *len) = (*i, *j, *len + 1),
                _ => runs.push((*i, *j, 1)),
            }
        }
        runs.retain(|(_, _, len)| i64::try_from(*len).expect("small") >= least);
        let range = |at: usize, len: usize| Answer::Array(vec![count(at), count(at + len - 1)]);
        let shown = |(i, j, len): (usize, usize, usize)| {
            let mut parts = vec![range(i, len), range(j, len)];
            if has("withmatchlen") {
                parts.push(count(len));
            }
            Answer::Array(parts)
        };
        let matches = Answer::Array(runs.into_iter().map(shown).collect());
        Answer::Array(vec![Answer::bulk(b"matches"), matches, Answer::bulk(b"len"), count(pairs.len())])
    }
}

/// The places of the bytes of the longest, from the last on.
fn pairs(a: &[u8], b: &[u8]) -> Vec<(usize, usize)> {
    let mut longest = vec![vec![0_u16; b.len() + 1]; a.len() + 1];
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            longest[i][j] =
                if a[i - 1] == b[j - 1] { longest[i - 1][j - 1] + 1 } else { longest[i - 1][j].max(longest[i][j - 1]) };
        }
    }
    let (mut i, mut j, mut pairs) = (a.len(), b.len(), Vec::new());
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            pairs.push((i, j));
        } else if longest[i - 1][j] > longest[i][j - 1] {
            i -= 1;
        } else {
            j -= 1;
        }
    }
    pairs
}
