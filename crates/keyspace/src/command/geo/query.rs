//! What GEOSEARCH, GEORADIUS and their like have in common: options, the search, the reply.

use std::cmp::Ordering;

use bytes::Bytes;

use super::cell::{self, Place, Shape};
use super::dist::distance;
use super::{place, pos, unit};
use crate::args::{self, Cursor, integer};
use crate::object::ZSet;
use crate::{Error, Reader, Reply, Result};

/// How a command says where it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// GEORADIUS key longitude latitude radius unit
    Place,
    /// GEORADIUSBYMEMBER key member radius unit
    Member,
    /// GEOSEARCH key, all else by words
    Search,
    /// GEOSEARCHSTORE destination source, all else by words
    SearchStore,
}

/// A member that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) member: Bytes,
    pub(super) score: f64,
    place: Place,
    /// In the unit that was asked for.
    pub(super) distance: f64,
}

/// A search as asked for.
#[derive(Debug)]
pub(super) struct Query {
    centre: Option<Place>,
    shape: Option<Shape>,
    unit: f64,
    with_distance: bool,
    with_score: bool,
    with_place: bool,
    order: Option<Ordering>,
    count: Option<usize>,
    any: bool,
    /// Where the result goes.
    pub(super) store: Option<Bytes>,
    /// Whether it gets distances for scores.
    pub(super) store_distances: bool,
}

fn radius(text: &[u8], unit_of: &[u8]) -> Result<(f64, f64)> {
    let radius = args::parse_float(text).ok_or(Error::reply("ERR need numeric radius"))?;
    if radius < 0.0 {
        return Err(Error::reply("ERR radius cannot be negative"));
    }
    Ok((radius, unit(unit_of)?))
}

fn member(set: &ZSet, member: &[u8]) -> Result<Place> {
    let score = set.score(member).ok_or(Error::reply("ERR could not decode requested zset member"))?;
    Ok(cell::middle(score))
}

impl Query {
    /// Reads a command and searches: the query with what it finds, in its order.
    ///
    /// `may_store`: whether STORE and STOREDIST name a key for the result.
    pub(super) fn run(reader: &Reader<'_>, args: &[Bytes], form: Form, may_store: bool) -> Result<(Query, Vec<Found>)> {
        let source = if form == Form::SearchStore { &args[2] } else { &args[1] };
        let set = reader.get::<ZSet>(source)?;
        let query = Query::parse(args, form, may_store, set)?;
        let found = match (set, query.centre, query.shape) {
            (Some(set), Some(centre), Some(shape)) => query.search(set, centre, shape),
            _ => Vec::new(),
        };
        Ok((query, found))
    }

    fn parse(args: &[Bytes], form: Form, may_store: bool, set: Option<&ZSet>) -> Result<Query> {
        let mut query = Query {
            centre: None,
            shape: None,
            unit: 1.0,
            with_distance: false,
            with_score: false,
            with_place: false,
            order: None,
            count: None,
            any: false,
            store: None,
            store_distances: false,
        };
        let by_words = matches!(form, Form::Search | Form::SearchStore);
        let mut rest = match form {
            Form::Place => {
                query.centre = Some(place(&args[2], &args[3])?);
                query.set_radius(&args[4], &args[5])?;
                Cursor::new(&args[6..])
            }
            Form::Member => {
                query.centre = set.map(|set| member(set, &args[2])).transpose()?;
                query.set_radius(&args[3], &args[4])?;
                Cursor::new(&args[5..])
            }
            Form::Search => Cursor::new(&args[2..]),
            Form::SearchStore => {
                query.store = Some(args[1].clone());
                Cursor::new(&args[3..])
            }
        };
        let mut has_centre = !by_words;
        while !rest.is_empty() {
            let left = rest.rest().len();
            if rest.take("withdist") {
                query.with_distance = true;
            } else if rest.take("withhash") {
                query.with_score = true;
            } else if rest.take("withcoord") {
                query.with_place = true;
            } else if rest.take("any") {
                query.any = true;
            } else if rest.take("asc") {
                query.order = Some(Ordering::Less);
            } else if rest.take("desc") {
                query.order = Some(Ordering::Greater);
            } else if left > 1 && rest.take("count") {
                let count = integer(rest.must()?)?;
                let count = usize::try_from(count).ok().filter(|count| *count > 0);
                query.count = Some(count.ok_or(Error::reply("ERR COUNT must be > 0"))?);
            } else if left > 1 && !by_words && may_store && rest.take("store") {
                query.store = rest.next().cloned();
                query.store_distances = false;
            } else if left > 1 && !by_words && may_store && rest.take("storedist") {
                query.store = rest.next().cloned();
                query.store_distances = true;
            } else if left > 1 && by_words && !has_centre && rest.take("frommember") {
                let name = rest.must()?;
                query.centre = set.map(|set| member(set, name)).transpose()?;
                has_centre = true;
            } else if left > 2 && by_words && !has_centre && rest.take("fromlonlat") {
                query.centre = Some(place(rest.must()?, rest.must()?)?);
                has_centre = true;
            } else if left > 2 && by_words && query.shape.is_none() && rest.take("byradius") {
                query.set_radius(rest.must()?, rest.must()?)?;
            } else if left > 3 && by_words && query.shape.is_none() && rest.take("bybox") {
                query.set_box(rest.must()?, rest.must()?, rest.must()?)?;
            } else if form == Form::SearchStore && rest.take("storedist") {
                query.store_distances = true;
            } else {
                return Err(Error::SYNTAX);
            }
        }
        query.check(&args[0], form, has_centre)?;
        Ok(query)
    }

    fn check(&self, name: &[u8], form: Form, has_centre: bool) -> Result<()> {
        let name = String::from_utf8_lossy(name);
        if self.store.is_some() && (self.with_distance || self.with_score || self.with_place) {
            let what = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(Error::reply(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if !has_centre {
            return Err(Error::reply(format!(
                "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            )));
        }
        if self.shape.is_none() {
            return Err(Error::reply(format!("ERR exactly one of BYRADIUS and BYBOX can be specified for {name}")));
        }
        if self.any && self.count.is_none() {
            return Err(Error::reply("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }

    fn set_radius(&mut self, text: &[u8], unit_of: &[u8]) -> Result<()> {
        let (radius, unit) = radius(text, unit_of)?;
        self.shape = Some(Shape::Circle { radius: radius * unit });
        self.unit = unit;
        Ok(())
    }

    fn set_box(&mut self, width: &[u8], height: &[u8], unit_of: &[u8]) -> Result<()> {
        let width = args::parse_float(width).ok_or(Error::reply("ERR need numeric width"))?;
        let height = args::parse_float(height).ok_or(Error::reply("ERR need numeric height"))?;
        if width < 0.0 || height < 0.0 {
            return Err(Error::reply("ERR height or width cannot be negative"));
        }
        self.unit = unit(unit_of)?;
        self.shape = Some(Shape::Box { width: width * self.unit, height: height * self.unit });
        Ok(())
    }

    fn search(&self, set: &ZSet, centre: Place, shape: Shape) -> Vec<Found> {
        // Without ANY the nearest are wanted, so all must be seen.
        let enough = if self.any { self.count.unwrap_or(usize::MAX) } else { usize::MAX };
        let mut found = Vec::new();
        for cell in shape.cells(centre) {
            let (from, to) = cell.scores();
            let ranks = set.partition(|score, _| score < from)..set.partition(|score, _| score < to);
            let inside = set.range(ranks).filter_map(|(member, score)| {
                let place = cell::middle(score);
                let distance = shape.distance(centre, place)? / self.unit;
                Some(Found { member: Bytes::copy_from_slice(member), score, place, distance })
            });
            found.extend(inside.take(enough - found.len()));
            if found.len() == enough {
                break;
            }
        }
        let order = self.order.or((self.count.is_some() && !self.any).then_some(Ordering::Less));
        if let Some(order) = order {
            found.sort_by(|a, b| {
                let nearer = a.distance.total_cmp(&b.distance);
                if order.is_lt() { nearer } else { nearer.reverse() }
            });
        }
        found.truncate(self.count.unwrap_or(usize::MAX));
        found
    }

    /// The reply when nothing is stored.
    pub(super) fn reply(&self, found: Vec<Found>, resp3: bool) -> Reply {
        let plain = !self.with_distance && !self.with_score && !self.with_place;
        let reply = |found: Found| {
            if plain {
                return Reply::Bulk(found.member);
            }
            let mut parts = vec![Reply::Bulk(found.member)];
            parts.extend(self.with_distance.then(|| distance(found.distance)));
            parts.extend(self.with_score.then_some(Reply::Integer(found.score as i64)));
            parts.extend(self.with_place.then(|| pos::place(found.place, resp3)));
            Reply::Array(parts)
        };
        Reply::Array(found.into_iter().map(reply).collect())
    }
}
