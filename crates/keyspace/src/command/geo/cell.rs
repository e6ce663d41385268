//! The grid: a cell of 52 bits has 26 bits of latitude at even places and 26 of longitude at odd ones, so that each pair
//! of bits divides a cell in four.
//!
//! Sines and such are those of `libm`, which are the same on every machine.

use std::f64::consts::PI;

/// Degrees of latitude that the grid covers, north and south: where a square Mercator map ends.
const LATITUDE_MAX: f64 = 85.051_128_78;
const LONGITUDE_MAX: f64 = 180.0;
/// Metres.
pub(super) const EARTH_RADIUS: f64 = 6_372_797.560_856;
/// Half of the map's width in metres.
const MERCATOR_MAX: f64 = 20_037_726.37;
/// Bits of latitude, and of longitude, of a score.
pub(super) const STEPS_MAX: u32 = 26;

/// A place in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) longitude: f64,
    pub(super) latitude: f64,
}

/// A cell of the grid with so many bits of latitude, and of longitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) steps: u32,
}

/// From the lowest to the highest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub(super) longitude: (f64, f64),
    pub(super) latitude: (f64, f64),
}

/// Which of 2^steps parts of `-max..=max` holds a value.
fn part(value: f64, max: f64, steps: u32) -> u32 {
    let offset = (value + max) / (2.0 * max);
    ((offset * (1_u64 << steps) as f64) as u32).min(((1_u64 << steps) - 1) as u32)
}

fn bounds(part: u32, max: f64, steps: u32) -> (f64, f64) {
    let at = |part: f64| -max + (part / (1_u64 << steps) as f64) * (2.0 * max);
    (at(f64::from(part)), at(f64::from(part) + 1.0))
}

/// Puts the bits of a number at even places.
fn spread(value: u32) -> u64 {
    let mut v = u64::from(value);
    v = (v | (v << 16)) & 0x0000_ffff_0000_ffff;
    v = (v | (v << 8)) & 0x00ff_00ff_00ff_00ff;
    v = (v | (v << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
    v = (v | (v << 2)) & 0x3333_3333_3333_3333;
    (v | (v << 1)) & 0x5555_5555_5555_5555
}

/// Takes the bits at even places together.
fn gather(bits: u64) -> u32 {
    let mut v = bits & 0x5555_5555_5555_5555;
    v = (v | (v >> 1)) & 0x3333_3333_3333_3333;
    v = (v | (v >> 2)) & 0x0f0f_0f0f_0f0f_0f0f;
    v = (v | (v >> 4)) & 0x00ff_00ff_00ff_00ff;
    v = (v | (v >> 8)) & 0x0000_ffff_0000_ffff;
    (v | (v >> 16)) as u32
}

impl Cell {
    /// The cell that a place is in.
    pub(super) fn of(place: Place, steps: u32) -> Self {
        let x = part(place.longitude, LONGITUDE_MAX, steps);
        let y = part(place.latitude, LATITUDE_MAX, steps);
        Cell { x, y, steps }
    }

    /// Scores from the first to before the second are in this cell.
    pub(super) fn scores(self) -> (f64, f64) {
        let bits = spread(self.y) | (spread(self.x) << 1);
        let shift = 2 * (STEPS_MAX - self.steps);
        ((bits << shift) as f64, ((bits + 1) << shift) as f64)
    }

    /// The cell so many columns to the east and rows to the north, round the edges.
    pub(super) fn moved(self, east: i32, north: i32) -> Self {
        let mask = ((1_u64 << self.steps) - 1) as u32;
        Cell { x: self.x.wrapping_add_signed(east) & mask, y: self.y.wrapping_add_signed(north) & mask, ..self }
    }

    pub(super) fn area(self) -> Area {
        Area {
            longitude: bounds(self.x, LONGITUDE_MAX, self.steps),
            latitude: bounds(self.y, LATITUDE_MAX, self.steps),
        }
    }
}

/// The score of a place; `None` outside of the grid.
pub(super) fn bits(place: Place) -> Option<u64> {
    let inside = (-LONGITUDE_MAX..=LONGITUDE_MAX).contains(&place.longitude)
        && (-LATITUDE_MAX..=LATITUDE_MAX).contains(&place.latitude);
    inside.then(|| spread(edge(place.latitude, LATITUDE_MAX)) | (spread(edge(place.longitude, LONGITUDE_MAX)) << 1))
}

/// Which part holds a value. The eastern and northern edges are one beyond the last, as in Redis.
fn edge(value: f64, max: f64) -> u32 {
    ((value + max) / (2.0 * max) * f64::from(1_u32 << STEPS_MAX)) as u32
}

/// The middle of the cell of a score.
pub(super) fn middle(score: f64) -> Place {
    let bits = score as u64;
    let cell = Cell { x: gather(bits >> 1), y: gather(bits), steps: STEPS_MAX };
    let area = cell.area();
    let middle = |(low, high): (f64, f64), max: f64| ((low + high) / 2.0).clamp(-max, max);
    Place { longitude: middle(area.longitude, LONGITUDE_MAX), latitude: middle(area.latitude, LATITUDE_MAX) }
}

/// The cell in letters, as others write it: latitudes to the poles; 50 bits, and a zero for the last letter.
pub(super) fn letters(score: f64) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let place = middle(score);
    let bits = spread(edge(place.latitude, 90.0)) | (spread(edge(place.longitude, LONGITUDE_MAX)) << 1);
    let letter = |n: u32| ALPHABET[(bits >> (52 - 5 * (n + 1)) & 31) as usize];
    (0..10).map(letter).chain([b'0']).map(char::from).collect()
}

fn radians(degrees: f64) -> f64 {
    degrees * (PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (PI / 180.0)
}

/// Metres between two latitudes.
pub(super) fn latitude_distance(a: f64, b: f64) -> f64 {
    EARTH_RADIUS * (radians(b) - radians(a)).abs()
}

/// Metres between two places, by the haversine formula.
pub(super) fn distance(a: Place, b: Place) -> f64 {
    let v = libm::sin((radians(b.longitude) - radians(a.longitude)) / 2.0);
    if v == 0.0 {
        return latitude_distance(a.latitude, b.latitude);
    }
    let (a, b) = (radians(a.latitude), radians(b.latitude));
    let u = libm::sin((b - a) / 2.0);
    let h = u * u + libm::cos(a) * libm::cos(b) * v * v;
    2.0 * EARTH_RADIUS * libm::asin(h.sqrt())
}

/// What is looked for round a place; lengths in metres.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

impl Shape {
    /// How far a place is, when it is inside.
    pub(super) fn distance(self, centre: Place, place: Place) -> Option<f64> {
        match self {
            Shape::Circle { radius } => Some(distance(centre, place)).filter(|distance| *distance <= radius),
            Shape::Box { width, height } => {
                if latitude_distance(place.latitude, centre.latitude) > height / 2.0 {
                    return None;
                }
                let beside = Place { longitude: centre.longitude, latitude: place.latitude };
                (distance(place, beside) <= width / 2.0).then(|| distance(centre, place))
            }
        }
    }

    /// Cells that cover it, its own first.
    pub(super) fn cells(self, centre: Place) -> Vec<Cell> {
        let (width, height, radius) = match self {
            Shape::Circle { radius } => (2.0 * radius, 2.0 * radius, radius),
            Shape::Box { width, height } => {
                let half = |length: f64| (length / 2.0) * (length / 2.0);
                (width, height, (half(width) + half(height)).sqrt())
            }
        };
        let around = around(centre, width, height);
        // What reaches a pole has all longitudes: the four largest cells. Redis misses some of them.
        let at_pole = around.latitude.0 <= -90.0 || around.latitude.1 >= 90.0;
        let mut steps = if at_pole { 1 } else { steps(radius, centre.latitude) };
        let mut cell = Cell::of(centre, steps);
        if steps > 1 && reaches_beyond(cell, around) {
            steps -= 1;
            cell = Cell::of(centre, steps);
        }
        let area = cell.area();
        // A neighbour is left out where the shape ends within the cell on that side. Not for the largest cells.
        let west = steps < 2 || area.longitude.0 >= around.longitude.0;
        let east = steps < 2 || area.longitude.1 <= around.longitude.1;
        let south = steps < 2 || area.latitude.0 >= around.latitude.0;
        let north = steps < 2 || area.latitude.1 <= around.latitude.1;
        let neighbours = [
            (0, 0, true),
            (0, 1, north),
            (0, -1, south),
            (1, 0, east),
            (-1, 0, west),
            (1, 1, north && east),
            (-1, 1, north && west),
            (1, -1, south && east),
            (-1, -1, south && west),
        ];
        let mut cells: Vec<Cell> = Vec::with_capacity(9);
        for (x, y, _) in neighbours.into_iter().filter(|(_, _, wanted)| *wanted) {
            let neighbour = cell.moved(x, y);
            if !cells.contains(&neighbour) {
                cells.push(neighbour);
            }
        }
        cells
    }
}

/// The area round a place, wide enough at its side towards the pole.
fn around(centre: Place, width: f64, height: f64) -> Area {
    let north = degrees(height / 2.0 / EARTH_RADIUS);
    let towards_pole = if centre.latitude < 0.0 { centre.latitude - north } else { centre.latitude + north };
    let east = degrees(width / 2.0 / EARTH_RADIUS / libm::cos(radians(towards_pole)));
    Area {
        longitude: (centre.longitude - east, centre.longitude + east),
        latitude: (centre.latitude - north, centre.latitude + north),
    }
}

/// How fine the grid may be so that nine cells cover a circle. Cells are narrower near the poles.
fn steps(radius: f64, latitude: f64) -> u32 {
    if radius == 0.0 {
        return STEPS_MAX;
    }
    let (mut steps, mut reach) = (1_i32, radius);
    while reach < MERCATOR_MAX && steps < 64 {
        reach *= 2.0;
        steps += 1;
    }
    steps -= 2;
    if latitude.abs() > 66.0 {
        steps -= 1;
    }
    if latitude.abs() > 80.0 {
        steps -= 1;
    }
    steps.clamp(1, STEPS_MAX as i32) as u32
}

/// Whether an area goes on behind the neighbours of a cell.
fn reaches_beyond(cell: Cell, around: Area) -> bool {
    cell.moved(0, 1).area().latitude.1 < around.latitude.1
        || cell.moved(0, -1).area().latitude.0 > around.latitude.0
        || cell.moved(1, 0).area().longitude.1 < around.longitude.1
        || cell.moved(-1, 0).area().longitude.0 > around.longitude.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn a_place_is_in_the_middle_of_its_cell(longitude in -180.0..180.0, latitude in -85.05..85.05) {
            let place = Place { longitude, latitude };
            let Some(bits) = bits(place) else { panic!("outside") };
            let back = middle(bits as f64);
            prop_assert!((back.longitude - longitude).abs() < 3e-6 && (back.latitude - latitude).abs() < 2e-6);
        }

        /// What the cells find is what all places together give.
        #[test]
        fn cells_cover_their_shape(
            centre in (-180.0..180.0, -85.0..85.0),
            other in (-180.0..180.0, -85.0..85.0),
            radius in 1.0..18_000_000.0,
        ) {
            let centre = Place { longitude: centre.0, latitude: centre.1 };
            let place = Place { longitude: other.0, latitude: other.1 };
            let Some(bits) = bits(place) else { panic!("outside") };
            for shape in [Shape::Circle { radius }, Shape::Box { width: radius, height: radius / 2.0 }] {
                let found = shape.cells(centre).into_iter().any(|cell| {
                    let (from, to) = cell.scores();
                    (from..to).contains(&(bits as f64))
                });
                prop_assert!(found || shape.distance(centre, place).is_none());
            }
        }
    }
}
