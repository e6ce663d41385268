//! Expressions as PostgreSQL prints them: with the casts that analysis adds and, unless they are to be pretty, with parentheses
//! around every operation.
//!
//! They are kept as SQL, so they are read again and typed again, by the types of the columns that they name. What is not known
//! here to its last type gives nothing, and the caller shows the text that is kept.

use perigee_types::text::{OutputSettings, format, parse};
use perigee_types::{SqlType, Value};
use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    UnaryOperator, Value as Literal,
};

use super::deparse::quote_ident;
use super::functions::{Callable, callables, type_name};
use super::scope::Scope;
use crate::sql::fold;

/// An expression with its casts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// A column.
    Column(String),
    /// A constant, or a word that stands for a value.
    Constant(String),
    /// A function's name, DISTINCT, its arguments.
    Call(String, bool, Vec<Node>),
    /// `ARRAY[…]`
    List(Vec<Node>),
    /// `x::type`
    Cast(Box<Node>, String),
    /// `a + b`, or `- b`.
    Operation(String, Option<Box<Node>>, Box<Node>),
    /// `a = ANY (b)`
    Quantified(String, Box<Node>, Box<Node>),
    /// AND
    And(Vec<Node>),
    /// OR
    Or(Vec<Node>),
    /// NOT
    Not(Box<Node>),
    /// `x IS NULL` and its like.
    Test(Box<Node>, &'static str),
}

/// An expression with its type.
#[derive(Clone, Debug)]
struct Typed {
    node: Node,
    ty: Type,
}

#[derive(Clone, Debug)]
enum Type {
    Known(SqlType),
    /// A string constant, or NULL, whose type comes from what is around it.
    Open(Option<String>),
}

/// A column by the parts of its name: as it is printed, and its type.
pub(super) type ColumnOf<'a> = dyn Fn(&[Ident]) -> Option<(String, SqlType)> + 'a;

/// What an expression's names mean.
pub(super) struct Names<'a, 's> {
    pub(super) scope: &'a Scope<'s>,
    pub(super) column: &'a ColumnOf<'a>,
}

/// The expression as it is printed; `None` where it is not known well enough.
pub(super) fn node(expr: &Expr, names: &Names) -> Option<Node> {
    let typed = names.typed(expr)?;
    names.closed(typed).map(|(node, _)| node)
}

/// As [`node`], of a condition.
pub(super) fn condition(expr: &Expr, names: &Names) -> Option<Node> {
    names.boolean(expr)
}

impl Node {
    /// Its text. `pretty`: parentheses only where they are needed.
    pub(super) fn text(&self, pretty: bool) -> String {
        let own = |text: String| if pretty { text } else { format!("({text})") };
        match self {
            Node::Column(text) | Node::Constant(text) => text.clone(),
            Node::Call(name, distinct, arguments) => {
                let distinct = if *distinct { "DISTINCT " } else { "" };
                format!("{name}({distinct}{})", list(arguments, pretty))
            }
            Node::List(elements) => format!("ARRAY[{}]", list(elements, pretty)),
            Node::Cast(of, ty) if pretty => format!("{}::{ty}", self.part(of, true, pretty)),
            Node::Cast(of, ty) => format!("({})::{ty}", of.text(pretty)),
            Node::Operation(operator, None, right) => own(format!("{operator} {}", self.part(right, false, pretty))),
            Node::Operation(operator, Some(left), right) => {
                let (left, right) = (self.part(left, true, pretty), self.part(right, false, pretty));
                own(format!("{left} {operator} {right}"))
            }
            Node::Quantified(operator, left, right) => {
                own(format!("{} {operator} ({})", self.part(left, true, pretty), right.text(pretty)))
            }
            Node::And(parts) => own(self.joined(parts, " AND ", pretty)),
            Node::Or(parts) => own(self.joined(parts, " OR ", pretty)),
            Node::Not(of) => own(format!("NOT {}", self.part(of, false, pretty))),
            Node::Test(of, test) => own(format!("{} {test}", self.part(of, true, pretty))),
        }
    }

    fn joined(&self, parts: &[Node], word: &str, pretty: bool) -> String {
        let parts: Vec<String> = parts.iter().map(|part| self.part(part, false, pretty)).collect();
        parts.join(word)
    }

    /// A part of this, in parentheses where pretty text needs them.
    fn part(&self, part: &Node, first: bool, pretty: bool) -> String {
        let text = part.text(pretty);
        if pretty && !part.is_simple_in(self, first) { format!("({text})") } else { text }
    }

    /// Whether it needs no parentheses as a part of another, by PostgreSQL's rules.
    fn is_simple_in(&self, parent: &Node, first: bool) -> bool {
        let in_logic = matches!(parent, Node::And(_) | Node::Or(_) | Node::Not(_));
        match self {
            Node::Column(_) | Node::Constant(_) | Node::Call(..) | Node::List(_) | Node::Cast(..) => true,
            Node::Operation(..) => match (self.strength(), parent.strength()) {
                (Some(own), Some(around)) => own > around || own == around && first,
                _ => in_logic,
            },
            Node::Quantified(..) => false,
            Node::Test(..) => in_logic,
            Node::And(_) | Node::Not(_) => matches!(parent, Node::And(_) | Node::Or(_)),
            Node::Or(_) => matches!(parent, Node::Or(_)),
        }
    }

    /// How strongly an arithmetic operator binds.
    fn strength(&self) -> Option<u8> {
        match self {
            Node::Operation(operator, Some(_), _) => match operator.as_str() {
                "+" | "-" => Some(1),
                "*" | "/" | "%" => Some(2),
                _ => None,
            },
            _ => None,
        }
    }

    /// A sort or grouping key: what is no column stands in parentheses.
    pub(super) fn key_text(&self, pretty: bool) -> String {
        match self {
            Node::Column(text) => text.clone(),
            Node::Call(..) | Node::Constant(_) | Node::List(_) | Node::Cast(..) => format!("({})", self.text(pretty)),
            _ if pretty => format!("({})", self.text(pretty)),
            _ => self.text(pretty),
        }
    }
}

/// AND or OR of two parts: a chain of them is one, from the left.
fn chain(op: &BinaryOperator, left: &Expr, mut parts: Vec<Node>) -> Node {
    let mut left = left;
    while let Expr::Nested(inner) = left {
        left = inner;
    }
    let continues = matches!(left, Expr::BinaryOp { op: before, .. } if before == op);
    if continues && let Some(Node::And(before) | Node::Or(before)) = parts.first() {
        let before = before.clone();
        parts.splice(..1, before).for_each(drop);
    }
    if *op == BinaryOperator::And { Node::And(parts) } else { Node::Or(parts) }
}

fn list(nodes: &[Node], pretty: bool) -> String {
    nodes.iter().map(|node| node.text(pretty)).collect::<Vec<_>>().join(", ")
}

fn known(node: Node, ty: SqlType) -> Typed {
    Typed { node, ty: Type::Known(ty) }
}

fn word(text: &str, ty: SqlType) -> Typed {
    known(Node::Constant(text.to_owned()), ty)
}

impl Names<'_, '_> {
    fn type_text(&self, ty: &SqlType) -> String {
        match ty {
            SqlType::Enum(of) => type_name(self.scope, of.oid()),
            SqlType::Array(of) => format!("{}[]", self.type_text(of)),
            SqlType::Char(_) => "bpchar".to_owned(),
            other => without_modifier(other).to_string(),
        }
    }

    /// What stays open is text.
    fn closed(&self, typed: Typed) -> Option<(Node, SqlType)> {
        match typed.ty {
            Type::Known(ty) => Some((typed.node, ty)),
            Type::Open(_) => Some((self.coerced(typed, &SqlType::Text)?, SqlType::Text)),
        }
    }

    /// The expression as a value of a type.
    fn coerced(&self, typed: Typed, to: &SqlType) -> Option<Node> {
        match typed.ty {
            Type::Known(from) if from.oid() == to.oid() => Some(typed.node),
            Type::Known(_) => Some(Node::Cast(Box::new(typed.node), self.type_text(to))),
            Type::Open(None) => Some(Node::Constant(format!("NULL::{}", self.type_text(to)))),
            Type::Open(Some(text)) => self.constant(&text, to),
        }
    }

    /// A string constant as a value of a type.
    fn constant(&self, text: &str, ty: &SqlType) -> Option<Node> {
        if matches!(ty, SqlType::Timestamptz(_)) {
            // What it means, and how it is shown, is the session's to say.
            return None;
        }
        let is_text = matches!(ty, SqlType::Text | SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name);
        let value = if is_text { Value::Text(text.to_owned()) } else { parse(text, ty).ok()? };
        let shown = if is_text { text.to_owned() } else { format(&value, ty, &OutputSettings::default()) };
        Some(Node::Constant(match value {
            Value::Bool(value) => value.to_string(),
            Value::Int4(value) if value >= 0 => shown,
            _ => format!("'{}'::{}", shown.replace('\'', "''"), self.type_text(ty)),
        }))
    }

    fn boolean(&self, expr: &Expr) -> Option<Node> {
        let typed = self.typed(expr)?;
        match &typed.ty {
            Type::Known(SqlType::Bool) | Type::Open(_) => self.coerced(typed, &SqlType::Bool),
            Type::Known(_) => None,
        }
    }

    fn typed(&self, expr: &Expr) -> Option<Typed> {
        match expr {
            Expr::Nested(inner) => self.typed(inner),
            Expr::Identifier(ident) => self.named(std::slice::from_ref(ident)),
            Expr::CompoundIdentifier(parts) => self.named(parts),
            Expr::Value(value) => literal(&value.value),
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => self.negated(expr),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => {
                Some(known(Node::Not(Box::new(self.boolean(expr)?)), SqlType::Bool))
            }
            Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
                let parts = vec![self.boolean(left)?, self.boolean(right)?];
                Some(known(chain(op, left, parts), SqlType::Bool))
            }
            Expr::BinaryOp { left, op, right } => {
                self.operation(self.typed(left)?, &op.to_string(), self.typed(right)?)
            }
            Expr::Like { negated, expr, pattern, escape_char: None, any: false } => {
                self.operation(self.typed(expr)?, if *negated { "!~~" } else { "~~" }, self.typed(pattern)?)
            }
            Expr::ILike { negated, expr, pattern, escape_char: None, any: false } => {
                self.operation(self.typed(expr)?, if *negated { "!~~*" } else { "~~*" }, self.typed(pattern)?)
            }
            Expr::Between { expr, negated, low, high } => {
                let (below, above) = if *negated { ("<", ">") } else { (">=", "<=") };
                let low = self.operation(self.typed(expr)?, below, self.typed(low)?)?.node;
                let high = self.operation(self.typed(expr)?, above, self.typed(high)?)?.node;
                let parts = vec![low, high];
                Some(known(if *negated { Node::Or(parts) } else { Node::And(parts) }, SqlType::Bool))
            }
            Expr::IsNull(of) => self.test(of, "IS NULL"),
            Expr::IsNotNull(of) => self.test(of, "IS NOT NULL"),
            Expr::IsTrue(of) => self.truth(of, "IS TRUE"),
            Expr::IsNotTrue(of) => self.truth(of, "IS NOT TRUE"),
            Expr::IsFalse(of) => self.truth(of, "IS FALSE"),
            Expr::IsNotFalse(of) => self.truth(of, "IS NOT FALSE"),
            Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            Expr::Cast { expr, data_type, .. } => self.cast(expr, &crate::exec::sql_type_of(data_type).ok()?),
            Expr::Substring { expr, substring_from, substring_for, special: true, shorthand } => {
                let parts = [Some(expr), substring_from.as_ref(), substring_for.as_ref()];
                let arguments: Vec<Typed> =
                    parts.into_iter().flatten().map(|part| self.typed(part)).collect::<Option<_>>()?;
                self.called(None, if *shorthand { "substr" } else { "substring" }, false, arguments)
            }
            Expr::Function(function) => self.call(function),
            _ => None,
        }
    }

    fn named(&self, parts: &[Ident]) -> Option<Typed> {
        let (text, ty) = (self.column)(parts)?;
        Some(known(Node::Column(text), ty))
    }

    /// A minus before a number is a part of it.
    fn negated(&self, expr: &Expr) -> Option<Typed> {
        let typed = self.typed(expr)?;
        let Type::Known(ty) = typed.ty else { return None };
        match (&typed.node, &ty) {
            (Node::Constant(digits), SqlType::Int4 | SqlType::Numeric(_))
                if digits.starts_with(|c: char| c.is_ascii_digit()) =>
            {
                Some(known(Node::Constant(format!("'-{digits}'::{}", self.type_text(&ty))), ty))
            }
            (_, SqlType::Int2 | SqlType::Int4 | SqlType::Int8 | SqlType::Numeric(_))
            | (_, SqlType::Float4 | SqlType::Float8 | SqlType::Interval | SqlType::IntervalOf(_)) => {
                Some(known(Node::Operation("-".to_owned(), None, Box::new(typed.node)), ty))
            }
            _ => None,
        }
    }

    fn test(&self, of: &Expr, test: &'static str) -> Option<Typed> {
        let (of, _) = self.closed(self.typed(of)?)?;
        Some(known(Node::Test(Box::new(of), test), SqlType::Bool))
    }

    fn truth(&self, of: &Expr, test: &'static str) -> Option<Typed> {
        Some(known(Node::Test(Box::new(self.boolean(of)?), test), SqlType::Bool))
    }

    fn operation(&self, left: Typed, operator: &str, right: Typed) -> Option<Typed> {
        let compares = matches!(operator, "=" | "<>" | "<" | "<=" | ">" | ">=");
        let matches_text = matches!(operator, "~~" | "!~~" | "~~*" | "!~~*" | "~" | "~*" | "!~" | "!~*");
        let (left_type, right_type) = match (&left.ty, &right.ty) {
            _ if matches_text => (SqlType::Text, SqlType::Text),
            (Type::Open(_), Type::Open(_)) if compares || operator == "||" => (SqlType::Text, SqlType::Text),
            (Type::Known(ty), Type::Open(_)) | (Type::Open(_), Type::Known(ty)) => {
                let ty = compared_as(ty);
                (ty.clone(), ty)
            }
            (Type::Known(left), Type::Known(right)) => sides(left, operator, right)?,
            _ => return None,
        };
        let fits = |ty: &Type| matches!(ty, Type::Open(_)) || matches!(ty, Type::Known(ty) if is_text(ty));
        if matches_text && !(fits(&left.ty) && fits(&right.ty)) {
            return None;
        }
        let result = if compares || matches_text {
            SqlType::Bool
        } else if operator == "||" {
            (is_text(&left_type) && is_text(&right_type)).then_some(SqlType::Text)?
        } else {
            arithmetic(&left_type, operator, &right_type)?
        };
        let left = self.coerced(left, &left_type)?;
        let right = self.coerced(right, &right_type)?;
        Some(known(Node::Operation(operator.to_owned(), Some(Box::new(left)), Box::new(right)), result))
    }

    /// `x IN (a, b)` is `x = ANY (ARRAY[a, b])`, where all are constants of one type.
    fn in_list(&self, expr: &Expr, list: &[Expr], negated: bool) -> Option<Typed> {
        let of = self.typed(expr)?;
        let Type::Known(ty) = of.ty.clone() else { return None };
        let elements: Vec<Typed> = list.iter().map(|element| self.typed(element)).collect::<Option<_>>()?;
        let operator = if negated { "<>" } else { "=" };
        if let [_] = elements.as_slice() {
            return self.operation(of, operator, elements.into_iter().next()?);
        }
        let same = |typed: &Typed| match &typed.ty {
            Type::Open(text) => text.is_some(),
            Type::Known(element) => element.oid() == ty.oid(),
        };
        if !elements.iter().all(same) {
            return None;
        }
        let elements = elements.into_iter().map(|element| self.coerced(element, &ty)).collect::<Option<_>>()?;
        let (mut left, mut right) = (of.node, Node::List(elements));
        if matches!(ty, SqlType::Varchar(_)) {
            left = Node::Cast(Box::new(left), "text".to_owned());
            right = Node::Cast(Box::new(right), "text[]".to_owned());
        }
        let operator = format!("{operator} {}", if negated { "ALL" } else { "ANY" });
        Some(known(Node::Quantified(operator, Box::new(left), Box::new(right)), SqlType::Bool))
    }

    fn cast(&self, expr: &Expr, to: &SqlType) -> Option<Typed> {
        let typed = self.typed(expr)?;
        let bare = without_modifier(to);
        let has_modifier = bare.to_string() != to.to_string();
        let node = match typed.ty {
            Type::Open(_) if has_modifier => return None,
            Type::Open(_) => self.coerced(typed, to)?,
            Type::Known(from) if from.oid() == to.oid() && !has_modifier => typed.node,
            Type::Known(_) => {
                let name = if has_modifier { to.to_string() } else { self.type_text(to) };
                Node::Cast(Box::new(typed.node), name)
            }
        };
        Some(known(node, to.clone()))
    }

    fn call(&self, function: &Function) -> Option<Typed> {
        let plain = function.over.is_none()
            && function.filter.is_none()
            && function.within_group.is_empty()
            && function.null_treatment.is_none();
        let name = fold(function.name.0.last()?.as_ident()?);
        let list = match &function.args {
            FunctionArguments::None => return session_value(&name),
            FunctionArguments::List(list) if plain && list.clauses.is_empty() => list,
            _ => return None,
        };
        let distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
        let star = matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]);
        if star && name == "count" {
            return Some(word("count(*)", SqlType::Int8));
        }
        let arguments = list.args.iter().map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.typed(expr),
            _ => None,
        });
        let arguments: Vec<Typed> = arguments.collect::<Option<_>>()?;
        if let "coalesce" | "greatest" | "least" | "nullif" = name.as_str() {
            return self.choice(&name, arguments);
        }
        let schema = match function.name.0.as_slice() {
            [schema, _] => Some(fold(schema.as_ident()?)).filter(|schema| schema != "pg_catalog"),
            _ => None,
        };
        self.called(schema.as_deref(), &name, distinct, arguments)
    }

    /// A call of a function by its name and its arguments.
    fn called(&self, schema: Option<&str>, name: &str, distinct: bool, arguments: Vec<Typed>) -> Option<Typed> {
        let found = callables(self.scope, schema, name, arguments.len());
        let best = found.iter().filter_map(|signature| Some((cost(signature, &arguments)?, signature)));
        let mut best: Vec<_> = best.collect();
        best.sort_by_key(|(cost, _)| *cost);
        let (_, signature) = match best.as_slice() {
            [(first, _), (second, _), ..] if first == second => return None,
            [first, ..] => first,
            [] => return None,
        };
        let result = match signature.result {
            ANY_ELEMENT => match arguments.first().map(|argument| argument.ty.clone()) {
                Some(Type::Known(ty)) => ty,
                _ => return None,
            },
            oid => self.scope.catalog().type_of_oid(oid)?,
        };
        let of_parameter = |(argument, oid): (Typed, &u32)| match *oid {
            ANY | ANY_ELEMENT | ANY_ARRAY => self.closed(argument).map(|(node, _)| node),
            oid => self.coerced(argument, &self.scope.catalog().type_of_oid(oid)?),
        };
        let arguments = arguments.into_iter().zip(&signature.parameters).map(of_parameter).collect::<Option<_>>()?;
        Some(known(Node::Call(signature.name.clone(), distinct, arguments), result))
    }

    /// COALESCE and its like: all are of one type.
    fn choice(&self, name: &str, arguments: Vec<Typed>) -> Option<Typed> {
        let mut types = arguments.iter().filter_map(|argument| match &argument.ty {
            Type::Known(ty) => Some(ty.clone()),
            Type::Open(_) => None,
        });
        let first = types.next().unwrap_or(SqlType::Text);
        if types.any(|ty| ty.oid() != first.oid()) {
            return None;
        }
        let arguments = arguments.into_iter().map(|argument| self.coerced(argument, &first)).collect::<Option<_>>()?;
        Some(known(Node::Call(name.to_uppercase(), false, arguments), first))
    }
}

/// Oids of the types that stand for any.
const ANY: u32 = 2276;
const ANY_ARRAY: u32 = 2277;
const ANY_ELEMENT: u32 = 2283;

/// How far arguments are from a function's parameters; `None` where they do not fit.
fn cost(signature: &Callable, arguments: &[Typed]) -> Option<u32> {
    let mut all = 0;
    for (argument, parameter) in arguments.iter().zip(&signature.parameters) {
        all += match (&argument.ty, *parameter) {
            (_, ANY | ANY_ELEMENT) => 1,
            (Type::Known(SqlType::Array(_)), ANY_ARRAY) => 1,
            (Type::Known(ty), oid) if ty.oid() == oid => 0,
            (Type::Known(ty), oid) => widening(ty, oid)?,
            (Type::Open(_), oid) if oid == SqlType::Text.oid() => 1,
            (Type::Open(_), _) => 3,
        };
    }
    Some(all)
}

/// How far a type is from another that it becomes by itself.
fn widening(from: &SqlType, to: u32) -> Option<u32> {
    let steps: &[SqlType] = match from {
        SqlType::Varchar(_) | SqlType::Name => &[SqlType::Text],
        SqlType::Int2 => &[SqlType::Float8, SqlType::Int4, SqlType::Int8, SqlType::Numeric(None)],
        SqlType::Int4 => &[SqlType::Float8, SqlType::Int8, SqlType::Numeric(None)],
        SqlType::Int8 => &[SqlType::Float8, SqlType::Numeric(None)],
        SqlType::Numeric(_) | SqlType::Float4 => &[SqlType::Float8],
        SqlType::Date => &[SqlType::Timestamptz(None), SqlType::Timestamp(None)],
        SqlType::Timestamp(_) => &[SqlType::Timestamptz(None)],
        _ => &[],
    };
    let at = steps.iter().position(|step| step.oid() == to)?;
    u32::try_from(at).ok().map(|at| at + 1)
}

/// `now` and its like without parentheses.
fn session_value(name: &str) -> Option<Typed> {
    let ty = match name {
        "current_timestamp" => SqlType::Timestamptz(None),
        "current_date" => SqlType::Date,
        "localtimestamp" => SqlType::Timestamp(None),
        "localtime" => SqlType::Time(None),
        "current_user" | "session_user" | "current_role" | "current_catalog" | "current_schema" | "user" => {
            SqlType::Name
        }
        _ => return None,
    };
    Some(word(&name.to_uppercase(), ty))
}

fn literal(value: &Literal) -> Option<Typed> {
    Some(match value {
        Literal::Number(digits, _) => match digits.parse::<i64>() {
            Ok(number) if i32::try_from(number).is_ok() => word(&number.to_string(), SqlType::Int4),
            Ok(number) => word(&format!("'{number}'::bigint"), SqlType::Int8),
            Err(_) if digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') && digits.contains('.') => {
                word(digits, SqlType::Numeric(None))
            }
            Err(_) => return None,
        },
        Literal::SingleQuotedString(text) => {
            Typed { node: Node::Constant(String::new()), ty: Type::Open(Some(text.clone())) }
        }
        Literal::Null => Typed { node: Node::Constant(String::new()), ty: Type::Open(None) },
        Literal::Boolean(value) => word(&value.to_string(), SqlType::Bool),
        _ => return None,
    })
}

fn is_text(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Text | SqlType::Varchar(_))
}

fn is_integer(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Int2 | SqlType::Int4 | SqlType::Int8)
}

fn is_moment(ty: &SqlType) -> bool {
    matches!(ty, SqlType::Date | SqlType::Timestamp(_) | SqlType::Timestamptz(_))
}

/// The type by whose operators values of a type are compared.
fn compared_as(ty: &SqlType) -> SqlType {
    match ty {
        SqlType::Varchar(_) => SqlType::Text,
        other => other.clone(),
    }
}

/// The types of both sides of an operator that takes these.
fn sides(left: &SqlType, operator: &str, right: &SqlType) -> Option<(SqlType, SqlType)> {
    let both = |ty: SqlType| Some((ty.clone(), ty));
    let is_float = |ty: &SqlType| matches!(ty, SqlType::Float4 | SqlType::Float8);
    let is_numeric = |ty: &SqlType| matches!(ty, SqlType::Numeric(_));
    let as_they_are = Some((left.clone(), right.clone()));
    if is_text(left) && is_text(right) {
        return both(SqlType::Text);
    }
    if left.oid() == right.oid() || is_integer(left) && is_integer(right) || is_float(left) && is_float(right) {
        return as_they_are;
    }
    if is_numeric(left) && is_integer(right) || is_integer(left) && is_numeric(right) {
        return both(SqlType::Numeric(None));
    }
    let number = |ty: &SqlType| is_integer(ty) || is_numeric(ty) || is_float(ty);
    if number(left) && number(right) {
        return both(SqlType::Float8);
    }
    let known = match operator {
        "+" => {
            is_moment(left) && matches!(right, SqlType::Interval | SqlType::IntervalOf(_))
                || matches!((left, right), (SqlType::Date, SqlType::Int4) | (SqlType::Int4, SqlType::Date))
        }
        "-" => {
            is_moment(left) && matches!(right, SqlType::Interval | SqlType::IntervalOf(_))
                || matches!((left, right), (SqlType::Date, SqlType::Int4))
        }
        "=" | "<>" | "<" | "<=" | ">" | ">=" => is_moment(left) && is_moment(right),
        _ => false,
    };
    if known { as_they_are } else { None }
}

/// The type of an arithmetic operator's result.
fn arithmetic(left: &SqlType, operator: &str, right: &SqlType) -> Option<SqlType> {
    if !matches!(operator, "+" | "-" | "*" | "/" | "%") {
        return None;
    }
    Some(match (left, right) {
        _ if is_integer(left) && is_integer(right) => {
            if left.type_length() >= right.type_length() {
                left.clone()
            } else {
                right.clone()
            }
        }
        (SqlType::Numeric(_), SqlType::Numeric(_)) => SqlType::Numeric(None),
        (SqlType::Float4, SqlType::Float4) => SqlType::Float4,
        (SqlType::Float4 | SqlType::Float8, SqlType::Float4 | SqlType::Float8) => SqlType::Float8,
        (SqlType::Date, SqlType::Date) if operator == "-" => SqlType::Int4,
        (SqlType::Date, SqlType::Int4) | (SqlType::Int4, SqlType::Date) => SqlType::Date,
        (SqlType::Date, SqlType::Interval | SqlType::IntervalOf(_)) => SqlType::Timestamp(None),
        (SqlType::Timestamp(_) | SqlType::Timestamptz(_), SqlType::Interval | SqlType::IntervalOf(_)) => left.clone(),
        (SqlType::Timestamp(_), SqlType::Timestamp(_)) | (SqlType::Timestamptz(_), SqlType::Timestamptz(_))
            if operator == "-" =>
        {
            SqlType::Interval
        }
        (SqlType::Interval | SqlType::IntervalOf(_), SqlType::Interval | SqlType::IntervalOf(_))
            if matches!(operator, "+" | "-") =>
        {
            SqlType::Interval
        }
        _ => return None,
    })
}

fn without_modifier(ty: &SqlType) -> SqlType {
    match ty {
        SqlType::Varchar(_) => SqlType::Varchar(None),
        SqlType::Numeric(_) => SqlType::Numeric(None),
        SqlType::Time(_) => SqlType::Time(None),
        SqlType::Timetz(_) => SqlType::Timetz(None),
        SqlType::Timestamp(_) => SqlType::Timestamp(None),
        SqlType::Timestamptz(_) => SqlType::Timestamptz(None),
        SqlType::Array(of) => SqlType::Array(Box::new(without_modifier(of))),
        other => other.clone(),
    }
}

/// A column's name as it is printed, behind its relation's where that is printed.
pub(super) fn column_text(relation: Option<&str>, column: &str) -> String {
    match relation {
        Some(relation) => format!("{}.{}", quote_ident(relation), quote_ident(column)),
        None => quote_ident(column),
    }
}
