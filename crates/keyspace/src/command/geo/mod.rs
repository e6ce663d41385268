//! Places on the earth: sorted sets whose scores are cells of 52 bits.

mod add;
mod cell;
mod dist;
mod pos;
mod query;
mod radius;
mod search;

use crate::spec::Spec;
use crate::{Error, Result, args};

/// The commands of this group.
pub(super) static COMMANDS: &[&Spec] = &[
    &add::GEOADD,
    &dist::GEODIST,
    &pos::GEOHASH,
    &pos::GEOPOS,
    &radius::GEORADIUS,
    &radius::GEORADIUSBYMEMBER,
    &radius::GEORADIUSBYMEMBER_RO,
    &radius::GEORADIUS_RO,
    &search::GEOSEARCH,
    &search::GEOSEARCHSTORE,
];

/// A place as clients give it.
fn place(longitude: &[u8], latitude: &[u8]) -> Result<cell::Place> {
    let (longitude, latitude) = (args::float(longitude)?, args::float(latitude)?);
    let place = cell::Place { longitude, latitude };
    if cell::bits(place).is_none() {
        return Err(Error::reply(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")));
    }
    Ok(place)
}

/// Metres of a unit.
fn unit(word: &[u8]) -> Result<f64> {
    match word {
        word if args::is(word, "m") => Ok(1.0),
        word if args::is(word, "km") => Ok(1_000.0),
        word if args::is(word, "ft") => Ok(0.3048),
        word if args::is(word, "mi") => Ok(1_609.34),
        _ => Err(Error::reply("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}

#[cfg(test)]
mod tests;
