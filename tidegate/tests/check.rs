//! `tidegate check` on real files: its verdicts, its exit codes, and what it says of a file that is no history.

mod support;

use std::process::{Command, Output};
use support::Folder;

const GOOD: &str = r#"{"client":"a","op":"SET","key":"x","args":["1"],"result":"OK","invoke_ns":0,"return_ns":10}
{"client":"b","op":"SET","key":"x","args":["2"],"result":null,"invoke_ns":5,"return_ns":null}
{"client":"b","op":"GET","key":"x","args":[],"result":"2","invoke_ns":20,"return_ns":30}
"#;
const GONE: &str = r#"{"client":"a","op":"GET","key":"x","args":[],"result":"1","invoke_ns":40,"return_ns":50}
"#;

fn check(history: &str, options: &[&str]) -> Output {
    let folder = Folder::new("check");
    let file = folder.path().join("history.jsonl");
    std::fs::write(&file, history).expect("a history can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("check").arg(&file).args(options).output().expect("the binary starts")
}

#[test]
fn a_verdict_is_an_exit_code_and_a_text() {
    let good = check(GOOD, &[]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let bad = check(&format!("{GOOD}{GONE}"), &[]);
    let text = String::from_utf8_lossy(&bad.stdout);
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    assert!(text.contains("GET x") && text.contains("SET x 2"), "{text}");
}

#[test]
fn a_verdict_can_be_read_by_programs() {
    let bad = check(&format!("{GOOD}{GONE}"), &["--json"]);
    let document: serde_json::Value = serde_json::from_slice(&bad.stdout).expect("it is JSON");
    assert_eq!(document["verdict"], "violation", "{document}");
}

#[test]
fn what_is_no_history_is_said_with_its_line() {
    let none = check("", &[]);
    assert_eq!(none.status.code(), Some(2), "{none:?}");
    let torn = check(&format!("{GOOD}{{\"client\":"), &[]);
    let text = String::from_utf8_lossy(&torn.stderr);
    assert!(torn.status.code() == Some(2) && text.contains("history.jsonl:4:"), "{text}");
}
