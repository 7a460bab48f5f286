//! What a running gateway has measured of a service over the last ten seconds.

use gateway::plan::{Demand, Grows};
use serde_json::Value;
use std::error::Error;
use std::time::{Duration, Instant};

/// See the module.
#[derive(Debug)]
pub struct Measured {
    pub service: String,
    pub rate_per_s: f64,
    /// W: from a request's coming to its leaving, and how much of that it waited in the gateway.
    pub total_ms: f64,
    pub wait_ms: f64,
    pub inside_cv2: f64,
    pub arrival_cv2: f64,
    /// L, counted apart: those inside and those who wait.
    pub total: f64,
    pub servers: u32,
    inside: f64,
    limit: f64,
    gateway: Gateway,
}

/// What the gateway itself uses of what it has.
#[derive(Debug)]
struct Gateway {
    cores: f64,
    lanes: f64,
    connections: f64,
    connections_max: f64,
    files: f64,
    files_max: f64,
}

/// CPU is a difference over so long.
const LOOK_TIME: Duration = Duration::from_secs(1);
/// Above this a limit isn't one.
const LIMIT_MAX: f64 = 1e6;

impl Measured {
    /// Asks the gateway at an admin address. It takes a second.
    pub fn ask(admin: &str, service: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let get = |path: &str| -> Result<Value, Box<dyn Error>> {
            Ok(serde_json::from_str(&crate::status::get(admin, path, None)?)?)
        };
        let begun = Instant::now();
        let before = get("/v1/gateway")?;
        std::thread::sleep(LOOK_TIME);
        let after = get("/v1/gateway")?;
        let seconds = begun.elapsed().as_secs_f64();
        let services = get("/v1/gateway/services")?;
        let services = services["services"].as_array().ok_or("what answers is no gateway")?;
        let known: Vec<&str> = services.iter().filter_map(|one| one["name"].as_str()).collect();
        let chosen = match service {
            Some(name) => services.iter().find(|one| one["name"] == name),
            None => Some(services).filter(|all| all.len() == 1).and_then(|all| all.first()),
        };
        let chosen = chosen.ok_or_else(|| format!("--service is one of {}", known.join(", ")))?;
        let gateway = Gateway {
            cores: (number(&after["cpu_ms"]) - number(&before["cpu_ms"])) / 1e3 / seconds,
            lanes: number(&after["lanes"]),
            connections: number(&after["connections"]),
            connections_max: number(&after["connections_max"]),
            files: number(&after["open_files"]),
            files_max: number(&after["open_files_max"]),
        };
        let (inside_ms, wait_ms) = (number(&chosen["mean_inside_ms"]), number(&chosen["mean_wait_ms"]));
        let endpoints = chosen["endpoints"].as_array().map_or(&[][..], Vec::as_slice);
        let endpoints = endpoints.iter().filter(|one| one["state"] == "active").count();
        Ok(Self {
            service: chosen["name"].as_str().unwrap_or_default().to_owned(),
            rate_per_s: number(&chosen["admitted_per_s"]),
            total_ms: inside_ms + wait_ms,
            wait_ms,
            inside_cv2: number(&chosen["inside_cv2"]),
            arrival_cv2: number(&chosen["arrival_cv2"]),
            total: number(&chosen["mean_inside"]) + number(&chosen["mean_waiting"]),
            servers: u32::try_from(endpoints).unwrap_or(u32::MAX).max(1),
            inside: number(&chosen["mean_inside"]),
            limit: number(&chosen["limit"]),
            gateway,
        })
    }

    /// Whether requests may wait at the endpoints, unseen by the gateway.
    pub fn hides_waits(&self, slots: u32) -> bool {
        self.limit > f64::from(slots)
    }

    /// How long a slot works on a request. Where the gateway lets in no more than there are slots, that is the time inside. Else requests
    /// wait at the endpoints too, within what is measured: then it is the time that, with the wait that goes with it, comes to that.
    pub fn service_ms(&self, demand: &Demand, slots: u32) -> f64 {
        let inside_ms = self.total_ms - self.wait_ms;
        if !self.hides_waits(slots) {
            return inside_ms;
        }
        let (mut least, mut most) = (0.0, inside_ms);
        for _ in 0..60 {
            let middle = f64::midpoint(least, most);
            let forecast = Demand { service_ms: middle, ..*demand }.at(slots);
            if forecast.is_some_and(|forecast| forecast.inside_ms < inside_ms) {
                least = middle;
            } else {
                most = middle;
            }
        }
        most
    }

    /// What the gateway itself may run out of: name, use, bound, and with what the use grows.
    pub fn resources(&self) -> Vec<(String, f64, f64, Grows)> {
        let Gateway { cores, lanes, connections, connections_max, files, files_max } = self.gateway;
        let all = [
            ("gateway's lanes", cores, lanes, Grows::WithRate),
            ("gateway's limit", self.inside, self.limit, Grows::WithInside),
            ("connections", connections, connections_max, Grows::WithInside),
            ("descriptors", files, files_max, Grows::WithInside),
        ];
        let bounded = |(_, used, most, _): &&(&str, f64, f64, Grows)| *used > 0.0 && *most > 0.0 && *most < LIMIT_MAX;
        all.iter().filter(bounded).map(|(name, used, most, grows)| ((*name).to_owned(), *used, *most, *grows)).collect()
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}
