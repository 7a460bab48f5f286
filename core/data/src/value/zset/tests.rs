//! Sorted sets against a plain map, from small to large and back, with clones that must stay as they were.

use super::{Name, Zset};
use crate::value::{Container, Object, Word};
use base::codec::Reader;
use base::rng::Rng;
use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hasher;

type Plain = BTreeMap<Vec<u8>, f64>;

fn sorted(plain: &Plain) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = plain.iter().map(|(member, score)| (member.clone(), *score)).collect();
    all.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
    all
}

fn owned<'a>(found: impl Iterator<Item = (Word<'a>, f64)>) -> Vec<(Vec<u8>, f64)> {
    found.map(|(member, score)| (member.read(<[u8]>::to_vec), score)).collect()
}

fn digest(zset: &Zset) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(1, 2);
    zset.digest(&mut hasher);
    hasher.finish()
}

fn image(zset: &Zset) -> Vec<u8> {
    let (mut out, mut part) = (Vec::new(), 0);
    while zset.encode_part(part, &mut out) {
        part += 1;
    }
    out
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap()
}

fn check(zset: &Zset, plain: &Plain, rng: &mut Rng) {
    let all = sorted(plain);
    assert_eq!(owned(zset.iter()), all);
    let (a, b) = (below(rng, all.len() + 2), below(rng, all.len() + 2));
    let ranks = a.min(b).min(all.len())..a.max(b).min(all.len());
    assert_eq!(owned(zset.range(a.min(b)..a.max(b))), all[ranks.clone()]);
    let back: Vec<_> = all[ranks].iter().rev().cloned().collect();
    assert_eq!(owned(zset.range_back(a.min(b)..a.max(b))), back);
    for (rank, (member, score)) in all.iter().enumerate().step_by(7) {
        assert_eq!(zset.rank(member), Some(rank));
        assert_eq!(zset.score(member), Some(*score));
    }
    if let Some((_, score)) = all.get(a.min(all.len().saturating_sub(1))) {
        assert_eq!(zset.lower(|one| one < *score), all.iter().filter(|one| one.1 < *score).count());
        assert_eq!(zset.lower(|one| one <= *score), all.iter().filter(|one| one.1 <= *score).count());
    }
    let mut seen = BTreeSet::new();
    let mut cursor = 0;
    loop {
        cursor = zset.scan(cursor, 1 + below(rng, 50), |member, _| assert!(seen.insert(member.read(<[u8]>::to_vec))));
        if cursor == 0 {
            break;
        }
    }
    assert!(seen.iter().eq(plain.keys()));
    let image = image(zset);
    if plain.is_empty() {
        assert!(Zset::decode(&mut Reader::new(&image)).is_err());
        return;
    }
    let mut reader = Reader::new(&image);
    let back = Zset::decode(&mut reader).unwrap();
    assert!(reader.is_empty());
    assert_eq!((digest(&back), back.encoding()), (digest(zset), zset.encoding()));
    assert_eq!(owned(back.iter()), all);
}

fn member(rng: &mut Rng, names: u64, long_one_in: u64) -> Vec<u8> {
    let prefix = if rng.one_in(2) { "" } else { "member:" };
    let mut name = format!("{prefix}{}", rng.below(names / 2)).into_bytes();
    if long_one_in > 0 && rng.one_in(long_one_in) {
        name.resize(700, b'x');
    }
    name
}

fn walk(seed: u64, names: u64, scores: u64, long_one_in: u64, steps: u64) -> Zset {
    let mut rng = Rng::new(seed);
    let (mut zset, mut plain) = (Zset::default(), Plain::new());
    let mut former: Option<(Zset, Plain)> = None;
    for step in 0..steps {
        let name = member(&mut rng, names, long_one_in);
        if step % (steps / 2) < steps / 3 || rng.one_in(3) {
            let score = f64::from(u32::try_from(rng.below(scores)).unwrap()) / 8.0 - 5.0;
            assert_eq!(zset.insert(&name, score), plain.insert(name, score));
        } else if let Some(name) = plain.range(name.clone()..).next().map(|(name, _)| name.clone()) {
            assert_eq!(zset.remove(&name), plain.remove(&name));
        } else {
            assert_eq!(zset.remove(&name), plain.remove(&name));
        }
        assert_eq!(zset.len(), plain.len());
        if step % (steps / 12) == 0 {
            check(&zset, &plain, &mut rng);
            if let Some((zset, plain)) = former.replace((zset.clone(), plain.clone())) {
                check(&zset, &plain, &mut rng);
            }
        }
    }
    check(&zset, &plain, &mut rng);
    for name in plain.keys() {
        assert!(zset.remove(name).is_some());
    }
    assert!(zset.is_empty() && zset.iter().next().is_none() && zset.score(b"a").is_none());
    zset
}

#[test]
fn sorted_sets_are_what_a_plain_map_says() {
    for (seed, (names, scores, long_one_in)) in
        (0..).zip([(40, 5, 0), (120, 1000, 0), (3000, 4000, 0), (3000, 1, 0), (800, 30, 5), (100_000, 1 << 30, 0)])
    {
        let zset = walk(seed, names, scores, long_one_in, 6_000);
        assert_eq!(zset.encoding(), if names <= 128 { "listpack" } else { "skiplist" });
    }
}

#[test]
fn members_in_order_fill_their_leaves() {
    for backwards in [false, true] {
        let mut zset = Zset::default();
        for n in 0..20_000_u32 {
            let n = if backwards { 20_000 - n } else { n };
            zset.insert(format!("{n:06}").as_bytes(), f64::from(n));
        }
        assert!(zset.bytes() < 20_000 * if backwards { 28 } else { 24 }, "{} bytes", zset.bytes());
        assert!(zset.iter().map(|(_, score)| score).is_sorted());
    }
}

#[test]
fn a_scan_shows_what_stays_though_scores_change() {
    let mut rng = Rng::new(9);
    let mut zset = Zset::default();
    for n in 0..2000 {
        zset.insert(format!("stays:{n}").as_bytes(), 0.0);
    }
    let mut seen = BTreeSet::new();
    let mut cursor = 0;
    for round in 0.. {
        cursor = zset.scan(cursor, 7, |member, _| {
            seen.insert(member.read(<[u8]>::to_vec));
        });
        if cursor == 0 {
            break;
        }
        for n in 0..40 {
            zset.insert(format!("stays:{}", rng.below(2000)).as_bytes(), f64::from(n * 7 % 13));
            zset.insert(format!("comes:{round}:{n}").as_bytes(), f64::from(n));
            zset.remove(format!("comes:{}:{n}", round / 2).as_bytes());
        }
    }
    assert_eq!(seen.iter().filter(|member| member.starts_with(b"stays")).count(), 2000);
}

#[test]
fn names_are_bounds_where_scores_are_equal() {
    for count in [26, 500] {
        let mut zset = Zset::default();
        for n in 0..count {
            zset.insert(format!("{}{}", char::from(b'a' + u8::try_from(n % 26).unwrap()), n / 26).as_bytes(), 1.0);
        }
        let whole = 0..count;
        assert_eq!(zset.between(Name::First, Name::Last), whole);
        assert_eq!(zset.between(Name::From(b"a0"), Name::Last), whole);
        assert_eq!(zset.between(Name::Beyond(b"a0"), Name::Last), 1..count);
        assert_eq!(zset.between(Name::First, Name::Beyond(b"a0")), 0..0);
        assert_eq!(zset.between(Name::First, Name::From(b"a0")), 0..1);
        assert!(zset.between(Name::Last, Name::First).is_empty());
        assert!(zset.between(Name::From(b"c"), Name::From(b"b")).is_empty());
    }
}

#[test]
fn minus_zero_is_zero_in_a_small_one_alone() {
    let mut zset = Zset::default();
    zset.insert(b"a", -0.0);
    assert!(zset.score(b"a").unwrap().is_sign_positive());
    zset.insert(&[b'x'; 65], -0.0);
    assert_eq!(zset.encoding(), "skiplist");
    assert!(zset.score(&[b'x'; 65]).unwrap().is_sign_negative());
    assert_eq!(zset.iter().count(), 2);
}

#[test]
fn damaged_images_are_refused() {
    for count in [5_u32, 140] {
        let mut zset = Zset::default();
        for n in 0..count {
            zset.insert(format!("m{n}").as_bytes(), f64::from(n % 7));
        }
        let whole = image(&zset);
        for at in 0..whole.len() {
            assert!(Zset::decode(&mut Reader::new(&whole[..at])).is_err());
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << (at % 8);
            // Whatever it reads is in order and can be changed.
            if let Ok(mut read) = Zset::decode(&mut Reader::new(&damaged)) {
                let members = owned(read.iter());
                assert!(members.is_sorted_by(|a, b| (a.1, &a.0) < (b.1, &b.0)));
                members.iter().for_each(|(member, _)| assert!(read.remove(member).is_some()));
            }
        }
    }
    let huge = [&[1][..], &[0xff; 9], &[1]].concat();
    assert!(Zset::decode(&mut Reader::new(&huge)).is_err());
    let object = Object::from(Zset::default());
    assert_eq!(object.type_name(), "zset");
}
