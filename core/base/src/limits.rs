//! Every cap in one place, with its unit, related to the others at compile time.

/// The largest bulk string that a client may send, as Redis' `proto-max-bulk-len`.
pub const BULK_BYTES_MAX: usize = 512 * MIB;
/// The most arguments that one command may have, as in Redis.
pub const ARGS_COUNT_MAX: usize = 1024 * 1024;
/// The most members that one command may draw by chance with repetition, where Redis would go on until its memory ends.
pub const PICKS_COUNT_MAX: usize = 1024 * 1024;
/// The longest inline command and the longest line of a header, as in Redis.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// The largest request as a whole; one value of the largest size and its command fit.
pub const REQUEST_BYTES_MAX: usize = 1024 * MIB;
/// What an unauthenticated client may send in one bulk string.
pub const BULK_BYTES_UNAUTHENTICATED_MAX: usize = 16 * 1024;
/// How many arguments an unauthenticated client may send.
pub const ARGS_COUNT_UNAUTHENTICATED_MAX: usize = 10;
/// A connection that holds this much output gets no more replies made, and none of its requests served.
pub const OUT_BYTES_SOFT: usize = 64 * 1024;
/// Commands queued by MULTI on one connection.
pub const QUEUED_COMMANDS_MAX: usize = 1024 * 1024;
/// Databases per node, as Redis' default.
pub const DATABASE_COUNT: u8 = 16;
/// The largest database count a file may claim.
pub const SHARD_COUNT_MAX: u16 = 1024;
/// The most nodes of a cluster, and of a ring.
pub const NODE_COUNT_MAX: u16 = 1024;
/// The most replicas of a shard; any number of them can vote.
pub const REPLICA_COUNT_MAX: u8 = 7;
/// The most seats of a node on a bounded ring, in percent of the mean.
pub const LOAD_PERCENT_MAX: usize = 110;
/// A log entry is closed when it has reached this size; one larger command makes a larger entry.
pub const ENTRY_BYTES_SOFT: usize = MIB;
/// The largest log entry: one request and its frame.
pub const ENTRY_BYTES_MAX: usize = REQUEST_BYTES_MAX + MIB;
/// The largest string value, as in Redis.
pub const STRING_BYTES_MAX: usize = 512 * MIB;
/// The lengths of the two strings of LCS, multiplied: what a lane does in a second or less, and some 32 MB of bits.
pub const LCS_CELLS_MAX: usize = 1 << 28;
/// Buckets of the WATCH table of each shard.
pub const WATCH_BUCKET_COUNT: usize = 65_536;
/// Dead keys that one applied entry may remove besides its own work.
pub const EXPIRED_PER_ENTRY_MAX: usize = 64;
/// The longest name of a client in an id of ONCE.
pub const ONCE_CLIENT_BYTES_MAX: usize = 64;
/// An outcome is kept so long, unless [`ONCE_OUTCOME_COUNT_MAX`] or [`ONCE_REPLIES_BYTES_MAX`] is reached.
pub const ONCE_KEPT_MS: u64 = 10 * 60 * 1000;
/// How long after its last outcome's time a client's floor is known.
pub const ONCE_FLOOR_MS: u64 = 24 * 60 * 60 * 1000;
/// Outcomes that a shard keeps.
pub const ONCE_OUTCOME_COUNT_MAX: usize = 1024 * 1024;
/// The largest reply that is kept with an outcome.
pub const ONCE_REPLY_BYTES_MAX: usize = 64 * 1024;
/// All replies that a shard keeps with outcomes.
pub const ONCE_REPLIES_BYTES_MAX: usize = 64 * MIB;
/// Clients whose ids a shard knows.
pub const ONCE_CLIENT_COUNT_MAX: usize = 1024 * 1024;
/// The longest name of a lock that a fence is of.
pub const FENCE_LOCK_BYTES_MAX: usize = 512;
/// Fences that one command or transaction may stand under.
pub const FENCES_PER_CALL_MAX: usize = 16;
/// Locks whose floors a shard knows by their names.
pub const FENCE_FLOOR_COUNT_MAX: usize = 65_536;
/// All names of locks that a shard knows.
pub const FENCE_FLOORS_BYTES_MAX: usize = 8 * MIB;
/// Calls that wait in a shard.
pub const WAIT_COUNT_MAX: usize = 1024 * 1024;
/// How long it is known what a call that may wait was answered, unless its connection asks for something else.
pub const WAIT_ANSWER_KEPT_MS: u64 = 10 * 60 * 1000;
/// The largest answer that is kept so.
pub const WAIT_ANSWER_BYTES_MAX: usize = MIB;
/// All answers that a shard keeps so.
pub const WAIT_ANSWERS_BYTES_MAX: usize = 64 * MIB;
/// What the checker of histories may remember of one piece before it gives the piece up: some millions of configurations.
pub const CHECK_BYTES_MAX: usize = 1024 * MIB;
/// The longest line of a history: one operation, its arguments and its result, each as large as a request at most.
pub const HISTORY_LINE_BYTES_MAX: usize = 2 * REQUEST_BYTES_MAX;
/// A piece of a snapshot on its way to another node; whole pages of its file.
pub const SNAPSHOT_PIECE_BYTES_MAX: usize = 256 * 1024;
/// All scripts that a shard keeps, in bytes: the oldest are forgotten.
pub const SCRIPT_BYTES_MAX: usize = 16 * MIB;
/// All libraries of functions that a shard keeps, in bytes.
pub const FUNCTION_BYTES_MAX: usize = 16 * MIB;
/// All that one script may do, as the bytes of its commands.
pub const EFFECTS_BYTES_MAX: usize = 64 * MIB;
/// Channels, patterns or shard channels that one client may listen to.
pub const SUBSCRIPTIONS_MAX: usize = 1024 * 1024;
/// How long one who fills a key may take, unless GETFILL says otherwise, and at most.
pub const FILL_LEASE_MS: u64 = 5_000;
pub const FILL_LEASE_MS_MAX: u64 = 60 * 60 * 1000;
/// By how much of it chance may shorten a filled value's life.
pub const FILL_JITTER_PERCENT_MAX: u8 = 100;
/// The longest key of the memcached protocol.
pub const MEMCACHED_KEY_BYTES_MAX: usize = 250;
/// The longest line of the memcached protocol, but for a list of keys.
pub const MEMCACHED_LINE_BYTES_MAX: usize = 2048;
/// The longest list of keys, with its command.
pub const MEMCACHED_KEYS_BYTES_MAX: usize = 64 * 1024;
/// The largest value that the memcached protocol may set; memcached's own default is 1 MiB.
pub const MEMCACHED_VALUE_BYTES_MAX: usize = 64 * MIB;
/// The longest name of a lock.
pub const LOCK_NAME_BYTES_MAX: usize = 512;
/// The longest name of a lock's owner.
pub const LOCK_OWNER_BYTES_MAX: usize = 256;
/// The longest id of a lock's request.
pub const LOCK_ID_BYTES_MAX: usize = 64;
/// Who may hold one lock at once, by shares or permits.
pub const LOCK_HOLDER_COUNT_MAX: usize = 64;
/// Grants that are made ahead for those who wait for a lock.
pub const LOCK_LINE_COUNT_MAX: usize = 32;
/// The shortest lease: below it, a sync and a round may take longer.
pub const LOCK_TTL_MS_MIN: u64 = 10;
/// The longest lease; who wants longer renews.
pub const LOCK_TTL_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// The longest wait for a lock.
pub const LOCK_WAIT_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Requests that wait for one lock at its home.
pub const LOCK_WAITER_COUNT_MAX: usize = 16 * 1024;
/// Registers that a node keeps; a sweep makes room.
pub const LOCK_COUNT_MAX: usize = 8 * 1024 * 1024;
/// Names for which a home keeps what it knows between requests.
pub const LOCK_HOME_COUNT_MAX: usize = 128 * 1024;
/// Locks that one LOCK.LIST may show.
pub const LOCK_LIST_COUNT_MAX: usize = 10_000;
/// Locks that one LOCK.LIST looks at: one lane does nothing else meanwhile.
pub const LOCK_LIST_LOOKS_MAX: usize = 100_000;
/// Tokens that a node's block has at least: more than it gives out while the next one is on its way.
pub const LOCK_BLOCK_COUNT: u64 = 1 << 20;
/// Idle locks that one question of a sweep names.
pub const LOCK_SWEEP_COUNT_MAX: usize = 256;
/// One mebibyte in bytes.
pub const MIB: usize = 1024 * 1024;

const _: () =
    assert!(BULK_BYTES_MAX < REQUEST_BYTES_MAX, "a request holds at least one bulk string of the largest size");
const _: () = assert!(STRING_BYTES_MAX <= BULK_BYTES_MAX, "what can be stored can be sent in one piece");
const _: () = assert!(EFFECTS_BYTES_MAX + ENTRY_BYTES_SOFT < ENTRY_BYTES_MAX, "what a script does fits an entry");
const _: () = assert!(ENTRY_BYTES_SOFT < ENTRY_BYTES_MAX, "an entry closes before it is full");
const _: () = assert!(SNAPSHOT_PIECE_BYTES_MAX.is_multiple_of(4096), "pieces are written past the page cache");
const _: () = assert!(WATCH_BUCKET_COUNT.is_power_of_two(), "a bucket is the low bits of a hash");
const _: () = assert!(ONCE_REPLY_BYTES_MAX * 64 < ONCE_REPLIES_BYTES_MAX, "one reply pushes few others out");
const _: () = assert!(
    FENCE_LOCK_BYTES_MAX * FENCES_PER_CALL_MAX * 16 <= FENCE_FLOORS_BYTES_MAX,
    "what one command comes under pushes few others out"
);
const _: () = assert!(FENCE_LOCK_BYTES_MAX == LOCK_NAME_BYTES_MAX, "each lock can be fenced by its name");
const _: () = assert!(FENCES_PER_CALL_MAX < FENCE_FLOOR_COUNT_MAX, "all that a command comes under is known behind it");
const _: () = assert!(FILL_LEASE_MS <= FILL_LEASE_MS_MAX, "the default may be asked for");
const _: () = assert!(MEMCACHED_VALUE_BYTES_MAX <= STRING_BYTES_MAX, "what can be sent can be stored");
const _: () = assert!(WAIT_ANSWER_BYTES_MAX * 16 <= WAIT_ANSWERS_BYTES_MAX, "one answer pushes few others out");
const _: () = assert!(ONCE_KEPT_MS < ONCE_FLOOR_MS, "a floor outlives the outcomes that it stands for");
