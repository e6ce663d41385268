use super::*;

fn literal(value: Value) -> Box<Expr> {
    Box::new(Expr::Literal(value))
}

fn evaluate(expr: &Expr) -> Result<Value, &'static str> {
    expr.evaluate(&[], &[], &EvaluationContext::constant()).map_err(|e| e.state().code())
}

#[test]
fn operators_follow_postgresql() {
    use Operator::{Add, And, Concat, Divide, Eq, Lt, Modulo, Multiply, Or, Subtract};
    let int4 = Value::Int4;
    let numeric = SqlType::Numeric(None);
    let text = |s: &str| Value::Text(s.to_owned());
    let null = Value::Null;
    let cases = [
        (int4(2), Add, int4(3), SqlType::Int4, Ok(int4(5))),
        (int4(i32::MAX), Add, int4(1), SqlType::Int4, Err("22003")),
        (Value::Int2(300), Multiply, Value::Int2(300), SqlType::Int2, Err("22003")),
        (Value::Int8(i64::MIN), Subtract, Value::Int8(1), SqlType::Int8, Err("22003")),
        (int4(-7), Divide, int4(2), SqlType::Int4, Ok(int4(-3))),
        (int4(-7), Modulo, int4(2), SqlType::Int4, Ok(int4(-1))),
        (int4(1), Divide, int4(0), SqlType::Int4, Err("22012")),
        (Value::Int8(i64::MIN), Divide, Value::Int8(-1), SqlType::Int8, Err("22003")),
        (Value::Int8(i64::MIN), Modulo, Value::Int8(-1), SqlType::Int8, Ok(Value::Int8(0))),
        (null.clone(), Add, int4(3), SqlType::Int4, Ok(Value::Null)),
        (Value::Numeric(150, 2), Add, int4(1), numeric.clone(), Ok(Value::Numeric(250, 2))),
        (Value::Numeric(150, 2), Multiply, Value::Numeric(20, 1), numeric.clone(), Ok(Value::Numeric(3000, 3))),
        (Value::Numeric(1, 0), Divide, Value::Numeric(0, 0), numeric.clone(), Err("22012")),
        (
            Value::Numeric(2, 0),
            Divide,
            Value::Numeric(3, 0),
            numeric.clone(),
            Ok(Value::Numeric(66_666_666_666_666_666_667, 20)),
        ),
        (Value::Numeric(150, 2), Eq, Value::Numeric(15, 1), numeric, Ok(Value::Bool(true))),
        (Value::Float8(1.0), Divide, Value::Float8(0.0), SqlType::Float8, Err("22012")),
        (Value::Float8(1e308), Multiply, Value::Float8(10.0), SqlType::Float8, Err("22003")),
        (text("a"), Lt, text("b"), SqlType::Text, Ok(Value::Bool(true))),
        (text("a"), Concat, text("b"), SqlType::Text, Ok(text("ab"))),
        (text("a"), Eq, null.clone(), SqlType::Text, Ok(Value::Null)),
        (Value::Bool(false), And, null.clone(), SqlType::Bool, Ok(Value::Bool(false))),
        (null.clone(), And, Value::Bool(false), SqlType::Bool, Ok(Value::Bool(false))),
        (null.clone(), And, Value::Bool(true), SqlType::Bool, Ok(Value::Null)),
        (null.clone(), Or, Value::Bool(true), SqlType::Bool, Ok(Value::Bool(true))),
        (null, Or, Value::Bool(false), SqlType::Bool, Ok(Value::Null)),
    ];
    for (left, operator, right, ty, want) in cases {
        let expr = Expr::Binary { left: literal(left), operator, right: literal(right), ty };
        assert_eq!(evaluate(&expr), want, "{expr:?}");
    }
}

#[test]
fn casts_follow_postgresql() {
    let text = |s: &str| Value::Text(s.to_owned());
    let numeric = |p, s| SqlType::Numeric(Some((p, s)));
    let cases = [
        (Value::Int8(5_000_000_000), SqlType::Int8, SqlType::Int4, false, Err("22003")),
        (Value::Int4(7), SqlType::Int4, SqlType::Int8, false, Ok(Value::Int8(7))),
        (Value::Numeric(25, 1), numeric(2, 1), SqlType::Int4, false, Ok(Value::Int4(3))),
        (Value::Numeric(-25, 1), numeric(2, 1), SqlType::Int4, false, Ok(Value::Int4(-3))),
        (Value::Float8(2.5), SqlType::Float8, SqlType::Int4, false, Ok(Value::Int4(2))),
        (Value::Float8(f64::NAN), SqlType::Float8, SqlType::Int4, false, Err("22003")),
        (Value::Float8(1.1), SqlType::Float8, numeric(5, 2), false, Ok(Value::Numeric(110, 2))),
        (Value::Float8(-1e-50), SqlType::Float8, numeric(5, 2), false, Ok(Value::Numeric(0, 2))),
        (Value::Int4(1000), SqlType::Int4, numeric(5, 2), false, Err("22003")),
        (Value::Numeric(12_345, 3), numeric(5, 3), numeric(5, 2), false, Ok(Value::Numeric(1235, 2))),
        (text("abcdef"), SqlType::Text, SqlType::Varchar(Some(3)), true, Ok(text("abc"))),
        (text("abcdef"), SqlType::Text, SqlType::Varchar(Some(3)), false, Err("22001")),
        (text("42"), SqlType::Text, SqlType::Int4, true, Ok(Value::Int4(42))),
        (text("x"), SqlType::Text, SqlType::Int4, true, Err("22P02")),
        (Value::Bool(true), SqlType::Bool, SqlType::Text, true, Ok(text("true"))),
        (Value::Int4(5), SqlType::Int4, SqlType::Text, false, Ok(text("5"))),
        (Value::Date(1), SqlType::Date, SqlType::Timestamp(None), false, Ok(Value::Timestamp(DAY))),
        (Value::Timestamptz(DAY + 5), SqlType::Timestamptz(None), SqlType::Time(None), false, Ok(Value::Time(5))),
        (Value::Timestamp(-1), SqlType::Timestamp(None), SqlType::Date, false, Ok(Value::Date(-1))),
        (Value::Bool(true), SqlType::Bool, SqlType::Int8, true, Err("42846")),
        (Value::Null, SqlType::Bool, SqlType::Int8, true, Ok(Value::Null)),
    ];
    for (value, from_type, to, explicit, want) in cases {
        let expr = Expr::Cast { from: literal(value), from_type, to, explicit };
        assert_eq!(evaluate(&expr), want, "{expr:?}");
    }
}

const DAY: i64 = 86_400_000_000;

#[test]
fn a_key_that_its_type_cannot_hold_finds_nothing() {
    let cases = [
        (Value::Int8(5_000_000_000), SqlType::Int8, SqlType::Int4, Value::Null),
        (Value::Int8(5), SqlType::Int8, SqlType::Int4, Value::Int4(5)),
        (Value::Numeric(50, 1), SqlType::Numeric(None), SqlType::Int4, Value::Int4(5)),
        (Value::Numeric(55, 1), SqlType::Numeric(None), SqlType::Int4, Value::Null),
        (Value::Float8(5.5), SqlType::Float8, SqlType::Int4, Value::Null),
        (Value::Int4(5), SqlType::Int4, SqlType::Numeric(Some((5, 2))), Value::Numeric(500, 2)),
        (Value::Numeric(5, 3), SqlType::Numeric(None), SqlType::Numeric(Some((5, 2))), Value::Null),
        (Value::Text("a  ".into()), SqlType::Text, SqlType::Char(5), Value::Text("a".into())),
    ];
    for (value, from_type, to, want) in cases {
        let expr = Expr::KeyCast { from: literal(value), from_type, to };
        assert_eq!(evaluate(&expr), Ok(want), "{expr:?}");
    }
}
