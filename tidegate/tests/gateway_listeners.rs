//! Several listeners: all are served, and a restart hands over those that the file still has.

mod support;

use support::gateway::{Gateway, Raw, Upstream, service};

fn addresses(gateway: &Gateway) -> Vec<String> {
    gateway.http.split(',').map(str::to_owned).collect()
}

fn get(address: &str) -> u16 {
    Raw::connect(address).ask("GET /x HTTP/1.1\r\nHost: a\r\n\r\n").status
}

#[test]
fn all_listeners_are_served_and_told() {
    let upstream = Upstream::start("a");
    let more = "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n";
    let gateway = Gateway::start(&format!("{more}{}", service(&[&upstream], "")));
    let addresses = addresses(&gateway);
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    for address in &addresses {
        assert_eq!(get(address), 200, "{address}");
    }
}

#[test]
fn a_new_process_takes_what_it_still_wants_and_makes_what_is_new() {
    let upstream = Upstream::start("a");
    let services = service(&[&upstream], "");
    let any = "[[listener]]\naddress = \"127.0.0.1:0\"\n";
    let old = Gateway::start_in_turn(&format!("{any}{services}"));
    let before = addresses(&old);
    // The second one is named by its address, the first one is gone, and one is new.
    let text = std::fs::read_to_string(&old.file).expect("there is a file");
    let named = any.replace("127.0.0.1:0", &before[1]);
    let listen = "listen = \"127.0.0.1:0\"\n";
    assert!(text.contains(listen) && text.contains(any));
    std::fs::write(&old.file, text.replace(listen, "").replace(any, &format!("{named}{any}"))).expect("it can be");
    let new = old.successor();
    let after = addresses(&new);
    assert_eq!(after[0], before[1], "{before:?} {after:?}");
    // Where any port will do, one that was handed over does.
    assert_eq!(after[1], before[0]);
    assert!(old.wait().success(), "the old one has nothing left to do");
    for address in &after {
        assert_eq!(get(address), 200, "{address}");
    }
}

#[test]
fn who_reads_slowly_reads_all_of_it() {
    // Behind 200 ms a connection is idle. One whose client has not yet taken the last of its response is not.
    let upstream = Upstream::start("a");
    let gateway = Gateway::start(&service(
        &[&upstream],
        "response = \"3s\"\nadmission = { limit = \"off\" }\n[timeouts]\nidle = \"200ms\"\n",
    ));
    // The kernel takes what it likes to: of one of these responses, the last bytes are left to the gateway.
    let sizes = || (0..100).map(|n| n * 48 * 1024);
    let mut clients: Vec<Raw> = sizes().map(|_| gateway.connect()).collect();
    for (client, bytes) in clients.iter_mut().zip(sizes()) {
        client.send(format!("GET /bytes/{bytes} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    // This one's time is over behind that of an idle connection, and of its end.
    let answer = gateway.connect().ask("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.error().as_str()), (504, "response_late"));
    for (client, bytes) in clients.iter_mut().zip(sizes()) {
        assert_eq!(client.answer(false).body.len(), bytes);
        assert!(client.ends(), "it is idle then");
    }
}

#[test]
fn a_handover_that_cant_be_offered_is_told_before_the_old_process_goes() {
    let upstream = Upstream::start("a");
    let old = Gateway::start_in_turn(&service(&[&upstream], ""));
    let folder = old.file.parent().expect("it is in a folder").to_owned();
    // The place that the socket is made at is taken by what can't be removed.
    std::fs::create_dir_all(folder.join("handover.sock.new/x")).expect("it can be made");
    let told = old.successor_fails();
    assert!(told.contains("gateway.handover") && told.contains("handover.sock.new"), "{told}");
    assert_eq!(get(&old.http), 200, "it serves as before");
}
