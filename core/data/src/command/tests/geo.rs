//! Places: replies and events as redis-server 7.0.15 gives them.

use super::*;

/// Places and searches.
const PLACES: &str = "
    geoadd g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania => 2
    geoadd g nx ch 13.361389 38.115556 Palermo => 0
    geoadd g xx ch 13.5 38.115556 Palermo 1 2 new => 1
    geoadd g 13.361389 38.115556 Palermo => 0
    geoadd g nx xx 1 2 a => !ERR syntax error
    geoadd g 1 2 => !ERR wrong number of arguments for 'geoadd' command
    geoadd g 200 2 a => !ERR invalid longitude,latitude pair 200.000000,2.000000
    geoadd g 1 86 a => !ERR invalid longitude,latitude pair 1.000000,86.000000
    geoadd g x 2 a => !ERR value is not a valid float
    geoadd g nx => !ERR wrong number of arguments for 'geoadd' command
    zscore g Palermo => 3479099956230698
    geopos g Palermo nope Catania => [[13.36138933897018433 38.11555639549629859] nil-array [15.08726745843887329 37.50266842333162032]]
    geopos no a => [nil-array]
    geodist g Palermo Catania => 166274.1516
    geodist g Palermo Catania km => 166.2742
    geodist g Palermo Catania MI => 103.3182
    geodist g Palermo nope => nil
    geodist g Palermo Catania yd => !ERR unsupported unit provided. please use M, KM, FT, MI
    geodist g Palermo Catania m x => !ERR syntax error
    geodist no a b => nil
    geohash g Palermo nope Catania => [sqc8b49rny0 nil sqdtr74hyu0]
    geosearch g fromlonlat 15 37 byradius 200 km asc => [Catania Palermo]
    geosearch g fromlonlat 15 37 byradius 200 km desc withdist withhash withcoord => [[Palermo 190.4424 3479099956230698 [13.36138933897018433 38.11555639549629859]] [Catania 56.4413 3479447370796909 [15.08726745843887329 37.50266842333162032]]]
    geosearch g fromlonlat 15 37 bybox 400 400 km asc withdist => [[Catania 56.4413] [Palermo 190.4424]]
    geosearch g frommember Palermo byradius 200 km asc count 1 => [Palermo]
    geosearch g frommember Palermo byradius 200 km count 1 any => [Palermo]
    geosearch g frommember nope byradius 200 km => !ERR could not decode requested zset member
    geosearch no frommember nope byradius 200 km => []
    geosearch g byradius 200 km asc desc asc => !ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for geosearch
    geosearch g frommember Palermo asc desc asc asc => !ERR exactly one of BYRADIUS and BYBOX can be specified for geosearch
    geosearch g frommember Palermo fromlonlat 1 2 byradius 200 km => !ERR syntax error
    geosearch g fromlonlat 1 2 byradius 200 km bybox 1 1 km => !ERR syntax error
    geosearch g fromlonlat 1 2 byradius -1 km => !ERR radius cannot be negative
    geosearch g fromlonlat 1 2 byradius x km => !ERR need numeric radius
    geosearch g fromlonlat 1 2 bybox 1 -1 km => !ERR height or width cannot be negative
    geosearch g fromlonlat 1 2 bybox x 1 km => !ERR need numeric width
    geosearch g fromlonlat 1 2 bybox 1 x km => !ERR need numeric height
    geosearch g fromlonlat 1 2 byradius 1 yd => !ERR unsupported unit provided. please use M, KM, FT, MI
    geosearch g fromlonlat 1 2 byradius 1 km any => !ERR the ANY argument requires COUNT argument
    geosearch g fromlonlat 1 2 byradius 1 km count 0 => !ERR COUNT must be > 0
    geosearch g fromlonlat 1 2 byradius 1 km storedist => !ERR syntax error
    geosearchstore d g fromlonlat 15 37 byradius 200 km => 2
    zrange d 0 -1 withscores => [Palermo 3479099956230698 Catania 3479447370796909]
    geosearchstore d g fromlonlat 15 37 byradius 200 km withdist => !ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options
    geosearchstore d g byradius 200 km asc desc asc => !ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for geosearchstore
    georadius g 15 37 200 km asc => [Catania Palermo]
    georadius g 15 37 200 km withdist desc count 1 => [[Palermo 190.4424]]
    georadius g 15 37 200 km store d => 2
    georadius g 15 37 200 km store d withdist => !ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options
    georadius_ro g 15 37 200 km store d => !ERR syntax error
    georadius_ro g 15 37 100 km => [Catania]
    georadiusbymember g Palermo 200 km asc => [Palermo Catania]
    georadiusbymember g nope 200 km => !ERR could not decode requested zset member
    georadiusbymember no nope x km => []
    georadiusbymember no nope 1 km store d => 0
    georadiusbymember_ro g Catania 1 ft => [Catania]
    exists d => 0
    set str x => OK
    geoadd str 1 2 a => !WRONGTYPE Operation against a key holding the wrong kind of value
    geopos str a => !WRONGTYPE Operation against a key holding the wrong kind of value
    geosearch str fromlonlat x 37 byradius 200 km => !WRONGTYPE Operation against a key holding the wrong kind of value
";

/// Commands and their events.
const EVENTS: &str = "
    zadd d 1 a => new:d zadd:d
    geoadd g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania => new:g zadd:g
    geoadd g nx 13.361389 38.115556 Palermo =>
    geoadd g ch 13.5 38.115556 Palermo => zadd:g
    geosearchstore d g fromlonlat 15 37 byradius 200 km => geosearchstore:d
    geosearchstore d g fromlonlat 15 37 byradius 1 km => del:d
    geosearchstore d g fromlonlat 15 37 byradius 1 km =>
    geosearchstore d g frommember Palermo bybox 400 400 km storedist => new:d geosearchstore:d
    geosearchstore d no frommember Palermo bybox 400 400 km => del:d
    georadius g 15 37 200 km =>
    georadius g 15 37 200 km store d => new:d georadiusstore:d
    georadius g 15 37 1 km store d => del:d
    georadiusbymember g Palermo 200 km storedist d => new:d georadiusstore:d
    georadiusbymember no Palermo 200 km store d => del:d
";

#[test]
fn replies_are_those_that_were_taken_down() {
    Bench::new().play(PLACES);
}

#[test]
fn events_are_those_that_were_taken_down() {
    Bench::new().play_events(EVENTS);
}

#[test]
fn the_key_that_georadius_stores_to_is_one_of_its_keys() {
    let keys = |line: &str| {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        find(words[0]).expect("a command").keys.positions(&words).collect::<Vec<_>>()
    };
    assert_eq!(keys("georadius g 1 2 3 m store d"), [1, 7]);
    assert_eq!(keys("georadius g 1 2 3 m STOREDIST d count 1 store e"), [1, 11]);
    assert_eq!(keys("georadius g store 2 3 m asc"), [1]);
    assert_eq!(keys("georadiusbymember g store 3 m storedist d"), [1, 6]);
    assert_eq!(keys("georadiusbymember g m 3 m store"), [1]);
    assert_eq!(keys("geosearchstore d g frommember m byradius 3 m"), [1, 2]);
}
