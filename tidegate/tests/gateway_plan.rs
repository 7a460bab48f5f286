//! `tidegate plan`: on paper, against the queue's own formulas; and by what a running gateway has measured. `tidegate gateway top`.

mod support;

use serde_json::Value;
use std::process::{Command, Output};
use support::gateway::{Gateway, Upstream};

fn plan(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).arg("plan").args(args).output().expect("the binary runs")
}

fn told(args: &[&str]) -> Value {
    let output = plan(&[args, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[test]
fn on_paper_it_is_the_queue_of_the_books() {
    // M/M/1 at 80 %: W is five times the service.
    let one = told(&["--rate", "80", "--service-ms", "10", "--slots-each", "1", "--mean-ms", "20"]);
    let now = &one["forecasts"][0];
    assert!((now["inside_ms"].as_f64().unwrap() - 50.0).abs() < 1e-6, "{now}");
    // Two slots at half of that load each: W is s / (1 - rho^2).
    assert_eq!(now["servers_wanted"], 2);
    let twice = &one["forecasts"][1];
    assert_eq!((twice["times"].as_f64(), twice["inside_ms"].is_null()), (Some(2.0), true), "it piles up");
    assert_eq!(twice["strains"][0]["resource"], "slots");
    assert!((twice["strains"][0]["bears_times"].as_f64().unwrap() - 1.25).abs() < 1e-6);
    let even = told(&["--rate", "80", "--service-ms", "10", "--service-cv2", "0", "--slots-each", "1"]);
    assert!((even["forecasts"][0]["wait_ms"].as_f64().unwrap() - 20.0).abs() < 1e-6, "M/D/1 waits half as long");
    assert!(even["forecasts"][0]["servers_wanted"].is_null());
}

#[test]
fn people_get_a_table_and_clear_refusals() {
    let args =
        "--rate 1700 --service-ms 20 --slots-each 8 --servers 5 --mean-ms 25 --resource db=300/500:inside --times 1,2";
    let output = plan(&args.split(' ').collect::<Vec<_>>());
    let text = String::from_utf8(output.stdout).expect("text");
    for part in ["5 servers with 8 slots each", "85.0 %", "20.78 ms", "without end", "db (at 1."] {
        assert!(text.contains(part), "{part} in {text}");
    }
    for (args, why) in [
        ("--slots-each 8", "--rate is not known: give it, or --admin"),
        ("--rate 0 --slots-each 8", "--rate is 0"),
        ("--rate 5 --service-ms 5 --slots-each 8 --throughput 1=5 --throughput 2=9", "at least three different"),
        ("--rate 5 --service-ms 5 --slots-each 8 --resource db=5", "give a name, what is used and of how much"),
        ("--rate 5 --service-ms 5 --slots-each 8 --mean-ms 0", "a target is a time above 0"),
        ("--slots-each 8 --admin 127.0.0.1:1", "127.0.0.1:1"),
    ] {
        let output = plan(&args.split(' ').collect::<Vec<_>>());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(why), "{args}: {error}");
    }
}

#[test]
fn a_running_gateway_tells_what_it_has_measured() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    let admin = ["--admin", &gateway.admin, "--slots-each", "4"];
    let nothing = plan(&admin);
    let error = String::from_utf8_lossy(&nothing.stderr);
    assert!(error.contains("has measured nothing in the last ten seconds"), "{error}");
    for _ in 0..200 {
        assert_eq!(gateway.get("/").status, 200);
    }
    let plan = told(&admin);
    assert_eq!((&plan["service"], &plan["servers"]), (&"app".into(), &1.into()));
    assert!(plan["rate_per_s"].as_f64().unwrap() > 10.0, "{plan}");
    let (measured, service) = (plan["measured"]["inside_ms"].as_f64().unwrap(), plan["service_ms"].as_f64().unwrap());
    assert!(service > 0.0 && service <= measured, "{plan}");
    let names: Vec<&str> =
        plan["forecasts"][0]["strains"].as_array().unwrap().iter().filter_map(|one| one["resource"].as_str()).collect();
    assert!(names.contains(&"slots") && names.contains(&"descriptors"), "{names:?}");
    let unknown = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["plan", "--service", "x"])
        .args(admin)
        .output()
        .expect("it runs");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("--service is one of app"));
}

#[test]
fn top_shows_a_running_gateway_once_where_there_is_no_terminal() {
    let upstream = Upstream::start("a");
    let gateway = Gateway::before(&[&upstream]);
    assert_eq!(gateway.get("/").status, 200);
    let top = |admin: &str| {
        let args = ["gateway", "top", "--admin", admin];
        Command::new(env!("CARGO_BIN_EXE_tidegate")).args(args).output().expect("the binary runs")
    };
    let shown = String::from_utf8(top(&gateway.admin).stdout).expect("text");
    for part in ["serving", "|L-λW|", "app", "active"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let nobody = top("127.0.0.1:1");
    assert!(!nobody.status.success());
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no gateway answers at 127.0.0.1:1"));
}
