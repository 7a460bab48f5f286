//! A service as its caller sees it.

use super::*;
use base::Instant;

fn endpoints(ns: &[u32], policy: Policy) -> std::sync::Arc<Endpoints> {
    let endpoint = |n: u32| Endpoint { id: EndpointId(n), weight: 1, identity: u64::from(n) * 7919 };
    Endpoints::new(ns.iter().copied().map(endpoint).collect(), policy).unwrap()
}

fn service(config: Config, ns: &[u32]) -> Service {
    let endpoints = endpoints(ns, config.policy);
    Service::new(Instant(0), config, endpoints, 1)
}

fn with(policy: Policy) -> Config {
    Config { policy, ..Config::default() }
}

const OK: Outcome = Outcome::Answered { status_class: 2, first_byte_us: 1000 };

#[test]
fn turns_go_round_and_a_removed_endpoint_drains() {
    let (now, mut out) = (Instant(0), Outbox::default());
    let mut service = service(with(Policy::RoundRobin), &[1, 2]);
    let flights: Vec<Flight> = (0..4).map(|_| service.pick(now, None, &[]).unwrap()).collect();
    assert_eq!(flights.iter().map(|flight| flight.endpoint().0).collect::<Vec<_>>(), [2, 1, 2, 1]);
    service.swap(now, endpoints(&[2], Policy::RoundRobin), &mut out);
    assert_eq!(service.views(now).map(|view| view.in_flight).collect::<Vec<_>>(), [2, 2]);
    assert!((0..4).all(|_| service.pick(now, None, &[]).unwrap().endpoint().0 == 2));
    for flight in flights {
        service.on_end(now, flight, Outcome::Cancelled, &mut out);
    }
    assert_eq!(service.views(now).map(|view| view.id.0).collect::<Vec<_>>(), [2]);
    assert_eq!(out.events, [Event::Drained(EndpointId(1))]);
}

#[test]
fn every_policy_avoids_what_is_to_be_avoided() {
    for policy in Policy::EACH {
        let (now, mut out) = (Instant(0), Outbox::default());
        let mut service = service(with(policy), &[1, 2, 3]);
        let mut seen = [0; 4];
        for key in 0..300 {
            let flight = service.pick(now, Some(key), &[EndpointId(2)]).unwrap();
            seen[flight.endpoint().0 as usize] += 1;
            service.on_end(now, flight, OK, &mut out);
        }
        assert!(seen[2] == 0 && seen[1] > 50 && seen[3] > 50, "{policy:?}: {seen:?}");
        let all = [1, 2, 3].map(EndpointId);
        assert_eq!(service.pick(now, Some(1), &all), Err(NoEndpoint::Avoided));
    }
}

#[test]
fn weights_are_shares() {
    for policy in [Policy::Weighted, Policy::Random, Policy::LeastConnections] {
        let list = [(1, 1), (2, 3)].map(|(n, weight)| Endpoint { id: EndpointId(n), weight, identity: n.into() });
        let endpoints = Endpoints::new(list.to_vec(), policy).unwrap();
        let mut service = Service::new(Instant(0), with(policy), endpoints, 1);
        let flights: Vec<Flight> = (0..400).map(|_| service.pick(Instant(0), None, &[]).unwrap()).collect();
        let of_first = flights.iter().filter(|flight| flight.endpoint().0 == 1).count();
        assert!((80..=120).contains(&of_first), "{policy:?}: {of_first}");
    }
}

#[test]
fn a_key_finds_its_endpoint_and_a_bound_moves_what_is_too_much() {
    let mut service = service(with(Policy::RingHash { bound_percent: 150 }), &[1, 2, 3, 4]);
    let flights: Vec<Flight> = (0..80).map(|_| service.pick(Instant(0), Some(7), &[]).unwrap()).collect();
    let first = flights[0].endpoint();
    let on_first = flights.iter().filter(|flight| flight.endpoint() == first).count();
    assert!((25..=31).contains(&on_first), "{on_first} of 80 on one of four, bound 1.5");
}

#[test]
fn errors_in_a_row_eject_and_time_brings_back_slowly() {
    let config = Config { policy: Policy::RoundRobin, slow_start_ms: 10_000, ..Config::default() };
    let mut service = service(config, &[1, 2, 3]);
    let (now, mut out) = (Instant(0), Outbox::default());
    for _ in 0..40 {
        let flight = service.pick(now, None, &[]).unwrap();
        let outcome = if flight.endpoint().0 == 1 { Outcome::ConnectFailed } else { OK };
        service.on_end(now, flight, outcome, &mut out);
    }
    assert_eq!(out.events, [Event::Ejected { id: EndpointId(1), for_ms: 30_000 }]);
    assert!((0..10).all(|_| service.pick(now, None, &[]).unwrap().endpoint().0 != 1));
    let back = now.plus_ms(30_000);
    assert!(service.next_deadline().unwrap() <= back);
    service.on_timer(back, &mut out);
    assert!(out.events.contains(&Event::Returned(EndpointId(1))));
    let mut share = |at: Instant| {
        let flights: Vec<Flight> = (0..300).map(|_| service.pick(at, None, &[]).unwrap()).collect();
        flights.iter().filter(|flight| flight.endpoint().0 == 1).count()
    };
    let (early, late) = (share(back.plus_ms(1000)), share(back.plus_ms(20_000)));
    assert!(early < 30 && (95..=105).contains(&late), "{early} and {late} of 300");
}

#[test]
fn who_answers_worse_than_the_others_is_ejected() {
    let mut service = service(with(Policy::RoundRobin), &[1, 2, 3, 4, 5, 6]);
    let mut out = Outbox::default();
    for n in 0..1200 {
        let flight = service.pick(Instant(0), None, &[]).unwrap();
        let status_class = if flight.endpoint().0 == 1 && n % 20 < 5 { 5 } else { 2 };
        service.on_end(Instant(0), flight, Outcome::Answered { status_class, first_byte_us: 1 }, &mut out);
    }
    service.on_timer(Instant(0).plus_ms(10_000), &mut out);
    assert_eq!(out.events, [Event::Ejected { id: EndpointId(1), for_ms: 30_000 }]);
}

#[test]
fn checks_take_out_and_when_most_are_out_all_are_used() {
    let config =
        Config { checks: config::Checks { interval_ms: 1000, ..config::Checks::default() }, ..Config::default() };
    let mut service = service(config, &[1, 2, 3]);
    let (mut now, mut out) = (Instant(0), Outbox::default());
    let mut rounds = |service: &mut Service, dead: &[u32]| {
        for _ in 0..4 {
            now = now.plus_ms(2000);
            let mut asked = Outbox::default();
            service.on_timer(now, &mut asked);
            assert_eq!(asked.checks.len(), 3, "each is checked once");
            for id in asked.checks {
                let checked = if dead.contains(&id.0) { Checked::Failed } else { Checked::Passed };
                service.on_check(now, id, checked, &mut out);
            }
        }
        let picked = |service: &mut Service| service.pick(now, None, &[]).unwrap().endpoint().0;
        let mut ids: Vec<u32> = (0..200).map(|_| picked(service)).collect();
        ids.sort_unstable();
        ids.dedup();
        (ids, std::mem::take(&mut out.events))
    };
    assert_eq!(rounds(&mut service, &[1]), (vec![2, 3], vec![Event::CheckFailing(EndpointId(1))]));
    let (ids, events) = rounds(&mut service, &[1, 2]);
    assert_eq!((ids, events), (vec![1, 2, 3], vec![Event::CheckFailing(EndpointId(2)), Event::PanicBegun]));
    let (ids, events) = rounds(&mut service, &[]);
    assert_eq!(ids, [1, 2, 3]);
    assert!(events.contains(&Event::PanicOver), "{events:?}");
}

#[test]
fn who_cannot_be_answered_in_time_is_shed_and_who_waits_goes_when_there_is_room() {
    let admission = config::Admission { limit: config::Limit::Fixed(1), queue_max: 2, wait_max_ms: 100 };
    let mut service = service(Config { admission, ..Config::default() }, &[1]);
    let (now, mut out) = (Instant(0), Outbox::default());
    let Admit::Go(pass) = service.arrive(now, Class::NORMAL, None, &mut out) else { panic!("there is room") };
    let Admit::Wait(low) = service.arrive(now, Class::LOW, None, &mut out) else { panic!("there is a queue") };
    let Admit::Wait(normal) = service.arrive(now, Class::NORMAL, None, &mut out) else { panic!("there is a queue") };
    let Admit::Wait(high) = service.arrive(now, Class::CRITICAL, None, &mut out) else { panic!("the low one goes") };
    assert_eq!(out.shed.iter().map(|(ticket, shed)| (*ticket, shed.why)).collect::<Vec<_>>(), [(low, Why::Displaced)]);
    assert!(matches!(
        service.arrive(now, Class::NORMAL, None, &mut out),
        Admit::Shed(Shed { why: Why::QueueFull, .. })
    ));
    service.leave(now.plus_ms(10), pass, Left::Served { first_byte_us: 10_000 }, &mut out);
    assert_eq!(out.go.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [high]);
    assert!(service.cancel(now, normal, &mut out) && !service.cancel(now, normal, &mut out));
    let soon = Some(now.plus_ms(15));
    let late = service.arrive(now.plus_ms(10), Class::NORMAL, soon, &mut out);
    assert!(matches!(late, Admit::Shed(Shed { why: Why::Deadline, .. })), "{late:?}");
    assert_eq!((service.inside(), service.waiting()), (1, 0));
}

#[test]
fn waiting_ends_by_time() {
    let admission = config::Admission { limit: config::Limit::Fixed(0), queue_max: 10, wait_max_ms: 50 };
    let mut service = service(Config { admission, ..Config::default() }, &[1]);
    let mut out = Outbox::default();
    let Admit::Wait(ticket) = service.arrive(Instant(0), Class::NORMAL, None, &mut out) else { panic!("it waits") };
    let due = service.next_deadline().unwrap();
    assert_eq!(due, Instant(Instant(0).plus_ms(50).0 + 1));
    service.on_timer(due, &mut out);
    assert_eq!(out.shed.len(), 1);
    assert_eq!((out.shed[0].0, out.shed[0].1.why), (ticket, Why::WaitedTooLong));
}

#[test]
fn who_comes_back_counts_beyond_the_limit() {
    let (now, mut out) = (Instant(1_000_000), Outbox::default());
    let admission = config::Admission { limit: config::Limit::Fixed(1), ..config::Admission::default() };
    let mut service = service(Config { admission, ..Config::default() }, &[1]);
    let mut go = |service: &mut Service| match service.arrive(now, Class::new(0), None, &mut out) {
        Admit::Go(pass) => pass,
        other => panic!("{other:?}"),
    };
    let aside = go(&mut service);
    service.leave(now, aside, Left::Cancelled, &mut Outbox::default());
    assert!(service.has_room());
    let other = go(&mut service);
    let back = service.come_back(now);
    assert_eq!((service.inside(), service.has_room()), (2, false));
    let Admit::Wait(_) = service.arrive(now, Class::new(0), None, &mut out) else { panic!("there is no room") };
    let mut out = Outbox::default();
    service.leave(now, other, Left::Cancelled, &mut out);
    assert_eq!((service.inside(), out.go.len()), (1, 0), "one is still inside, which is all that may be");
    service.leave(now, back, Left::Cancelled, &mut out);
    assert_eq!(out.go.len(), 1);
}
