//! The words of commands about places: coordinates, distances and units.

use super::cells::{LATITUDE_MAX, LONGITUDE_MAX};
use super::sphere::Place;
use crate::Refused;
use crate::command::float::float;

fn text(text: &str) -> Refused {
    Refused::Text(format!("ERR {text}"))
}

/// A place on the map: it ends before the poles.
pub(super) fn coordinates(longitude: &[u8], latitude: &[u8]) -> Result<Place, Refused> {
    let place = Place { longitude: float(longitude)?, latitude: float(latitude)? };
    let Place { longitude, latitude } = place;
    if longitude.abs() > LONGITUDE_MAX || latitude.abs() > LATITUDE_MAX {
        return Err(text(&format!("invalid longitude,latitude pair {longitude:.6},{latitude:.6}")));
    }
    Ok(place)
}

/// Meters per unit.
pub(super) fn unit(word: &[u8]) -> Result<f64, Refused> {
    match word.to_ascii_lowercase().as_slice() {
        b"m" => Ok(1.0),
        b"km" => Ok(1000.0),
        b"ft" => Ok(0.3048),
        b"mi" => Ok(1609.34),
        _ => Err(text("unsupported unit provided. please use M, KM, FT, MI")),
    }
}

/// A radius and its unit.
pub(super) fn distance_of(radius: &[u8], word: &[u8]) -> Result<(f64, f64), Refused> {
    let radius = float(radius).map_err(|_| text("need numeric radius"))?;
    if radius < 0.0 {
        return Err(text("radius cannot be negative"));
    }
    Ok((radius, unit(word)?))
}

/// A width, a height and their unit.
pub(super) fn box_of(width: &[u8], height: &[u8], word: &[u8]) -> Result<(f64, f64, f64), Refused> {
    let width = float(width).map_err(|_| text("need numeric width"))?;
    let height = float(height).map_err(|_| text("need numeric height"))?;
    if width < 0.0 || height < 0.0 {
        return Err(text("height or width cannot be negative"));
    }
    Ok((width, height, unit(word)?))
}
