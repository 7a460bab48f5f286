//! The protocol by scripts: what is told in `scripts/*.txt` is what the replicas say today.
//!
//! `REWRITE=1 cargo test -p sim --test scripts` writes the files anew, for review. With the feature `mutations`, scripts
//! that show a rule at work must tell another story once the rule is broken.

use sim::script::play;
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn scripts_tell_what_replicas_say() {
    let folder = std::fs::read_dir(path("")).expect("there are scripts");
    let names: Vec<String> =
        folder.map(|entry| entry.expect("a name").file_name().to_string_lossy().into_owned()).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        let (script, played) = (text(&name), play(&text(&name)));
        if std::env::var_os("REWRITE").is_some() {
            std::fs::write(path(&name), played).expect("the file can be written");
            continue;
        }
        let differs = script.lines().zip(played.lines()).position(|(told, said)| told != said);
        assert!(
            script == played,
            "{name} tells another story from line {} on:\n{played}",
            differs.unwrap_or_else(|| script.lines().count().min(played.lines().count())) + 1
        );
    }
}

#[cfg(feature = "mutations")]
#[test]
fn a_broken_rule_changes_the_story() {
    use base::mutation::{self, Mutation};
    for (name, broken) in [
        ("commit_through_own_term.txt", Mutation::CommitOldTermDirectly),
        ("restarted_voter_waits.txt", Mutation::NoQuarantine),
        ("lease_ends_before_transfer.txt", Mutation::LeaseKeptInTransfer),
        ("second_change_waits.txt", Mutation::SecondChangeUnwaited),
    ] {
        let script = text(name);
        assert_eq!(play(&script), script, "{name}");
        mutation::set(Some(broken));
        let story = std::panic::catch_unwind(|| play(&script));
        mutation::set(None);
        assert!(story.is_err() || story.is_ok_and(|story| story != script), "{name} doesn't notice {broken:?}");
    }
}
