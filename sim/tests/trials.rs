//! A trial leaves no trace: whatever commands are tried out on a shard's state, what can be seen of it is afterwards what it
//! was, in the middle of a snapshot too; and what an entry does in a trial is what it does when it is applied.

use base::rng::Rng;
use base::{Index, Stamp};
use data::keyspace::Listening;
use data::once::Id;
use data::shard::EntryWriter;
use data::{Effects, Keyspace, Run, ShardState, Trial, command};
use sim::workload::{DATABASES, Habits, Workload};

/// A state and its twin, which sees the same entries and no trial.
struct Pair {
    rng: Rng,
    workload: Workload,
    tried: ShardState,
    twin: ShardState,
    index: u64,
    stamp: u64,
    ids: u64,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let habits = Habits {
            cross_one_in: 4,
            large_one_in: 6,
            large_bytes_max: 5_000,
            flush_one_in: 25,
            ttl_ms_max: 60,
            multi_one_in: 10,
        };
        let mut pair = Self {
            rng: Rng::new(seed),
            workload: Workload::new(habits),
            tried: ShardState::default(),
            twin: ShardState::default(),
            index: 0,
            stamp: sim::world::WALL_START_MS,
            ids: 0,
        };
        let all = Listening { events: true, changes: true, misses: true };
        pair.tried.cut().listen(all);
        pair.twin.cut().listen(all);
        let genesis = data::shard::genesis(Stamp(pair.stamp), (seed, !seed));
        pair.apply(&genesis);
        pair
    }

    fn draw(&mut self) -> (u8, Vec<Vec<u8>>) {
        let db = u8::try_from(self.rng.below(u64::from(DATABASES))).expect("few databases");
        let asked = self.workload.draw(&mut self.rng, db, None, true);
        (asked.db, asked.words)
    }

    /// A few plain commands, some under an id, some in a transaction.
    fn entry(&mut self, commands: u64) -> EntryWriter {
        let mut entry = EntryWriter::default();
        for _ in 0..commands {
            let (db, words) = self.draw();
            let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let row = command::find(args[0]).expect("a command");
            if !row.accepts(args.len()) || !is_plain(row) {
                continue;
            }
            let writes = matches!(row.run, Run::Write(_));
            if writes && self.rng.one_in(4) {
                self.ids += 1;
                let seq = if self.rng.one_in(3) { 1 + self.rng.below(self.ids) } else { self.ids };
                entry.once(Id { client: b"c", seq }, 1 + self.rng.below(200));
            }
            if writes && self.rng.one_in(6) {
                let (bucket, revision) = self.twin.keyspace().watched(db, args[1]);
                let watched = [data::Watched { shard: base::ShardId(0), bucket, revision, dies_at: None }];
                entry.exec(&watched, [(db, row, args.clone()), (db, row, args)].into_iter());
            } else {
                entry.command(db, row, &args);
            }
        }
        entry
    }

    fn apply(&mut self, entry: &[u8]) {
        self.index += 1;
        let (mut one, mut other) = (Vec::new(), Vec::new());
        self.tried.apply(Index(self.index), entry, |reply| one.push(reply)).expect("an entry is read");
        self.twin.apply(Index(self.index), entry, |reply| other.push(reply)).expect("an entry is read");
        assert_eq!(one, other, "replies are equal");
        let (tried, twin) = (self.tried.cut(), self.twin.cut());
        assert_eq!(tried.take_notices(), twin.take_notices(), "equal things are told of keys");
        assert_eq!(tried.take_changes(), twin.take_changes());
        self.is_like_its_twin();
    }

    fn is_like_its_twin(&self) {
        let (tried, twin) = (self.tried.keyspace(), self.twin.keyspace());
        assert_eq!(tried.digest(), twin.digest(), "the states are equal");
        assert_eq!(tried.next_expiry(), twin.next_expiry());
        for db in 0..DATABASES {
            for key in sim::workload::keys() {
                assert_eq!(tried.watched(db, &key), twin.watched(db, &key), "WATCH sees the same of a key");
            }
            assert_eq!((tried.len(db), tried.expiring(db)), (twin.len(db), twin.expiring(db)));
        }
    }

    /// Tries an entry, and what a script may do behind it, in vain.
    fn try_in_vain(&mut self) {
        let commands = self.rng.below(6);
        let entry = self.entry(commands);
        let state = std::mem::take(&mut self.tried);
        let stamp = Stamp(self.stamp + self.rng.below(100));
        let mut trial = Trial::of_entry(state, Index(self.index + 1), stamp);
        trial.follow(&entry, 0);
        self.script(&mut trial, &mut Effects::default());
        let before = trial.keyspace().digest();
        let mark = trial.mark();
        self.script(&mut trial, &mut Effects::default());
        if self.rng.one_in(2) {
            trial.back_to(mark);
            assert_eq!(trial.keyspace().digest(), before, "a part is taken back");
            self.script(&mut trial, &mut Effects::default());
        }
        self.tried = trial.end();
        self.is_like_its_twin();
    }

    /// Writes as a script makes them.
    fn script(&mut self, trial: &mut Trial, effects: &mut Effects) {
        for _ in 0..self.rng.below(12) {
            let (db, words) = self.draw();
            let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let row = command::find(args[0]).expect("a command");
            if row.accepts(args.len()) && row.is_write() && is_plain(row) && trial.write(db, row, &args).1 {
                effects.push(db, row, &args);
            }
        }
    }

    /// Tries an entry with a script behind plain commands, and applies it.
    fn try_and_apply(&mut self) {
        let commands = self.rng.below(6);
        let mut entry = self.entry(commands);
        self.stamp += self.rng.below(30);
        let state = std::mem::take(&mut self.tried);
        let mut trial = Trial::of_entry(state, Index(self.index + 1), Stamp(self.stamp));
        trial.follow(&entry, 0);
        let mut effects = Effects::default();
        if !trial.is_closed() {
            self.script(&mut trial, &mut effects);
            entry.effects(&effects);
        }
        let foreseen: Vec<_> = keys(trial.keyspace());
        let closed = trial.is_closed();
        self.tried = trial.end();
        let entry = entry.finish(Stamp(self.stamp));
        self.apply(&entry);
        assert!(closed || keys(self.tried.keyspace()) == foreseen, "what was tried is what is done");
        // To look at keys is no command.
        self.tried.keyspace().take_all_misses();
    }
}

/// What can be logged as it is.
fn is_plain(row: &data::Command) -> bool {
    matches!(row.run, Run::Read(_) | Run::Write(_) | Run::Scatter(_))
}

/// All that commands can see.
fn keys(keyspace: &Keyspace) -> Vec<(u8, Vec<u8>, String)> {
    let mut all = Vec::new();
    for db in 0..DATABASES {
        let cx = data::Context::new(db, keyspace.applied_stamp());
        for key in sim::workload::keys() {
            let Some(live) = keyspace.get(&cx, &key) else { continue };
            let Run::Read(dump) = command::find(b"dump").expect("a command").run else { panic!("DUMP reads") };
            let seen = dump(keyspace, &cx, &[b"dump", &key]).expect("DUMP takes any key");
            all.push((db, key.clone(), format!("{seen:?} {:?}", live.expire_at)));
        }
    }
    all
}

#[test]
fn a_trial_leaves_no_trace_and_foresees_what_apply_does() {
    for seed in 0..12 {
        let mut pair = Pair::new(seed);
        for _ in 0..40 {
            match pair.rng.below(3) {
                0 => pair.try_in_vain(),
                _ => pair.try_and_apply(),
            }
        }
    }
}

#[test]
fn a_trial_disturbs_no_snapshot() {
    for seed in 1000..1008 {
        let mut pair = Pair::new(seed);
        for _ in 0..30 {
            pair.try_and_apply();
        }
        let at_cut = pair.tried.keyspace().digest();
        pair.tried.cut().begin_cut();
        let mut image = Vec::new();
        loop {
            pair.try_in_vain();
            if pair.rng.one_in(3) {
                pair.try_and_apply();
            }
            let keyspace = pair.tried.cut();
            let done = keyspace.cut_slice(600);
            while let Some((bytes, _)) = keyspace.cut_output() {
                image.extend_from_slice(&bytes);
            }
            if done && keyspace.cut_is_drained() {
                break;
            }
        }
        assert_eq!(Keyspace::load(&image).unwrap().digest(), at_cut, "seed {seed}");
    }
}
