//! Arguments by name: `f(a, name => b)`.

use perigee_types::{SqlError, SqlResult, SqlState};
use sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value};

use crate::sql::parse::fold;

/// A parameter: its name, and what it is where it is left out.
type Parameter = (&'static str, Option<&'static str>);

/// The parameters of the functions here whose parameters have names.
fn parameters(function: &str) -> Option<&'static [Parameter]> {
    const PATH: &[Parameter] = &[("target", None), ("path", None), ("vars", Some("{}")), ("silent", Some("false"))];
    const INTERVAL: &[Parameter] = &[
        ("years", Some("0")),
        ("months", Some("0")),
        ("weeks", Some("0")),
        ("days", Some("0")),
        ("hours", Some("0")),
        ("mins", Some("0")),
        ("secs", Some("0")),
    ];
    Some(match function {
        "make_interval" => INTERVAL,
        "jsonb_set" => {
            &[("jsonb_in", None), ("path", None), ("replacement", None), ("create_if_missing", Some("true"))]
        }
        "jsonb_set_lax" => &[
            ("jsonb_in", None),
            ("path", None),
            ("replacement", None),
            ("create_if_missing", Some("true")),
            ("null_value_treatment", Some("use_json_null")),
        ],
        "jsonb_insert" => &[("jsonb_in", None), ("path", None), ("replacement", None), ("insert_after", Some("false"))],
        "make_date" => &[("year", None), ("month", None), ("day", None)],
        "make_time" => &[("hour", None), ("min", None), ("sec", None)],
        "make_timestamp" => {
            &[("year", None), ("month", None), ("mday", None), ("hour", None), ("min", None), ("sec", None)]
        }
        name if name.starts_with("jsonb_path_") => PATH,
        _ => return None,
    })
}

/// Puts named arguments where the parameters of these names are.
///
/// # Errors
/// `42883` for a name that the function does not have, `42601` where it is given twice or before one without a name.
pub(super) fn by_position(function: &mut Function) -> SqlResult<()> {
    let name = function.name.to_string().to_lowercase();
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    let named = |arg: &FunctionArg| matches!(arg, FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. });
    if !list.args.iter().any(named) {
        return Ok(());
    }
    let unknown = || SqlError::new(SqlState::UndefinedFunction, format!("function {name} does not exist"));
    let parameters = parameters(&name).ok_or_else(unknown)?;
    let mut places: Vec<Option<FunctionArg>> = vec![None; parameters.len()];
    for (at, arg) in std::mem::take(&mut list.args).into_iter().enumerate() {
        let (place, arg) = match arg {
            FunctionArg::Named { name, arg, .. } => (place_of(parameters, &fold(&name)).ok_or_else(unknown)?, arg),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg, .. } => {
                (place_of(parameters, &fold(&name)).ok_or_else(unknown)?, arg)
            }
            FunctionArg::ExprNamed { .. } => return Err(unknown()),
            FunctionArg::Unnamed(_) if places.iter().skip(at).any(Option::is_some) => {
                return Err(SqlError::syntax("positional argument cannot follow named argument"));
            }
            FunctionArg::Unnamed(arg) => (at, arg),
        };
        match places.get_mut(place) {
            Some(free @ None) => *free = Some(FunctionArg::Unnamed(arg)),
            Some(Some(_)) => {
                let name = parameters[place].0;
                return Err(SqlError::syntax(format!("argument name \"{name}\" used more than once")));
            }
            None => return Err(unknown()),
        }
    }
    let last = places.iter().rposition(Option::is_some).map_or(0, |at| at + 1);
    places.truncate(last);
    list.args = places
        .into_iter()
        .zip(parameters)
        .map(|(arg, (_, default))| arg.or_else(|| default.map(literal)).ok_or_else(unknown))
        .collect::<SqlResult<_>>()?;
    Ok(())
}

fn place_of(parameters: &[Parameter], name: &str) -> Option<usize> {
    parameters.iter().position(|(known, _)| *known == name)
}

fn literal(text: &str) -> FunctionArg {
    let value = match text {
        "true" => Value::Boolean(true),
        "false" => Value::Boolean(false),
        number if number.bytes().all(|b| b.is_ascii_digit()) => Value::Number(number.to_owned(), false),
        text => Value::SingleQuotedString(text.to_owned()),
    };
    FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::value(value)))
}
