//! Operators and functions of geometric types: constructors, and what a point has to do with others.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;
use perigee_types::coded::Shape;
use perigee_types::{CodedType, SqlError, SqlResult, SqlType, Value};

use super::{Operation, kept};
use crate::exec::postgres::function::{Call, Function, overload};

const POINT: SqlType = SqlType::Coded(CodedType::Shape(Shape::Point));
const SEGMENT: SqlType = SqlType::Coded(CodedType::Shape(Shape::Segment));
const BOX: SqlType = SqlType::Coded(CodedType::Shape(Shape::Box));
const CIRCLE: SqlType = SqlType::Coded(CodedType::Shape(Shape::Circle));

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new("<->", "point_distance", [POINT, POINT], SqlType::Float8, |a, c| {
            let ([x1, y1], [x2, y2]) = (point(a, c, 0)?, point(a, c, 1)?);
            Ok(Value::Float8((x1 - x2).hypot(y1 - y2)))
        }),
        Operation::new("@>", "box_contain_pt", [BOX, POINT], SqlType::Bool, |a, c| in_box(a, c, 0, 1)),
        Operation::new("<@", "on_pb", [POINT, BOX], SqlType::Bool, |a, c| in_box(a, c, 1, 0)),
        Operation::new("@>", "circle_contain_pt", [CIRCLE, POINT], SqlType::Bool, |a, c| in_circle(a, c, 0, 1)),
        Operation::new("<@", "pt_contained_circle", [POINT, CIRCLE], SqlType::Bool, |a, c| in_circle(a, c, 1, 0)),
    ]
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Function::new(
            "point",
            vec![overload(&[SqlType::Float8, SqlType::Float8], POINT, |a, _| {
                of_points(Shape::Point, &[number_pair(a)])
            })],
        )
        .udf(),
        Function::new(
            "box",
            vec![overload(&[POINT, POINT], BOX, |a, c| of_points(Shape::Box, &[point(a, c, 0)?, point(a, c, 1)?]))],
        )
        .udf(),
        Function::new(
            "lseg",
            vec![overload(&[POINT, POINT], SEGMENT, |a, c| {
                of_points(Shape::Segment, &[point(a, c, 0)?, point(a, c, 1)?])
            })],
        )
        .udf(),
        Function::new(
            "circle",
            vec![overload(&[POINT, SqlType::Float8], CIRCLE, |a, c| {
                let [x, y] = point(a, c, 0)?;
                let radius = a.get(1).and_then(Value::as_f64).unwrap_or_default();
                Ok(Value::Bytea([x, y, radius].iter().flat_map(|number| number.to_be_bytes()).collect()))
            })],
        )
        .udf(),
    ]
}

fn numbers(args: &[Value], call: &Call<'_>, at: usize, shape: Shape) -> SqlResult<Vec<f64>> {
    kept(args, call, at, CodedType::Shape(shape)).map(|kept| shape.numbers(kept))
}

fn lost() -> SqlError {
    SqlError::internal("a geometric value is not kept as one")
}

fn point(args: &[Value], call: &Call<'_>, at: usize) -> SqlResult<[f64; 2]> {
    numbers(args, call, at, Shape::Point)?.try_into().map_err(|_| lost())
}

fn number_pair(args: &[Value]) -> [f64; 2] {
    [0, 1].map(|at: usize| args.get(at).and_then(Value::as_f64).unwrap_or_default())
}

fn of_points(shape: Shape, points: &[[f64; 2]]) -> SqlResult<Value> {
    shape.of_points(points, false).map(Value::Bytea).ok_or_else(lost)
}

fn in_box(args: &[Value], call: &Call<'_>, box_at: usize, point_at: usize) -> SqlResult<Value> {
    let [right, upper, left, lower]: [f64; 4] =
        numbers(args, call, box_at, Shape::Box)?.try_into().map_err(|_| lost())?;
    let [x, y] = point(args, call, point_at)?;
    Ok(Value::Bool((left..=right).contains(&x) && (lower..=upper).contains(&y)))
}

fn in_circle(args: &[Value], call: &Call<'_>, circle_at: usize, point_at: usize) -> SqlResult<Value> {
    let [x, y, radius]: [f64; 3] = numbers(args, call, circle_at, Shape::Circle)?.try_into().map_err(|_| lost())?;
    let [px, py] = point(args, call, point_at)?;
    Ok(Value::Bool((x - px).hypot(y - py) <= radius))
}
