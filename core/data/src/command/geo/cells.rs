//! The map as a grid of cells, and which cells a search must look into.
//!
//! Both axes are halved as often as the step says; the bits of the two numbers of a cell, interleaved, make its hash. With
//! 26 steps that is the score of a place, of 52 bits, and a coarser cell is a range of scores.

use super::sphere::{self, Place};
use super::trig;
use std::ops::Range;

pub(super) const LONGITUDE_MAX: f64 = 180.0;
pub(super) const LATITUDE_MAX: f64 = 85.05112878;
const STEP_MAX: u32 = 26;
/// Half the length of the equator on the map, in meters: what Redis compares radii with.
const MAP_HALF_METERS: f64 = 20_037_726.37;

/// A cell by its numbers from the south and from the west.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    north: u32,
    east: u32,
    step: u32,
}

/// An area on the map, in degrees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Area {
    pub(super) west: f64,
    pub(super) east: f64,
    pub(super) south: f64,
    pub(super) north: f64,
}

/// What a search looks for around a place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Circle { radius_meters: f64 },
    Box { width_meters: f64, height_meters: f64 },
}

/// The hash of a place: its score.
pub(super) fn hash(place: Place) -> u64 {
    Cell::of(place, STEP_MAX, &WORLD).bits()
}

/// The text that other systems know as the geohash, of eleven characters; its grid reaches to the poles.
pub(super) fn text(place: Place) -> [u8; 11] {
    let globe = Area { south: -90.0, north: 90.0, ..WORLD };
    let bits = Cell::of(place, STEP_MAX, &globe).bits();
    let mut text = [b'0'; 11];
    for (at, letter) in text.iter_mut().take(10).enumerate() {
        let five = bits >> (52 - (at + 1) * 5) & 0x1f;
        *letter = ALPHABET[usize::try_from(five).expect("five bits")];
    }
    text
}

/// The middle of the cell that a score names.
pub(super) fn place(score: f64) -> Place {
    let area = Cell::from_bits(bits(score)).area();
    let longitude = ((area.west + area.east) / 2.0).clamp(WORLD.west, WORLD.east);
    Place { longitude, latitude: ((area.south + area.north) / 2.0).clamp(WORLD.south, WORLD.north) }
}

/// The ranges of scores in which places of a shape may stand, in the order in which Redis looks.
pub(super) fn ranges(around: Place, shape: Shape) -> impl Iterator<Item = Range<u64>> {
    let bounds = bounds(around, shape);
    let mut step = step(shape.reach_meters(), around.latitude);
    let mut middle = Cell::of(around, step, &WORLD);
    if step > 1 && middle.neighbours_fall_short(&bounds) {
        step -= 1;
        middle = Cell::of(around, step, &WORLD);
    }
    let area = middle.area();
    let useless = move |north: i8, east: i8| {
        step >= 2
            && ((north < 0 && area.south < bounds.south)
                || (north > 0 && area.north > bounds.north)
                || (east < 0 && area.west < bounds.west)
                || (east > 0 && area.east > bounds.east))
    };
    let mut last = None;
    let around = AROUND.into_iter().filter(move |(north, east)| !useless(*north, *east));
    around.filter_map(move |(north, east)| {
        let cell = middle.moved(north, east);
        // On a coarse grid neighbours are the same cell.
        if last == Some(cell) {
            return None;
        }
        last = ((north, east) != (0, 0)).then_some(cell).or(last);
        Some(cell.scores())
    })
}

impl Cell {
    fn of(place: Place, step: u32, grid: &Area) -> Self {
        let parts = f64::from(1_u32 << step);
        let north = (place.latitude - grid.south) / (grid.north - grid.south) * parts;
        let east = (place.longitude - grid.west) / (grid.east - grid.west) * parts;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place is on the grid")]
        let (north, east) = (north as u32, east as u32);
        Self { north, east, step }
    }

    fn from_bits(bits: u64) -> Self {
        Self { north: every_second(bits), east: every_second(bits >> 1), step: STEP_MAX }
    }

    fn bits(self) -> u64 {
        spread(self.north) | spread(self.east) << 1
    }

    /// The scores of the places in it.
    fn scores(self) -> Range<u64> {
        let shift = 52 - 2 * self.step;
        self.bits() << shift..(self.bits() + 1) << shift
    }

    fn area(self) -> Area {
        let parts = f64::from(1_u32 << self.step);
        let (tall, wide) = (WORLD.north - WORLD.south, WORLD.east - WORLD.west);
        let (north, east) = (f64::from(self.north), f64::from(self.east));
        Area {
            south: WORLD.south + (north / parts) * tall,
            north: WORLD.south + (f64::from(self.north.wrapping_add(1)) / parts) * tall,
            west: WORLD.west + (east / parts) * wide,
            east: WORLD.west + (f64::from(self.east.wrapping_add(1)) / parts) * wide,
        }
    }

    /// The cell so many to the north and to the east, around the globe.
    fn moved(self, north: i8, east: i8) -> Self {
        let moved = |from: u32, by: i8| match by {
            0 => from,
            _ => from.wrapping_add_signed(i32::from(by)) & ((1 << self.step) - 1),
        };
        Self { north: moved(self.north, north), east: moved(self.east, east), step: self.step }
    }

    /// True if the bounds reach beyond one of the four next cells.
    fn neighbours_fall_short(self, bounds: &Area) -> bool {
        self.moved(1, 0).area().north < bounds.north
            || self.moved(-1, 0).area().south > bounds.south
            || self.moved(0, 1).area().east < bounds.east
            || self.moved(0, -1).area().west > bounds.west
    }
}

impl Shape {
    /// How far from the middle its farthest place is.
    fn reach_meters(self) -> f64 {
        match self {
            Self::Circle { radius_meters } => radius_meters,
            Self::Box { width_meters, height_meters } => {
                let (half, tall) = (width_meters / 2.0, height_meters / 2.0);
                (half * half + tall * tall).sqrt()
            }
        }
    }
}

/// The area that encloses a shape; it is the widest at the side that is farther from the equator.
fn bounds(around: Place, shape: Shape) -> Area {
    let (wide, tall) = match shape {
        Shape::Circle { radius_meters } => (radius_meters, radius_meters),
        Shape::Box { width_meters, height_meters } => (width_meters / 2.0, height_meters / 2.0),
    };
    let Place { longitude, latitude } = around;
    let to_side = sphere::degrees(tall / sphere::RADIUS_METERS);
    let edge = if latitude < 0.0 { latitude - to_side } else { latitude + to_side };
    let edge = sphere::radians(edge);
    // A shape so large that the angle is unknown is searched on the coarsest grid, where bounds decide nothing.
    let cosine = if edge.abs() <= trig::ANGLE_MAX { trig::cos(edge) } else { 1.0 };
    let across = sphere::degrees(wide / sphere::RADIUS_METERS / cosine);
    Area { west: longitude - across, east: longitude + across, south: latitude - to_side, north: latitude + to_side }
}

/// How often to halve the map so that a cell and its neighbours enclose a circle.
fn step(mut meters: f64, latitude: f64) -> u32 {
    if meters == 0.0 {
        return STEP_MAX;
    }
    let mut step = 1_i32;
    while meters < MAP_HALF_METERS {
        meters *= 2.0;
        step += 1;
    }
    // Cells are narrower towards the poles.
    let narrow = i32::from(latitude.abs() > 66.0) + i32::from(latitude.abs() > 80.0);
    (step - 2 - narrow).clamp(1, 26).unsigned_abs()
}

/// A score as the bits of a hash, as a C compiler for x86-64 converts it: scores need not be places.
fn bits(score: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    let signed = |value: f64| {
        #[expect(clippy::cast_possible_truncation, reason = "what is out of range is looked at before")]
        let inside = (-HALF..HALF).contains(&value).then_some(value as i64);
        inside.unwrap_or(i64::MIN).cast_unsigned()
    };
    if score < HALF { signed(score) } else { signed(score - HALF) ^ 1 << 63 }
}

/// Moves each bit to twice its place.
fn spread(bits: u32) -> u64 {
    SPREAD.iter().fold(u64::from(bits), |bits, (shift, mask)| (bits | bits << shift) & mask)
}

/// The bits at even places.
fn every_second(bits: u64) -> u32 {
    let mut bits = bits & SPREAD[4].1;
    for at in (0..4).rev() {
        bits = (bits | bits >> SPREAD[at + 1].0) & SPREAD[at].1;
    }
    bits = (bits | bits >> SPREAD[0].0) & u64::from(u32::MAX);
    u32::try_from(bits).expect("the high half is masked out")
}

const SPREAD: [(u32, u64); 5] = [
    (16, 0x0000_ffff_0000_ffff),
    (8, 0x00ff_00ff_00ff_00ff),
    (4, 0x0f0f_0f0f_0f0f_0f0f),
    (2, 0x3333_3333_3333_3333),
    (1, 0x5555_5555_5555_5555),
];
/// The cell itself and those around it, as steps to the north and to the east.
const AROUND: [(i8, i8); 9] = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)];
const WORLD: Area = Area { west: -LONGITUDE_MAX, east: LONGITUDE_MAX, south: -LATITUDE_MAX, north: LATITUDE_MAX };
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_redis() {
        let palermo = Place { longitude: 13.361389, latitude: 38.115556 };
        assert_eq!(hash(palermo), 3_479_099_956_230_698);
        assert_eq!(&text(place(3_479_099_956_230_698.0)), b"sqc8b49rny0");
        assert_eq!(&text(place(3_479_447_370_796_909.0)), b"sqdtr74hyu0");
        let back = place(3_479_099_956_230_698.0);
        assert_eq!((back.longitude, back.latitude), (13.361_389_338_970_184, 38.115_556_395_496_3));
        for bits in [0, 1, 2, 0x000f_ffff_ffff_ffff, 0x0005_5555_5555_5555, 0x1234_5678_9abc] {
            assert_eq!(Cell::from_bits(bits).bits(), bits);
        }
    }

    #[test]
    fn scores_that_are_no_places_are_read_as_c_does() {
        for (score, wanted) in [
            (-1.0, u64::MAX),
            (f64::NEG_INFINITY, 1 << 63),
            (f64::INFINITY, 0),
            (1e19, 10_000_000_000_000_000_000),
            (3.7, 3),
        ] {
            assert_eq!(bits(score), wanted, "{score}");
            let place = place(score);
            assert!(place.longitude.abs() <= LONGITUDE_MAX && place.latitude.abs() <= LATITUDE_MAX);
        }
    }

    #[test]
    fn a_search_looks_where_the_places_are() {
        let around = Place { longitude: 15.0, latitude: 37.0 };
        let found = |shape| ranges(around, shape).collect::<Vec<_>>();
        let circle = found(Shape::Circle { radius_meters: 200_000.0 });
        assert!(circle.iter().any(|range| range.contains(&3_479_099_956_230_698)));
        assert_eq!(found(Shape::Circle { radius_meters: 1e9 }).len(), 4, "the whole map, each cell once");
        assert_eq!(found(Shape::Box { width_meters: 0.0, height_meters: 0.0 }).len(), 1);
        assert_eq!(step(0.0, 0.0), 26);
        assert_eq!((step(1.0, 0.0), step(1.0, 70.0), step(1.0, -85.0), step(f64::INFINITY, 0.0)), (24, 23, 22, 1));
    }
}
