//! Ranges of sorted sets in the model: each member is asked whether it is in.

use super::*;

/// A range as a command spells it.
enum Bounds {
    Ranks(i64, i64),
    Scores([(f64, bool); 2]),
    Names([Vec<u8>; 2]),
}

/// The options behind the two ends.
#[derive(Default)]
struct Options {
    by_score: bool,
    by_name: bool,
    back: bool,
    scores: bool,
    limit: Option<(i64, i64)>,
}

impl Model {
    /// A command with a range; nothing if it is none.
    pub(super) fn zrange(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Option<Told> {
        Some(match name {
            "zcount" | "zlexcount" => self.count_range(name, now, db, words),
            "zremrangebyrank" | "zremrangebyscore" | "zremrangebylex" => self.remove_range(name, now, db, words),
            "zrangestore" => self.store_range(now, db, words),
            "zrange" | "zrevrange" | "zrangebyscore" | "zrevrangebyscore" | "zrangebylex" | "zrevrangebylex" => {
                self.answer_range(name, now, db, words)
            }
            _ => return None,
        })
    }

    fn count_range(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Told {
        let bounds = Bounds::read(name == "zcount", name == "zlexcount", [words[2], words[3]])?;
        let (zset, _) = self.zset_at(now, db, words[1])?;
        Ok(Expected::Is(count(bounds.within(sorted(&zset)).len())))
    }

    fn remove_range(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Told {
        let bounds = Bounds::read(name.ends_with("score"), name.ends_with("lex"), [words[2], words[3]])?;
        let (mut zset, dies_at) = self.zset_at(now, db, words[1])?;
        let gone = bounds.within(sorted(&zset));
        gone.iter().for_each(|(member, _)| assert!(zset.remove(member).is_some()));
        if !gone.is_empty() {
            self.put(db, words[1], Content::Zset(zset), dies_at);
        }
        Ok(Expected::Is(count(gone.len())))
    }

    fn answer_range(&mut self, name: &str, now: u64, db: u8, words: &[&[u8]]) -> Told {
        let mut options = Options {
            by_score: name.ends_with("byscore"),
            by_name: name.ends_with("bylex"),
            back: name.contains("rev"),
            ..Options::default()
        };
        options.read(&words[4..], name == "zrange", true)?;
        let found = self.ranged(&options, now, db, words[1], [words[2], words[3]])?;
        Ok(Expected::Is(Answer::Array(flat(&found, options.scores))))
    }

    fn store_range(&mut self, now: u64, db: u8, words: &[&[u8]]) -> Told {
        let mut options = Options::default();
        options.read(&words[5..], true, false)?;
        let found = self.ranged(&options, now, db, words[2], [words[3], words[4]])?;
        let answer = count(found.len());
        self.put(db, words[1], Content::Zset(found.into_iter().collect()), None);
        Ok(Expected::Is(answer))
    }

    fn ranged(
        &mut self,
        options: &Options,
        now: u64,
        db: u8,
        key: &[u8],
        mut ends: [&[u8]; 2],
    ) -> Result<Vec<(Vec<u8>, f64)>, Answer> {
        let by_rank = !options.by_score && !options.by_name;
        if options.limit.is_some_and(|(_, most)| most != -1) && by_rank {
            let text = "LIMIT is only supported in combination with either BYSCORE or BYLEX";
            return Err(error(&format!("ERR syntax error, {text}")));
        }
        if options.scores && options.by_name {
            return Err(error("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        if options.back && !by_rank {
            ends.reverse();
        }
        let bounds = Bounds::read(options.by_score, options.by_name, ends)?;
        let mut all = sorted(&self.zset_at(now, db, key)?.0);
        if options.back && by_rank {
            all.reverse();
        }
        let mut found = bounds.within(all);
        if options.back && !by_rank {
            found.reverse();
        }
        let (offset, most) = options.limit.filter(|_| !by_rank).unwrap_or((0, -1));
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Ok(found.into_iter().skip(offset).take(most).collect())
    }
}

impl Options {
    /// Reads words; those that the name of a command implies are `free` to say by others alone.
    fn read(&mut self, words: &[&[u8]], free: bool, answers: bool) -> Result<(), Answer> {
        let mut at = 0;
        while at < words.len() {
            let by_rank = !self.by_score && !self.by_name;
            match words[at].to_ascii_lowercase().as_slice() {
                b"withscores" if answers => self.scores = true,
                b"limit" if at + 2 < words.len() => {
                    let number = |word: &[u8]| integer(word).ok_or_else(not_an_integer);
                    self.limit = Some((number(words[at + 1])?, number(words[at + 2])?));
                    at += 2;
                }
                b"rev" if free && !self.back => self.back = true,
                b"bylex" if free && by_rank => self.by_name = true,
                b"byscore" if free && by_rank => self.by_score = true,
                _ => return Err(error("ERR syntax error")),
            }
            at += 1;
        }
        Ok(())
    }
}

impl Bounds {
    fn read(by_score: bool, by_name: bool, ends: [&[u8]; 2]) -> Result<Self, Answer> {
        if by_score {
            let end = |word: &[u8]| match word.strip_prefix(b"(") {
                Some(number) => float(number).map(|score| (score, true)),
                None => float(word).map(|score| (score, false)),
            };
            let both = end(ends[0]).zip(end(ends[1]));
            return both
                .map(|(min, max)| Self::Scores([min, max]))
                .ok_or_else(|| error("ERR min or max is not a float"));
        }
        if by_name {
            let good = |word: &&[u8]| matches!(word, [b'-'] | [b'+'] | [b'[', ..] | [b'(', ..]);
            if !ends.iter().all(good) {
                return Err(error("ERR min or max not valid string range item"));
            }
            return Ok(Self::Names(ends.map(<[u8]>::to_vec)));
        }
        let rank = |word: &[u8]| integer(word).ok_or_else(not_an_integer);
        Ok(Self::Ranks(rank(ends[0])?, rank(ends[1])?))
    }

    fn within(&self, all: Vec<(Vec<u8>, f64)>) -> Vec<(Vec<u8>, f64)> {
        if let Self::Names([min, max]) = self {
            let begin = halves(&all, |member| match min[0] {
                b'-' => false,
                b'[' => member < &min[1..],
                b'(' => member <= &min[1..],
                _ => true,
            });
            let end = halves(&all, |member| match max[0] {
                b'+' => true,
                b'[' => member <= &max[1..],
                b'(' => member < &max[1..],
                _ => false,
            });
            return all[begin..end.max(begin)].to_vec();
        }
        let len = i64::try_from(all.len()).expect("models are small");
        let is_in = |at: i64, score: f64| match self {
            Self::Ranks(start, end) => {
                let start = if *start < 0 { start + len } else { *start };
                let end = if *end < 0 { end + len } else { *end };
                start <= at && at <= end
            }
            Self::Scores([(min, above), (max, below)]) => {
                (score > *min || (score == *min && !above)) && (score < *max || (score == *max && !below))
            }
            Self::Names(_) => unreachable!("names are looked for by halves"),
        };
        let numbered = (0..).zip(all);
        numbered.filter(|(at, (_, score))| is_in(*at, *score)).map(|(_, one)| one).collect()
    }
}

/// Where names are no longer low. Where scores differ names are in no order, and Redis promises nothing; to look by halves
/// is as good as anything, as long as all do.
fn halves(all: &[(Vec<u8>, f64)], low: impl Fn(&[u8]) -> bool) -> usize {
    let (mut begin, mut end) = (0, all.len());
    while begin < end {
        let middle = begin + (end - begin) / 2;
        if low(&all[middle].0) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    begin
}
