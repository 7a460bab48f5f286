//! Places on a sphere, and how far they are apart.

use super::trig::{asin, cos, sin};

/// The radius of the earth that Redis measures with.
pub(super) const RADIUS_METERS: f64 = 6_372_797.560_856;
const DEGREE: f64 = std::f64::consts::PI / 180.0;

/// A place in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

pub(super) fn radians(degrees: f64) -> f64 {
    degrees * DEGREE
}

pub(super) fn degrees(radians: f64) -> f64 {
    radians / DEGREE
}

/// The way between two places over the sphere in meters, by the haversine formula.
pub(super) fn distance(one: Place, other: Place) -> f64 {
    let (latitude, other_latitude) = (radians(one.latitude), radians(other.latitude));
    let u = sin((other_latitude - latitude) / 2.0);
    let v = sin((radians(other.longitude) - radians(one.longitude)) / 2.0);
    2.0 * RADIUS_METERS * asin((u * u + cos(latitude) * cos(other_latitude) * v * v).sqrt())
}
