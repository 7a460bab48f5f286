//! What breaks first when load grows: each thing that has an end, and how much of it would be used at so many times the load.

use super::Demand;

/// A thing that has an end: slots of an upstream, cores of the gateway, connections, memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resource {
    /// The caller's number for it.
    pub id: usize,
    pub used: f64,
    pub most: f64,
    pub grows: Grows,
}

/// With what its use grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grows {
    /// With the rate of requests: CPU, bandwidth.
    WithRate,
    /// With the number inside, which grows faster than the rate: connections, memory of requests.
    WithInside,
}

/// A resource at some times the load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strain {
    pub id: usize,
    /// 1 and above is broken; infinite if requests would pile up without end.
    pub utilisation: f64,
    /// How many times today's load it bears.
    pub bears: f64,
}

/// All resources at so many times the load, what breaks first coming first. `slots` is what the upstreams have.
#[must_use]
pub fn strains(demand: &Demand, slots: u32, resources: &[Resource], times: f64) -> Vec<Strain> {
    let mut strains: Vec<Strain> = resources.iter().map(|resource| resource.strain(demand, slots, times)).collect();
    strains.sort_by(|a, b| a.bears.total_cmp(&b.bears).then(a.id.cmp(&b.id)));
    strains
}

impl Resource {
    fn strain(&self, demand: &Demand, slots: u32, times: f64) -> Strain {
        let utilisation = |times: f64| self.used * self.growth(demand, slots, times) / self.most;
        Strain { id: self.id, utilisation: utilisation(times), bears: breaks_at(utilisation) }
    }

    fn growth(&self, demand: &Demand, slots: u32, times: f64) -> f64 {
        let more = Demand { rate_per_s: demand.rate_per_s * times, ..*demand };
        match (self.grows, demand.at(slots), more.at(slots)) {
            (Grows::WithRate, ..) => times,
            (Grows::WithInside, Some(now), Some(then)) => then.inside / now.inside,
            (Grows::WithInside, ..) => f64::INFINITY,
        }
    }
}

/// Where a rising function reaches 1; infinite if it doesn't below a million.
fn breaks_at(utilisation: impl Fn(f64) -> f64) -> f64 {
    let (mut least, mut most) = (0.0, 1.0);
    while utilisation(most) < 1.0 {
        (least, most) = (most, most * 2.0);
        if most > 1e6 {
            return f64::INFINITY;
        }
    }
    for _ in 0..60 {
        let middle = f64::midpoint(least, most);
        if utilisation(middle) < 1.0 {
            least = middle;
        } else {
            most = middle;
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearest_to_its_end_breaks_first() {
        let demand = Demand { rate_per_s: 1000.0, service_ms: 10.0, service_cv2: 1.0, arrival_cv2: 1.0 };
        let resource = |id, used, most, grows| Resource { id, used, most, grows };
        let resources = [
            resource(0, 0.9, 2.0, Grows::WithRate),
            resource(1, 10.0, 20.0, Grows::WithRate),
            resource(2, 12.0, 1000.0, Grows::WithInside),
        ];
        let twice = strains(&demand, 20, &resources, 2.0);
        // Twice the load is all that 20 slots can do: those inside pile up just before.
        assert_eq!(twice.iter().map(|strain| strain.id).collect::<Vec<_>>(), [2, 1, 0]);
        assert!((twice[1].bears - 2.0).abs() < 1e-6 && (twice[2].bears - 2.0 / 0.9).abs() < 1e-6);
        assert!(twice[0].utilisation.is_infinite() && twice[0].bears < 2.0 && twice[0].bears > 1.9);
        let half = strains(&demand, 20, &resources, 1.0);
        assert!(half.iter().all(|strain| strain.utilisation < 1.0));
    }
}
