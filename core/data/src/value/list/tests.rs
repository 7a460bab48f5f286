//! Lists against a queue of plain strings, over random operations.

use super::*;
use base::rng::Rng;

type Plain = VecDeque<Vec<u8>>;

/// Few of these have equal strings, so that chunks are of all kinds.
fn member(rng: &mut Rng) -> Vec<u8> {
    let len = |rng: &mut Rng, end: u64| usize::try_from(rng.below(end)).expect("small");
    match rng.below(12) {
        0..4 => rng.below(200).to_string().into_bytes(),
        4 => rng.next_u64().cast_signed().to_string().into_bytes(),
        5 => vec![b'x'; len(rng, 3000)],
        6 => vec![b'y'; len(rng, 300)],
        _ => vec![b'z'; len(rng, 20)],
    }
}

fn validate(list: &List, plain: &Plain) {
    assert!(list.walk(End::Head, 0).map(|member| member.blob().as_bytes().to_vec()).eq(plain.iter().cloned()));
    assert_eq!((list.len(), list.is_empty()), (plain.len(), plain.is_empty()));
    match &list.0 {
        Form::One(packed) => assert!(packed.used() <= PACKED_BYTES_MAX),
        Form::Many(many) => {
            assert_eq!(many.len, many.chunks.iter().map(Chunk::len).sum::<usize>());
            assert_eq!(many.bytes, many.chunks.iter().map(Chunk::bytes).sum::<usize>());
            assert!(many.chunks.iter().all(|chunk| chunk.len() > 0), "no chunk is empty");
            assert!(many.chunks.len() > 1 || matches!(many.chunks[0], Chunk::Large(_)), "one chunk stands alone");
        }
    }
}

fn image(list: &List) -> Vec<u8> {
    let (mut out, mut part) = (Vec::new(), 0);
    while list.encode_part(part, &mut out) {
        part += 1;
    }
    out
}

fn digest(list: &List) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(1, 2);
    list.digest(&mut hasher);
    hasher.finish()
}

/// One random operation on both.
fn step(rng: &mut Rng, list: &mut List, plain: &mut Plain) {
    let place = |rng: &mut Rng, len: usize| usize::try_from(rng.below(len as u64 + 1)).expect("small");
    let end = if rng.one_in(2) { End::Head } else { End::Tail };
    let new = member(rng);
    match rng.below(16) {
        0..6 => {
            list.push(end, &new);
            if end == End::Head { plain.push_front(new) } else { plain.push_back(new) }
        }
        6..9 => {
            let wanted = if end == End::Head { plain.pop_front() } else { plain.pop_back() };
            assert_eq!(list.pop(end).map(|blob| blob.as_bytes().to_vec()), wanted);
        }
        9 => {
            let at = place(rng, plain.len());
            assert_eq!(list.set(at, &new), at < plain.len());
            if at < plain.len() {
                plain[at] = new;
            }
        }
        10..12 => {
            let at = place(rng, plain.len());
            list.insert(at, &new);
            plain.insert(at, new);
        }
        12 if rng.one_in(4) => {
            let count = place(rng, plain.len());
            list.cut(end, count);
            let rest = plain.len() - count;
            if end == End::Head { drop(plain.drain(..count)) } else { plain.truncate(rest) }
        }
        13 => {
            let one_in = 1 + rng.below(200);
            let most = place(rng, 400);
            let places: Vec<usize> = (0..plain.len()).filter(|_| rng.one_in(one_in)).take(most).collect();
            list.remove(&places);
            places.iter().rev().for_each(|at| drop(plain.remove(*at)));
        }
        14 => {
            let skipped = place(rng, plain.len());
            let back = list.walk(End::Tail, skipped).map(|member| member.blob().as_bytes().to_vec());
            assert!(back.eq(plain.iter().rev().skip(skipped).cloned()));
            let at = place(rng, plain.len());
            let found = list.get(at).map(|member| member.read(<[u8]>::to_vec));
            assert_eq!(found.as_ref(), plain.get(at));
            let found = list.walk(End::Head, 0).position(|member| member.is(Word::of(&new)));
            assert_eq!(found, plain.iter().position(|member| *member == new));
        }
        _ => {
            let bytes = image(list);
            match List::decode(&mut Reader::new(&bytes)) {
                Ok(back) => {
                    assert_eq!(digest(&back), digest(list));
                    *list = back;
                }
                Err(_) => assert!(plain.is_empty()),
            }
        }
    }
}

#[test]
fn a_list_is_a_queue_of_strings() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let (mut list, mut plain) = (List::default(), Plain::default());
        let mut kept = (list.clone(), plain.clone());
        for at in 0..600 {
            step(&mut rng, &mut list, &mut plain);
            validate(&list, &plain);
            if at % 50 == 0 {
                validate(&kept.0, &kept.1);
                kept = (list.clone(), plain.clone());
            }
        }
    }
}

#[test]
fn a_long_list_is_found_into_from_both_sides_and_leaves_nothing_behind() {
    for out in [End::Head, End::Tail] {
        let mut list = List::default();
        for n in 0..20_000_u32 {
            list.push(out.other(), n.to_string().as_bytes());
        }
        let at = |n: u32| usize::try_from(if out == End::Head { n } else { 19_999 - n }).expect("small");
        for n in [0, 1, 777, 10_000, 19_999] {
            assert_eq!(list.get(at(n)).map(Word::blob), Some(Blob::from(n.to_string().as_bytes())));
        }
        let packed = 20_000 * 5;
        assert!(list.bytes() < packed * 11 / 10, "{} bytes for {packed}", list.bytes());
        for n in 0..20_000_u32 {
            assert_eq!(list.pop(out), Some(Blob::from(n.to_string().as_bytes())));
        }
        assert_eq!((list.len(), list.bytes()), (0, size_of::<List>()));
    }
}

#[test]
fn a_queue_in_motion_takes_no_more_than_what_is_in_it() {
    for within in [1_u32, 10, 100, 1000, 3000] {
        let mut list = List::default();
        for n in 0..20_000 {
            list.push(End::Tail, format!("job:{n:08}").as_bytes());
            if n >= within {
                assert!(list.pop(End::Head).is_some());
            }
        }
        let members = usize::try_from(within).expect("small") * 14;
        assert!(list.bytes() < 2 * members + 2 * 4096, "{} bytes for {members}", list.bytes());
    }
}

#[test]
fn equal_members_have_equal_digests_however_they_came_together() {
    let (mut pushed, mut put) = (List::default(), List::default());
    for n in 0..3000_u32 {
        pushed.push(End::Tail, n.to_string().as_bytes());
        put.push(End::Head, (2999 - n).to_string().as_bytes());
    }
    assert_eq!((digest(&pushed), image(&pushed)), (digest(&put), image(&put)));
}

#[test]
fn damaged_images_are_refused() {
    let mut list = List::default();
    (0..2000_u32).for_each(|n| list.push(End::Tail, n.to_string().as_bytes()));
    let whole = image(&list);
    for len in (0..whole.len()).step_by(97) {
        assert!(List::decode(&mut Reader::new(&whole[..len])).is_err());
    }
    let mut endless = Vec::new();
    put_varint(&mut endless, u64::MAX);
    assert!(List::decode(&mut Reader::new(&endless)).is_err());
    assert!(List::decode(&mut Reader::new(&[0])).is_err());
}

#[test]
fn a_chunk_takes_its_handle_and_no_more() {
    assert_eq!((size_of::<List>(), size_of::<Chunk>()), (24, 32));
}
