//! File systems that don't answer: what waits for them holds up nobody else.

mod support;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use support::Folder;
use support::gateway::{Gateway, Upstream, service};
use support::tls::Authority;

/// A file that takes for ever, as long as nobody is at its other end.
fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo is there").success());
}

/// The other end, once somebody waits to read: he goes on waiting until something is written.
fn await_reader(path: &Path) -> File {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("flags are small");
    let begun = Instant::now();
    loop {
        match OpenOptions::new().write(true).custom_flags(flags).open(path) {
            Ok(pipe) => return pipe,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(30), "nobody reads: {error}"),
        }
    }
}

#[test]
fn a_file_that_is_read_for_ever_holds_up_no_operator_and_no_end() {
    let (upstream, folder) = (Upstream::start("a"), Folder::new("hangs"));
    let gateway = Gateway::before(&[&upstream]);
    let pipe = gateway.file.with_file_name("ca.pem");
    make_pipe(&pipe);
    gateway.rewrite(&service(&[&upstream], "tls = { ca = \"ca.pem\", server_name = \"app.test\" }\n"));
    let mut writer = await_reader(&pipe);
    let list = "/v1/gateway/services/app/endpoints";
    assert_eq!(gateway.admin("POST", list, "{\"address\":\"127.0.0.1:9\"}").status, 200);
    assert_eq!(gateway.admin("DELETE", &format!("{list}/127.0.0.1:9"), "").status, 200);
    gateway.signal("-HUP");
    let late = gateway.admin("POST", "/v1/gateway:reload", "");
    assert!(late.status == 504 && late.body.contains("still being read"), "{late:?}");
    assert_eq!(gateway.get("/x").status, 200, "it goes by the old file");
    // The file system goes on, and so does the gateway; with what came meanwhile, it reads again.
    let authority = Authority::new(folder.path(), "ca");
    writer.write_all(&std::fs::read(&authority.file).expect("it is there")).expect("it is read");
    drop(writer);
    gateway.until("it goes by the file", |_| gateway.admin("GET", "/v1/gateway", "").body.contains("\"reloads\":1"));
    let _writer = await_reader(&pipe);
    gateway.signal("-TERM");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_log_that_takes_no_lines_holds_up_no_end() {
    let upstream = Upstream::start("a");
    let rest = format!("access_log = \"access.log\"\n{}", service(&[&upstream], ""));
    let gateway = Gateway::start(&rest);
    assert_eq!(gateway.get("/x").status, 200);
    let log = gateway.file.with_file_name("access.log");
    std::fs::remove_file(&log).expect("it is there");
    make_pipe(&log);
    gateway.signal("-HUP");
    assert_eq!(gateway.admin("POST", "/v1/gateway:reload", "").status, 200);
    for _ in 0..10 {
        assert_eq!(gateway.get("/x").status, 200);
        gateway.signal("-HUP");
    }
    gateway.signal("-TERM");
    assert_eq!(gateway.wait().code(), Some(0));
}
