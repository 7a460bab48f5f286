//! Any sequence of changes leaves what a plain row and a plain map would hold, in the same order.

use super::{Dense, Form, Word};
use base::rng::Rng;

type Plain = Vec<(Vec<u8>, Vec<u8>)>;

fn word(rng: &mut Rng, below: u64) -> Vec<u8> {
    let n = rng.below(below);
    match n % 16 {
        0 => vec![b'0' + u8::try_from(n % 9).unwrap(); usize::try_from(n % 700).unwrap()],
        1 => format!("{n}").repeat(60).into_bytes(),
        2..=7 => (i64::try_from(n).unwrap() * [1, -1, 1000, 3_000_000_000][usize::try_from(n % 4).unwrap()])
            .to_string()
            .into_bytes(),
        _ => format!("member:{n}").into_bytes(),
    }
}

fn step(rng: &mut Rng, dense: &mut Dense<2>, plain: &mut Plain, names: u64, growing: bool) {
    let key = word(rng, names);
    let at = plain.iter().position(|(name, _)| *name == key);
    if rng.one_in(if growing { 4 } else { 2 }) {
        if rng.one_in(3) && !plain.is_empty() {
            let at = usize::try_from(rng.below(plain.len() as u64)).unwrap();
            plain.swap_remove(at);
            return dense.remove_at(at);
        }
        assert_eq!(dense.remove(Word::of(&key)), at.is_some());
        at.map(|at| plain.swap_remove(at));
        return;
    }
    let value = word(rng, 1 << 30);
    assert_eq!(dense.put(&[Word::of(&key), Word::of(&value)], 7), at.is_none());
    match at {
        Some(at) => plain[at].1 = value,
        None => plain.push((key, value)),
    }
}

fn plain_of(dense: &Dense<2>) -> Plain {
    dense.members(0..dense.len()).map(|member| member.map(|word| word.read(<[u8]>::to_vec)).into()).collect()
}

fn compare(dense: &Dense<2>, plain: &Plain, names: u64) {
    assert_eq!(&plain_of(dense), plain);
    if let Form::Large(large) = &dense.0 {
        large.validate();
    }
    let mut rng = Rng::new(1);
    for _ in 0..30 {
        let key = word(&mut rng, names);
        let found = plain.iter().position(|(name, _)| *name == key);
        assert_eq!(dense.find(Word::of(&key)), found);
        let value = dense.get(Word::of(&key)).map(|[_, value]| value.read(<[u8]>::to_vec));
        assert_eq!(value, found.map(|at| plain[at].1.clone()));
        let from = usize::try_from(rng.below(plain.len() as u64 + 1)).unwrap();
        let part: Plain = dense
            .members(from..dense.len())
            .map(|member| member.map(|word| word.read(<[u8]>::to_vec)).into())
            .collect();
        assert_eq!(part, plain[from..]);
    }
}

#[test]
fn any_changes_leave_what_a_plain_row_holds() {
    for (seed, names) in (0..).zip([20, 100, 150, 300, 3000, 20_000]) {
        let mut rng = Rng::new(seed);
        let (mut dense, mut plain) = (Dense::<2>::default(), Plain::new());
        for turn in 0..12 {
            let before = (dense.clone(), plain.clone());
            for _ in 0..names.min(1000) {
                step(&mut rng, &mut dense, &mut plain, names, turn % 6 < 4);
            }
            compare(&dense, &plain, names);
            compare(&before.0, &before.1, names);
        }
        while !plain.is_empty() {
            let at = usize::try_from(rng.below(plain.len() as u64)).unwrap();
            plain.swap_remove(at);
            dense.remove_at(at);
        }
        compare(&dense, &plain, names);
    }
}

#[test]
fn memory_is_little_more_than_the_content() {
    let fill = |count: u64| {
        let mut dense = Dense::<2>::default();
        for n in 0..count {
            let (field, value) = (format!("field:{n:04}"), format!("value:{n:06}"));
            dense.put(&[Word::of(field.as_bytes()), Word::of(value.as_bytes())], 7);
        }
        dense.bytes()
    };
    // Redis: a listpack of 26 bytes for each, then some 110 bytes.
    for (count, most) in [(10, 26 * 10), (100, 26 * 100), (1000, 55 * 1000), (100_000, 55 * 100_000)] {
        assert!(fill(count) <= most, "{count} members take {} bytes", fill(count));
    }
}

#[test]
fn numbers_are_kept_short() {
    let mut dense = Dense::<1>::default();
    (0..100).for_each(|n: u64| assert!(dense.put(&[Word::of((n * 1000).to_string().as_bytes())], 7)));
    assert!(dense.bytes() <= 440, "{}", dense.bytes());
    assert!(!dense.put(&[Word::of(b"5000")], 7) && dense.len() == 100 && dense.remove(Word::of(b"5000")));
}
