//! Streams as values: images, clones, and what they take.

use super::{Group, Id, Keep, Marks, Stream, Trim};
use crate::value::{Container, Object};
use base::codec::Reader;
use base::rng::Rng;
use siphasher::sip::SipHasher13;
use std::hash::Hasher;

fn id(ms: u64) -> Id {
    Id::new(ms, 0)
}

fn sum(stream: &Stream) -> u64 {
    let mut hasher = SipHasher13::new();
    stream.digest(&mut hasher);
    hasher.finish()
}

fn image(stream: &Stream) -> Vec<u8> {
    let (mut out, mut part) = (Vec::new(), 0);
    while stream.encode_part(part, &mut out) {
        part += 1;
    }
    out
}

/// A stream to which all sorts of things were done.
fn worn(rng: &mut Rng, steps: u64) -> Stream {
    let mut stream = Stream::default();
    stream.add_group(b"g", Group::new(Id::MIN, None));
    stream.add_group(b"empty", Group::new(id(3), Some(3)));
    for step in 1..=steps {
        let (name, value) = (format!("f{}", rng.below(2)), "v".repeat(usize::try_from(rng.below(90)).unwrap()));
        let fields: [&[u8]; 4] = [b"same", value.as_bytes(), name.as_bytes(), b"17"];
        let count = if rng.one_in(3) { 2 } else { 4 };
        stream.add(Id::new(step, rng.below(5)), &fields[..count]);
        if rng.one_in(3) {
            let gone = stream.log().range(id(rng.below(step)), Id::MAX).next().map(|entry| entry.id);
            gone.map(|id| stream.remove(id));
        }
        stream.change_group(b"g", |_, group| disturb(rng, group, step));
        if rng.one_in(10) {
            stream.producers_mut().record(format!("p{}", rng.below(5)).as_bytes(), &step.to_le_bytes(), id(step), step);
        }
        if rng.one_in(200) {
            let keep = Keep::Newest(rng.below(300));
            stream.trim(Trim { keep, approximate: rng.one_in(2), most: None });
        }
    }
    stream
}

fn disturb(rng: &mut Rng, group: &mut Group, step: u64) {
    let name = format!("c{}", rng.below(4));
    let consumer = group.find(name.as_bytes()).unwrap_or_else(|| group.add_consumer(name.as_bytes(), step));
    group.assign(id(step), consumer, step, 1 + rng.below(3));
    if rng.one_in(2) {
        group.acknowledge(id(rng.below(step)));
    }
    if rng.one_in(300) {
        group.remove_consumer(b"c1");
    }
}

#[test]
fn an_image_brings_back_the_same_stream() {
    for seed in 0..20 {
        let stream = worn(&mut Rng::new(seed), 40 << (seed % 6));
        let image = image(&stream);
        let mut reader = Reader::new(&image);
        let back = Stream::decode(&mut reader).expect("it was just made");
        assert!(reader.is_empty());
        assert_eq!(sum(&back), sum(&stream));
        assert_eq!(self::image(&back), image, "what was deleted stands in no image");
        assert!(back.bytes() <= stream.bytes());
        let all = |stream: &Stream| stream.log().range(Id::MIN, Id::MAX).map(|entry| entry.id).collect::<Vec<_>>();
        assert_eq!(all(&back), all(&stream));
        let mut reversed: Vec<Id> = stream.log().range_back(Id::MIN, Id::MAX).map(|entry| entry.id).collect();
        reversed.reverse();
        assert_eq!(reversed, all(&stream));
    }
}

#[test]
fn parts_of_an_image_are_small() {
    let mut stream = worn(&mut Rng::new(1), 5000);
    for ms in 10_000..20_000 {
        stream.add(id(ms), &[b"f", b"some value of an entry"]);
    }
    let (mut parts, mut more) = (0, true);
    while more {
        let mut part = Vec::new();
        more = stream.encode_part(parts, &mut part);
        assert!(part.len() < 48 * 1024, "part {parts} has {} bytes", part.len());
        parts += 1;
    }
    assert!(parts > 10);
}

#[test]
fn damaged_images_are_errors() {
    let mut rng = Rng::new(3);
    let stream = worn(&mut rng, 60);
    let whole = image(&stream);
    for cut in 0..whole.len() {
        assert!(Stream::decode(&mut Reader::new(&whole[..cut])).is_err(), "cut at {cut}");
    }
    // A changed byte of a value is no damage that can be seen; whatever is read must be a stream all the same.
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..=rng.below(2) {
            let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
            bytes[at] ^= u8::try_from(1 + rng.below(255)).unwrap();
        }
        if let Ok(mut read) = Stream::decode(&mut Reader::new(&bytes)) {
            use_up(&mut read);
        }
    }
}

/// Does all that could fail if the stream were not sound.
fn use_up(stream: &mut Stream) {
    let ids: Vec<Id> = stream.log().range(Id::MIN, Id::MAX).map(|entry| entry.id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(ids.len(), stream.log().len());
    assert!(stream.log().range_back(Id::MIN, Id::MAX).map(|entry| entry.fields().count()).sum::<usize>() < 1 << 20);
    let names: Vec<Vec<u8>> = stream.groups().map(|(name, _)| name.to_vec()).collect();
    for name in names {
        stream.change_group(&name, |entries, group| {
            assert!(group.lag(entries).is_none_or(|lag| lag > i64::MIN));
            let pending: Vec<Id> = group.pending(Id::MIN).map(|(id, _)| id).collect();
            assert!(pending.iter().all(|id| group.acknowledge(*id)));
        });
    }
    stream.producers_mut().record(b"p", b"name", Id::MAX, u64::MAX);
    if let Some(next) = stream.entries().last().next() {
        stream.add(next, &[b"a", b"b"]);
    }
    stream.trim(Trim { keep: Keep::Newest(1), approximate: false, most: None });
    for id in ids {
        stream.remove(id);
    }
}

#[test]
fn lengths_that_nobody_has_allocate_nothing() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let head = [&[9, 0, 0, 0, 9][..], &huge, &huge, &[0]].concat();
    assert!(Stream::decode(&mut Reader::new(&head)).is_err());
    let chunk = [&[9, 0, 0, 0, 9, 1, 0, 0, 1, 1, 0, 9, 0][..], &huge, &[0, 0], &huge, &huge].concat();
    assert!(Stream::decode(&mut Reader::new(&chunk)).is_err());
}

#[test]
fn a_clone_keeps_what_it_had() {
    let mut rng = Rng::new(5);
    let mut stream = worn(&mut rng, 2000);
    let kept = stream.clone();
    let before = (sum(&kept), image(&kept));
    for ms in 3000..4000 {
        stream.add(id(ms), &[b"a", b"b"]);
        let first = stream.log().first();
        first.map(|id| stream.remove(id));
        stream.change_group(b"g", |_, group| disturb(&mut rng, group, ms));
        stream.producers_mut().record(b"p1", &ms.to_le_bytes(), id(ms), ms);
    }
    assert_eq!((sum(&kept), image(&kept)), before);
    assert_ne!(sum(&stream), before.0);
}

#[test]
fn what_is_counted_is_what_is_taken() {
    let mut stream = Stream::default();
    let empty = stream.bytes();
    for ms in 1..=1000 {
        stream.add(id(ms), &[b"temperature", b"21.5", b"humidity", b"40"]);
    }
    // Two values and their lengths, an ID and its marks: the names stand there once in a hundred entries.
    let each = (stream.bytes() - empty) / 1000;
    assert!((12..20).contains(&each), "{each} bytes of an entry");
    stream.add_group(b"g", Group::new(Id::MIN, None));
    stream.change_group(b"g", |_, group| {
        let consumer = group.add_consumer(b"c", 0);
        (1..=1000).for_each(|ms| group.assign(id(ms), consumer, 0, 1));
    });
    let pending = (stream.bytes() - empty) / 1000 - each;
    assert!((50..80).contains(&pending), "{pending} bytes of a pending entry");
    stream.remove_group(b"g");
    stream.trim(Trim { keep: Keep::Newest(0), approximate: false, most: None });
    assert_eq!(stream.bytes(), empty);
}

#[test]
fn deleted_entries_are_thrown_away() {
    let mut stream = Stream::default();
    (1..=100).for_each(|ms| stream.add(id(ms), &[b"f", &[b'x'; 20]]));
    let full = stream.bytes();
    (1..=90).for_each(|ms| assert!(stream.remove(id(ms))));
    assert!(stream.bytes() < full / 2, "{} of {full}", stream.bytes());
    assert_eq!(stream.log().chunk_count(), 1);
    assert_eq!(stream.log().range(Id::MIN, Id::MAX).count(), 10);
}

#[test]
fn marks_can_lead_back_to_what_is_free() {
    let mut stream = Stream::default();
    stream.add(id(5), &[b"a", b"b"]);
    stream.add(id(9), &[b"a", b"b"]);
    stream.remove(id(9));
    stream.set_marks(Marks { last: id(6), added: None, deleted_max: None });
    stream.add(id(7), &[b"a", b"b"]);
    stream.add(id(9), &[b"a", b"c"]);
    let ids: Vec<u64> = stream.log().range(Id::MIN, Id::MAX).map(|entry| entry.id.ms).collect();
    assert_eq!(ids, [5, 7, 9]);
    let object = Object::from(stream);
    let mut out = Vec::new();
    object.encode_part(0, &mut out);
    object.encode_part(1, &mut out);
    assert!(Object::decode(&mut Reader::new(&out)).is_ok());
}
