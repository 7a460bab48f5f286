//! What the admin endpoint tells, once.

use serde_json::Value;
use std::collections::VecDeque;
use std::error::Error;
use std::time::Instant;

/// All that is shown.
#[derive(Debug)]
pub struct Sight {
    pub process: Value,
    pub services: Vec<Value>,
    /// CPU that the gateway uses, in cores; none at the first look.
    pub cores: Option<f64>,
    /// Rates of each service in the last looks, newest last, by name.
    pub rates: Vec<(String, VecDeque<u64>)>,
    at: Instant,
}

/// Looks that are remembered.
const LOOKS: usize = 240;

impl Sight {
    pub fn look(admin: &str, before: Option<&Self>) -> Result<Self, Box<dyn Error>> {
        let get = |path: &str| -> Result<Value, Box<dyn Error>> {
            Ok(serde_json::from_str(&crate::status::get(admin, path, None)?)?)
        };
        let (process, services) = (get("/v1/gateway")?, get("/v1/gateway/services")?);
        let services = services["services"].as_array().ok_or("what answers is no gateway")?.clone();
        Ok(Self::of((process, services), before))
    }

    pub fn of((process, services): (Value, Vec<Value>), before: Option<&Self>) -> Self {
        let at = Instant::now();
        let cores = before.and_then(|before| {
            let (then, now) = (before.process["cpu_ms"].as_f64()?, process["cpu_ms"].as_f64()?);
            let seconds = at.duration_since(before.at).as_secs_f64();
            (seconds > 0.0 && now >= then).then(|| (now - then) / 1e3 / seconds)
        });
        let rates = services.iter().map(|service| {
            let name = service["name"].as_str().unwrap_or_default();
            let known = before.and_then(|before| before.rates.iter().find(|(known, _)| known == name));
            let mut rates = known.map(|(_, rates)| rates.clone()).unwrap_or_default();
            rates.push_back(whole(number(service, "offered_per_s")));
            if rates.len() > LOOKS {
                rates.pop_front();
            }
            (name.to_owned(), rates)
        });
        Self { rates: rates.collect(), process, services, cores, at }
    }
}

pub fn number(value: &Value, field: &str) -> f64 {
    value[field].as_f64().unwrap_or(0.0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are far below that, and not below zero"
)]
fn whole(rate: f64) -> u64 {
    rate.max(0.0).round() as u64
}
