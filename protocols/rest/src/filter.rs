//! The filter language: `{"op": "eq", "field": "a", "value": 1}`, with `eq ne lt lte gt gte` of a field and a value and `and or` of
//! filters. It becomes a condition of SQL over parameters: no value of a client stands in a text.

use perigee_types::{SqlError, SqlResult};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::run::Parameter;

/// How deep filters may stand in filters, and how many there may be.
const DEPTH_MAX: usize = 32;
const FILTERS_MAX: usize = 1_000;

/// A filter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    op: Op,
    #[serde(default)]
    field: Option<String>,
    // A null is a value too.
    #[serde(default, deserialize_with = "some")]
    value: Option<Box<RawValue>>,
    #[serde(default)]
    filters: Option<Vec<Filter>>,
}

fn some<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Eq,
    Ne,
    Lt,
    Lte,
    Gt,
    Gte,
    And,
    Or,
}

impl Filter {
    /// Appends the condition; its parameters go behind `parameters`.
    ///
    /// # Errors
    /// `42601` for a filter that lacks a part, `54001` for one that is too large.
    pub(crate) fn write(&self, out: &mut String, parameters: &mut Vec<Parameter>) -> SqlResult<()> {
        self.part(out, parameters, &mut 0, 0)
    }

    fn part(
        &self,
        out: &mut String,
        parameters: &mut Vec<Parameter>,
        count: &mut usize,
        depth: usize,
    ) -> SqlResult<()> {
        *count += 1;
        if depth > DEPTH_MAX || *count > FILTERS_MAX {
            return Err(SqlError::new(perigee_types::SqlState::StatementTooComplex, "the filter is too large"));
        }
        let operator = match self.op {
            Op::Eq => "=",
            Op::Ne => "<>",
            Op::Lt => "<",
            Op::Lte => "<=",
            Op::Gt => ">",
            Op::Gte => ">=",
            Op::And | Op::Or => {
                let (Some(filters), None, None) = (&self.filters, &self.field, &self.value) else {
                    return Err(SqlError::syntax("\"and\" and \"or\" have \"filters\", and nothing else"));
                };
                let (word, none) = if matches!(self.op, Op::And) { (" AND ", "true") } else { (" OR ", "false") };
                if filters.is_empty() {
                    out.push_str(none);
                    return Ok(());
                }
                out.push('(');
                for (at, filter) in filters.iter().enumerate() {
                    if at > 0 {
                        out.push_str(word);
                    }
                    filter.part(out, parameters, count, depth + 1)?;
                }
                out.push(')');
                return Ok(());
            }
        };
        let (Some(field), Some(value), None) = (&self.field, &self.value, &self.filters) else {
            return Err(SqlError::syntax("a comparison has a \"field\" and a \"value\""));
        };
        out.push_str(&quoted(field));
        if value.get() == "null" {
            out.push_str(match self.op {
                Op::Eq => " IS NULL",
                Op::Ne => " IS NOT NULL",
                _ => return Err(SqlError::syntax("null is compared with \"eq\" and \"ne\"")),
            });
            return Ok(());
        }
        parameters.push(Parameter::json(value.clone()));
        out.push_str(&format!(" {operator} ${}", parameters.len()));
        Ok(())
    }
}

/// A name as SQL quotes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use perigee_door::Given;

    use super::*;

    fn check(filter: &str, expected: Result<(&str, &[&str]), &str>) {
        let filter: Filter = serde_json::from_str(filter).unwrap();
        let (mut text, mut parameters) = (String::new(), Vec::new());
        let written = filter.write(&mut text, &mut parameters);
        let json = |parameter: &Parameter| match &parameter.given {
            Given::Json(json) => json.get().to_owned(),
            other => panic!("{other:?} is no JSON"),
        };
        let values: Vec<String> = parameters.iter().map(json).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let found = written.map(|()| (text.as_str(), values.as_slice()));
        assert_eq!(found.as_ref().map_err(|error| error.state().code()), expected.as_ref().map_err(|code| *code));
    }

    #[test]
    fn filters_become_conditions() {
        check(r#"{"op":"eq","field":"a","value":1.10}"#, Ok(("\"a\" = $1", &["1.10"])));
        check(r#"{"op":"ne","field":"a\"; DROP","value":"x"}"#, Ok(("\"a\"\"; DROP\" <> $1", &["\"x\""])));
        check(r#"{"op":"eq","field":"a","value":null}"#, Ok(("\"a\" IS NULL", &[])));
        check(r#"{"op":"ne","field":"a","value":null}"#, Ok(("\"a\" IS NOT NULL", &[])));
        check(
            r#"{"op":"and","filters":[{"op":"gte","field":"a","value":1},{"op":"or","filters":[
                {"op":"lt","field":"b","value":2},{"op":"lte","field":"b","value":true}]}]}"#,
            Ok(("(\"a\" >= $1 AND (\"b\" < $2 OR \"b\" <= $3))", &["1", "2", "true"])),
        );
        check(r#"{"op":"and","filters":[]}"#, Ok(("true", &[])));
        check(r#"{"op":"lt","field":"a","value":null}"#, Err("42601"));
        check(r#"{"op":"lt","field":"a"}"#, Err("42601"));
        check(r#"{"op":"and","field":"a","filters":[]}"#, Err("42601"));
        let nested =
            format!("{}{}{}", r#"{"op":"and","filters":["#.repeat(40), r#"{"op":"and","filters":[]}"#, "]}".repeat(40));
        check(&nested, Err("54001"));
    }
}
