//! What there is to know of calls that wait.

use super::super::{group_of, narrowed, wait_ms, with_ids_resolved};
use super::World;
use crate::command::find;

fn words(text: &str) -> Vec<&[u8]> {
    text.split(' ').map(str::as_bytes).collect()
}

fn text<'a>(words: impl IntoIterator<Item = &'a [u8]>) -> String {
    words.into_iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_call_says_how_long_it_wants_to_wait() {
    assert_eq!(wait_ms(&words("XREAD BLOCK 50 STREAMS s $")), Some(50));
    assert_eq!(wait_ms(&words("XREADGROUP GROUP g c COUNT 1 BLOCK 0 STREAMS s >")), Some(0));
    assert_eq!(wait_ms(&words("XREAD STREAMS s $")), None);
    assert_eq!(wait_ms(&words("XREAD BLOCK -5 STREAMS s $")), None);
    assert_eq!(group_of(&words("XREADGROUP GROUP g c STREAMS s >")), Some(b"g".as_slice()));
    assert_eq!(group_of(&words("XREAD STREAMS s 5")), None);
}

#[test]
fn a_call_that_waits_is_settled_and_narrowed() {
    let world = World::after("XADD s 5-3 a b");
    let settled = |call: &str| {
        let settled = with_ids_resolved(&words(call), &world.keyspace, &world.cx());
        text(settled.iter().map(Vec::as_slice))
    };
    assert_eq!(settled("XREAD BLOCK 0 STREAMS s t u $ $ 7"), "XREAD BLOCK 0 COUNT 1000 STREAMS s t u 5-3 0-0 7");
    assert_eq!(settled("XREAD COUNT 5 BLOCK 0 STREAMS s $"), "XREAD COUNT 5 BLOCK 0 STREAMS s 5-3");
    let group = "XREADGROUP GROUP g c COUNT 1 STREAMS s >";
    assert_eq!(settled(group), group);
    let narrow = |call: &str, key: &str| text(narrowed(&words(call), key.as_bytes()));
    assert_eq!(narrow("XREAD BLOCK 0 COUNT 9 STREAMS s t u 5 6 7", "t"), "XREAD BLOCK 0 COUNT 9 STREAMS t 6");
    assert_eq!(narrow("XREADGROUP GROUP g c STREAMS s t > >", "s"), "XREADGROUP GROUP g c STREAMS s >");
}

#[test]
fn keys_are_found_between_the_options_and_the_ids() {
    let keys = |call: &str| {
        let args = words(call);
        let command = find(args[0]).expect("a command");
        text(command.keys.positions(&args).map(|at| args[at]))
    };
    assert_eq!(keys("XREAD COUNT 2 BLOCK 0 STREAMS a b 1 2"), "a b");
    assert_eq!(keys("XREADGROUP GROUP streams noack NOACK STREAMS a >"), "a");
    assert_eq!(keys("XREAD COUNT STREAMS STREAMS a 1"), "a");
    assert_eq!(keys("XREAD STREAMS a b 1"), "");
    assert_eq!(keys("XREAD FOO STREAMS a 1"), "");
    assert_eq!(keys("XGROUP CREATE s g 0"), "s");
    assert_eq!(keys("XGROUP HELP"), "");
    assert_eq!(keys("XINFO STREAM s FULL"), "s");
}
