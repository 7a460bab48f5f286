//! tmp
use fuzz::*;
#[test]
fn valid_ones() {
    let mut rng = base::rng::Rng::new(9);
    let mut ok = [0; 32]; let mut bad = [0; 32];
    for _ in 0..2000 {
        let body = restore::valid_restore(&mut rng);
        let kind = body[0] as usize;
        let mut keyspace = data::Keyspace::new((1, 2));
        keyspace.advance(base::Stamp(1000), base::Index(1));
        let data::command::Run::Write(run) = data::command::find(b"restore").unwrap().run else { panic!() };
        match run(&mut keyspace, &data::Context::new(0, base::Stamp(1000)), &[b"restore", b"k", b"0", &data::command::dump::sealed(body)]) { Ok(_) => ok[kind] += 1, Err(_) => bad[kind] += 1 }
    }
    println!("ok {ok:?} bad {bad:?}");
    let t = TARGETS.iter().find(|t| t.name == "restore").unwrap();
    drive(t, 77, 60000);
}
