//! Points and their like, kept as their binary format: doubles, big-endian.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::error::{SqlError, SqlResult, SqlState};
use crate::text::invalid_syntax;
use crate::text::number::{format_float8, parse_float8};

/// Which geometric type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Shape {
    /// point
    Point,
    /// line: A, B and C of Ax + By + C = 0
    Line,
    /// lseg: two points
    Segment,
    /// path: points, and whether the last is joined to the first
    Path,
    /// box: the upper right corner, then the lower left one
    Box,
    /// polygon: points
    Polygon,
    /// circle: its centre and its radius
    Circle,
}

impl Shape {
    pub(super) fn name(self) -> &'static str {
        match self {
            Shape::Point => "point",
            Shape::Line => "line",
            Shape::Segment => "lseg",
            Shape::Path => "path",
            Shape::Box => "box",
            Shape::Polygon => "polygon",
            Shape::Circle => "circle",
        }
    }

    pub(super) fn oids(self) -> (u32, u32) {
        match self {
            Shape::Point => (600, 1017),
            Shape::Line => (628, 629),
            Shape::Segment => (601, 1018),
            Shape::Path => (602, 1019),
            Shape::Box => (603, 1020),
            Shape::Polygon => (604, 1027),
            Shape::Circle => (718, 719),
        }
    }

    pub(super) fn type_length(self) -> i16 {
        match self {
            Shape::Point => 16,
            Shape::Line | Shape::Circle => 24,
            Shape::Segment | Shape::Box => 32,
            Shape::Path | Shape::Polygon => -1,
        }
    }

    pub(super) fn parse(self, text: &str) -> SqlResult<Vec<u8>> {
        let invalid = || invalid_syntax(self.name(), text);
        let mut reader = Reader { rest: text, text };
        match self {
            Shape::Line => self.parse_line(&mut reader, text),
            Shape::Circle => {
                let numbers = reader.circle(self)?.ok_or_else(invalid)?;
                if numbers[2] < 0.0 {
                    return Err(invalid());
                }
                Ok(encode(&numbers))
            }
            Shape::Point | Shape::Segment | Shape::Box | Shape::Path | Shape::Polygon => {
                let (points, open) = reader.points(self)?.ok_or_else(invalid)?;
                let brackets = matches!(self, Shape::Path | Shape::Segment);
                if open && !brackets {
                    return Err(invalid());
                }
                self.of_points(&points, open).ok_or_else(invalid)
            }
        }
    }

    fn parse_line(self, reader: &mut Reader<'_>, text: &str) -> SqlResult<Vec<u8>> {
        let invalid = || invalid_syntax(self.name(), text);
        let degenerate = |why: &str| {
            SqlError::new(SqlState::InvalidTextRepresentation, format!("invalid line specification: {why}"))
        };
        if reader.takes('{') {
            let mut numbers = [0.0; 3];
            for (at, number) in numbers.iter_mut().enumerate() {
                if at > 0 && !reader.takes(',') {
                    return Err(invalid());
                }
                *number = reader.number(self)?.ok_or_else(invalid)?;
            }
            if !reader.takes('}') || !reader.is_done() {
                return Err(invalid());
            }
            if numbers[0] == 0.0 && numbers[1] == 0.0 {
                return Err(degenerate("A and B cannot both be zero"));
            }
            return Ok(encode(&numbers));
        }
        let (points, _) = reader.points(self)?.ok_or_else(invalid)?;
        let [[x1, y1], [x2, y2]] = points.as_slice() else { return Err(invalid()) };
        if (x1, y1) == (x2, y2) {
            return Err(degenerate("must be two distinct points"));
        }
        Ok(encode(&if x1 == x2 {
            [-1.0, 0.0, *x1]
        } else {
            let slope = (y2 - y1) / (x2 - x1);
            [slope, -1.0, y1 - slope * x1]
        }))
    }

    /// What so many points make; `None` where they are too few or too many. `open`: of a path.
    #[must_use]
    pub fn of_points(self, points: &[[f64; 2]], open: bool) -> Option<Vec<u8>> {
        let flat = points.concat();
        Some(match (self, points) {
            (Shape::Point, [_]) | (Shape::Segment, [_, _]) => encode(&flat),
            (Shape::Box, [[x1, y1], [x2, y2]]) => {
                // NaN is the greatest number.
                let (right, left) = if greater(*x1, *x2) { (x1, x2) } else { (x2, x1) };
                let (upper, lower) = if greater(*y1, *y2) { (y1, y2) } else { (y2, y1) };
                encode(&[*right, *upper, *left, *lower])
            }
            (Shape::Polygon, [_, ..]) => [count(points), encode(&flat)].concat(),
            (Shape::Path, [_, ..]) => [vec![u8::from(!open)], count(points), encode(&flat)].concat(),
            _ => return None,
        })
    }

    /// The doubles of a value, without its count and flags.
    #[must_use]
    pub fn numbers(self, kept: &[u8]) -> Vec<f64> {
        let body = match self {
            Shape::Polygon => kept.get(4..),
            Shape::Path => kept.get(5..),
            _ => Some(kept),
        };
        let (chunks, _) = body.unwrap_or_default().as_chunks::<8>();
        chunks.iter().map(|chunk| f64::from_be_bytes(*chunk)).collect()
    }

    pub(super) fn format(self, kept: &[u8], extra_digits: i8) -> String {
        let number = |value: &f64| {
            let mut out = Vec::new();
            format_float8(&mut out, *value, extra_digits);
            String::from_utf8_lossy(&out).into_owned()
        };
        let numbers: Vec<String> = self.numbers(kept).iter().map(number).collect();
        let mut points = String::new();
        for (at, pair) in numbers.chunks(2).enumerate() {
            let _ = write!(points, "{}({})", if at > 0 { "," } else { "" }, pair.join(","));
        }
        match self {
            Shape::Point | Shape::Box => points,
            Shape::Segment => format!("[{points}]"),
            Shape::Polygon => format!("({points})"),
            Shape::Path if kept.first() == Some(&0) => format!("[{points}]"),
            Shape::Path => format!("({points})"),
            Shape::Line => format!("{{{}}}", numbers.join(",")),
            Shape::Circle => match numbers.as_slice() {
                [x, y, radius] => format!("<({x},{y}),{radius}>"),
                _ => String::new(),
            },
        }
    }

    pub(super) fn read_wire(self, wire: &[u8]) -> Option<Vec<u8>> {
        let counted = |header: usize| {
            let count = u32::from_be_bytes(*wire.get(header - 4..)?.first_chunk()?) as usize;
            (count > 0 && wire.len().checked_sub(header)? == count.checked_mul(16)?).then(|| wire.to_vec())
        };
        match self {
            Shape::Polygon => counted(4),
            Shape::Path if matches!(wire.first(), Some(0 | 1)) => counted(5),
            Shape::Path => None,
            _ if wire.len() != usize::try_from(self.type_length()).ok()? => None,
            Shape::Box => match self.numbers(wire).as_slice() {
                [x1, y1, x2, y2] => self.of_points(&[[*x1, *y1], [*x2, *y2]], false),
                _ => None,
            },
            Shape::Circle if self.numbers(wire).last().is_some_and(|radius| *radius < 0.0) => None,
            Shape::Line if self.numbers(wire).iter().take(2).all(|number| *number == 0.0) => None,
            _ => Some(wire.to_vec()),
        }
    }
}

fn greater(left: f64, right: f64) -> bool {
    crate::value::float_cmp(left, right).is_gt()
}

fn encode(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn count(points: &[[f64; 2]]) -> Vec<u8> {
    (points.len() as u32).to_be_bytes().to_vec()
}

struct Reader<'a> {
    rest: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn takes(&mut self, mark: char) -> bool {
        let rest = self.rest.trim_ascii_start();
        let found = rest.strip_prefix(mark);
        self.rest = found.unwrap_or(rest);
        found.is_some()
    }

    fn is_done(&self) -> bool {
        self.rest.trim_ascii().is_empty()
    }

    /// A number; `None` where there is none.
    fn number(&mut self, shape: Shape) -> SqlResult<Option<f64>> {
        let rest = self.rest.trim_ascii_start();
        let end = rest.find(|c: char| ",()[]{}<>".contains(c) || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (number, rest) = rest.split_at(end);
        if number.is_empty() {
            return Ok(None);
        }
        self.rest = rest;
        match parse_float8(number) {
            Ok(number) => Ok(Some(number)),
            Err(error) if error.state() == SqlState::InvalidTextRepresentation => {
                Err(invalid_syntax(shape.name(), self.text))
            }
            Err(error) => Err(error),
        }
    }

    fn pair(&mut self, shape: Shape) -> SqlResult<Option<[f64; 2]>> {
        let closes = self.takes('(');
        let Some(x) = self.number(shape)? else { return Ok(None) };
        if !self.takes(',') {
            return Ok(None);
        }
        let Some(y) = self.number(shape)? else { return Ok(None) };
        Ok((!closes || self.takes(')')).then_some([x, y]))
    }

    /// Points with or without parentheses around each and around all, and whether brackets are around all.
    fn points(&mut self, shape: Shape) -> SqlResult<Option<(Vec<[f64; 2]>, bool)>> {
        let open = self.takes('[');
        let mut enclosed = false;
        if !open && let Some(inner) = self.rest.trim_ascii_start().strip_prefix('(') {
            // A single parenthesis is around all numbers.
            enclosed = inner.trim_ascii_start().starts_with('(') || !inner.contains('(');
            if enclosed {
                self.rest = inner;
            }
        }
        let mut points = Vec::new();
        loop {
            let Some(point) = self.pair(shape)? else { return Ok(None) };
            points.push(point);
            if !self.takes(',') {
                break;
            }
        }
        let closed = (!enclosed || self.takes(')')) && (!open || self.takes(']'));
        Ok((closed && self.is_done()).then_some((points, open)))
    }

    fn circle(&mut self, shape: Shape) -> SqlResult<Option<[f64; 3]>> {
        let angle = self.takes('<');
        let mut outer = false;
        if !angle && let Some(inner) = self.rest.trim_ascii_start().strip_prefix('(') {
            outer = inner.trim_ascii_start().starts_with('(');
            if outer {
                self.rest = inner;
            }
        }
        let Some([x, y]) = self.pair(shape)? else { return Ok(None) };
        if !self.takes(',') {
            return Ok(None);
        }
        let Some(radius) = self.number(shape)? else { return Ok(None) };
        let closed = (!angle || self.takes('>')) && (!outer || self.takes(')'));
        Ok((closed && self.is_done()).then_some([x, y, radius]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shape: Shape, text: &str, want: &str) {
        let got = match shape.parse(text) {
            Ok(kept) => {
                assert_eq!(shape.read_wire(&kept).as_ref(), Some(&kept), "{text}");
                shape.format(&kept, 1)
            }
            Err(error) => error.state().code().to_owned(),
        };
        assert_eq!(got, want, "{text}");
    }

    #[test]
    fn texts() {
        check(Shape::Point, " ( 1.5 , -2 ) ", "(1.5,-2)");
        check(Shape::Point, "1,2", "(1,2)");
        check(Shape::Point, "(1,2", "22P02");
        check(Shape::Point, "(1,2),(3,4)", "22P02");
        check(Shape::Point, "(x,2)", "22P02");
        check(Shape::Segment, "[(1,2),(3,4)]", "[(1,2),(3,4)]");
        check(Shape::Segment, "1,2,3,4", "[(1,2),(3,4)]");
        check(Shape::Box, "(1,2),(3,4)", "(3,4),(1,2)");
        check(Shape::Box, "((3,1),(1,4))", "(3,4),(1,1)");
        check(Shape::Box, "[(3,1),(1,4)]", "22P02");
        check(Shape::Path, "[(0,0),(1,1)]", "[(0,0),(1,1)]");
        check(Shape::Path, "(0,0),(1,1)", "((0,0),(1,1))");
        check(Shape::Path, "(0,0,1,1)", "((0,0),(1,1))");
        check(Shape::Path, "[(0,0),(1,1)", "22P02");
        check(Shape::Polygon, "((0,0),(1,1),(1,0))", "((0,0),(1,1),(1,0))");
        check(Shape::Circle, "<(1,2),3>", "<(1,2),3>");
        check(Shape::Circle, "((1,2),3)", "<(1,2),3>");
        check(Shape::Circle, "1,2,3", "<(1,2),3>");
        check(Shape::Circle, "<(1,2),-3>", "22P02");
        check(Shape::Line, "{1,2,3}", "{1,2,3}");
        check(Shape::Line, "{0,0,3}", "22P02");
        check(Shape::Line, "(0,0),(1,1)", "{1,-1,0}");
    }
}
