//! Any sequence of changes leaves what a plain row and a plain map would hold, in the same order.

use super::{Dense, Form, Word};
use crate::value::{Container, Hash, Object, Set};
use base::codec::{DecodeError, Reader};
use base::rng::Rng;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

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

fn image(object: &Object) -> Vec<u8> {
    let (mut out, mut part) = (Vec::new(), 0);
    while object.encode_part(part, &mut out) {
        part += 1;
    }
    out
}

fn digest(object: &Object) -> u64 {
    let mut hasher = SipHasher13::new();
    object.digest(&mut hasher);
    hasher.finish()
}

fn some_values() -> Vec<Object> {
    let mut rng = Rng::new(3);
    let mut values = Vec::new();
    for count in [1, 2, 100, 129, 700] {
        let (mut hash, mut set, mut ints) = (Hash::default(), Set::default(), Set::default());
        for n in 0..count {
            hash.set(&word(&mut rng, 5000), &word(&mut rng, 5000), 9);
            set.add(Word::of(&word(&mut rng, 5000)), 9);
            ints.add(Word::Int(if n == 1 { -70_000 } else { n * 3 }), 9);
        }
        values.extend([Object::from(hash), set.into(), ints.into()]);
    }
    values
}

#[test]
fn an_image_gives_the_same_value_back() {
    for value in some_values() {
        let image_of_it = image(&value);
        let mut reader = Reader::new(&image_of_it);
        let back = Object::decode(&mut reader).unwrap();
        assert!(reader.is_empty());
        assert_eq!((digest(&back), back.encoding()), (digest(&value), value.encoding()));
        assert_eq!(image(&back), image_of_it);
    }
}

#[test]
fn a_damaged_image_is_refused_or_another_value() {
    let mut rng = Rng::new(4);
    for value in some_values() {
        let whole = image(&value);
        for _ in 0..200 {
            let mut bytes = whole.clone();
            let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
            if rng.one_in(3) {
                bytes.truncate(at);
                assert!(Object::decode(&mut Reader::new(&bytes)).is_err());
                continue;
            }
            bytes[at] = bytes[at].wrapping_add(u8::try_from(1 + rng.below(255)).unwrap());
            let mut reader = Reader::new(&bytes);
            if let Ok(other) = Object::decode(&mut reader) {
                let used = bytes.len() - reader.rest().len();
                let again = Object::decode(&mut Reader::new(&image(&other))).unwrap();
                assert_eq!(digest(&again), digest(&other), "{used} bytes were a value");
            }
        }
    }
}

#[test]
fn images_that_no_value_has_are_refused() {
    let refused = |bytes: &[u8]| Object::decode(&mut Reader::new(bytes)).err();
    let (set, hash) = (2, 4);
    assert_eq!(refused(&[set, 0, 0, 0]), Some(DecodeError::Truncated), "no members");
    assert_eq!(refused(&[set, 2, 0]), Some(DecodeError::Truncated), "no integers");
    assert_eq!(refused(&[hash, 0, 0, 0]), Some(DecodeError::Truncated), "no fields");
    assert_eq!(refused(&[set, 0, 0, 2, 1, b'a', 1, b'a']), Some(DecodeError::Overlong), "a member twice");
    assert_eq!(refused(&[hash, 0, 0, 2, 1, b'a', 0, 1, b'a', 0]), Some(DecodeError::Overlong), "a field twice");
    assert_eq!(refused(&[hash, 2, 0, 1, 1, b'a', 0]), Some(DecodeError::Unknown(2)), "another kind");
    assert_eq!(refused(&[set, 3, 1]), Some(DecodeError::Unknown(3)), "another width");
    let ints = |width: u8, ints: &[i64]| {
        let count = u8::try_from(ints.len()).unwrap();
        let bytes: Vec<u8> = ints.iter().flat_map(|n| n.to_le_bytes()).collect();
        refused(&[&[set, width, count], bytes.as_slice()].concat())
    };
    assert_eq!(ints(2, &[1, 2]), None);
    assert_eq!(ints(4, &[1, 2]), None, "one that was wider has gone");
    assert_eq!(ints(2, &[2, 1]), Some(DecodeError::Overlong), "not in order");
    assert_eq!(ints(2, &[1, 1]), Some(DecodeError::Overlong), "an integer twice");
    assert_eq!(ints(2, &[1, 70_000]), Some(DecodeError::Overlong), "wider than the width");
    let many = [&[set, 2], [0xff; 9].as_slice(), &[1]].concat();
    assert_eq!(refused(&many), Some(DecodeError::Overlong), "more than an intset has");
    let many = [&[set, 0, 0], [0xff; 9].as_slice(), &[1, 1, b'a']].concat();
    assert_eq!(refused(&many), Some(DecodeError::Truncated), "more than there are bytes");
    let mut long = vec![hash, 0, 0, 1, 65];
    long.extend([b'f'; 65]);
    long.push(0);
    assert_eq!(refused(&long), Some(DecodeError::Overlong), "no listpack has this field");
}

#[test]
fn what_was_cloned_keeps_its_members() {
    for count in [10_i64, 100, 2000] {
        let mut set = Set::default();
        (0..count).for_each(|n| assert!(set.add(Word::of(format!("m{n}").as_bytes()), 9)));
        let (before, sum) = (set.clone(), digest(&set.clone().into()));
        (0..count / 2).for_each(|n| assert!(set.remove(Word::of(format!("m{}", n * 2).as_bytes()))));
        assert_eq!(digest(&before.clone().into()), sum);
        assert!(before.contains(Word::of(b"m0")) && !set.contains(Word::of(b"m0")));
        assert_eq!(set.len() * 2, before.len());
    }
}
