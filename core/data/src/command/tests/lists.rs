//! Lists: what each command answers.

use super::Bench;

#[test]
fn members_go_in_and_out_at_both_ends() {
    Bench::new().play(
        "lpop l => nil
         lpop l 0 => nil-array
         rpop l 2 => nil-array
         lpushx l a => 0
         rpush l a b c => 3
         lpush l 1 2 => 5
         lrange l 0 -1 => [2 1 a b c]
         rpushx l d => 6
         lpushx l 007 => 7
         llen l => 7
         lpop l => 007
         lpop l 2 => [2 1]
         rpop l 0 => []
         rpop l 2 => [d c]
         rpop l -1 => !ERR value is out of range, must be positive
         rpop l x => !ERR value is out of range, must be positive
         lpop l 1 1 => !ERR wrong number of arguments for 'lpop' command
         rpop l 9223372036854775807 => [b a]
         exists l => 0
         llen l => 0",
    );
}

#[test]
fn ranges_and_places_count_from_either_end() {
    Bench::new().play(
        "lrange l 0 -1 => []
         lindex l x => nil
         rpush l a b c d e => 5
         lrange l 1 3 => [b c d]
         lrange l -2 100 => [d e]
         lrange l -100 0 => [a]
         lrange l 3 1 => []
         lrange l 5 9 => []
         lrange l -9223372036854775808 9223372036854775807 => [a b c d e]
         lrange l a 1 => !ERR value is not an integer or out of range
         lindex l 0 => a
         lindex l -1 => e
         lindex l 5 => nil
         lindex l -6 => nil
         lindex l -9223372036854775808 => nil
         lindex l x => !ERR value is not an integer or out of range
         lset l 1 B => OK
         lset l -1 E => OK
         lset l 5 x => !ERR index out of range
         lset l -6 x => !ERR index out of range
         lset none x y => !ERR no such key
         ltrim l 1 -2 => OK
         lrange l 0 -1 => [B c d]
         ltrim none 0 1 => OK
         ltrim l 2 1 => OK
         exists l => 0",
    );
}

#[test]
fn members_are_found_by_what_they_are() {
    Bench::new().play(
        "linsert l before a b => 0
         lrem l 0 a => 0
         rpush l a b 1 a b 1 a => 7
         linsert l BEFORE b x => 8
         linsert l after 1 y => 9
         linsert l after zz y => -1
         linsert l near a y => !ERR syntax error
         lrange l 0 -1 => [a x b 1 y a b 1 a]
         lrem l 1 1 => 1
         lrem l -1 a => 1
         lrem l 0 b => 2
         lrem l 5 zz => 0
         lrem l x a => !ERR value is not an integer or out of range
         lrange l 0 -1 => [a x y a 1]
         lrem l -9223372036854775808 a => 2
         rpush p a b a c a => 5
         lpos p a => 0
         lpos p a rank 2 => 2
         lpos p a RANK -1 => 4
         lpos p a rank -9223372036854775808 => 4
         lpos p a rank 9 => nil
         lpos p a count 0 => [0 2 4]
         lpos p a count 2 rank -1 => [4 2]
         lpos p a count 0 maxlen 3 => [0 2]
         lpos p a count 0 maxlen 2 rank -1 => [4]
         lpos p z => nil
         lpos p z count 1 => []
         lpos none a count 1 => []
         lpos p a rank 0 => !ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list
         lpos p a count -1 => !ERR COUNT can't be negative
         lpos p a maxlen x => !ERR MAXLEN can't be negative
         lpos p a rank => !ERR syntax error
         lpos p a size 1 => !ERR syntax error",
    );
}

#[test]
fn members_move_between_lists() {
    Bench::new().play(
        "lmove l m left left => nil
         rpush l a b c => 3
         lmove l m left right => a
         lmove l l right left => c
         lrange l 0 -1 => [c b]
         rpoplpush l m => b
         lmove l m right right => c
         exists l => 0
         lrange m 0 -1 => [b a c]
         lmove m m up left => !ERR syntax error
         set s v => OK
         lmove m s left left => !WRONGTYPE Operation against a key holding the wrong kind of value
         lmove none s left left => nil
         lrange m 0 -1 => [b a c]
         lmpop 2 none m left => [m [b]]
         lmpop 2 m none RIGHT count 5 => [m [c a]]
         lmpop 1 m left => nil-array
         lmpop 2 m s left => !WRONGTYPE Operation against a key holding the wrong kind of value
         lmpop 0 m left => !ERR numkeys should be greater than 0
         lmpop x m left => !ERR numkeys should be greater than 0
         lmpop 3 m s left => !ERR syntax error
         lmpop 1 m left count 0 => !ERR count should be greater than 0
         lmpop 1 m left count x y => !ERR count should be greater than 0
         lmpop 1 m left count 1 y => !ERR syntax error
         lmpop 1 m up => !ERR syntax error",
    );
}

#[test]
fn a_list_that_moves_keeps_its_time_and_a_new_one_has_none() {
    Bench::new().play(
        "rpush l a b => 2
         expire l 100 => 1
         lmove l m left left => a
         ttl m => -1
         lset l 0 x => OK
         ttl l => 100
         rpush l y => 2
         ttl l => 100
         del l => 1
         rpush l y => 1
         ttl l => -1",
    );
}
