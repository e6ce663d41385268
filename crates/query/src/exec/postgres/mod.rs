//! PostgreSQL's semantics on top of DataFusion.
//!
//! Three places together: [`operators`] answers DataFusion's SQL planner while expressions are made, [`rules`] rewrites
//! what the planner made on its own before types are coerced, and the functions here stand in for DataFusion's of the
//! same name. Untyped literals are known by their Arrow type: the planner makes them `Utf8`, text is `Utf8View`
//! everywhere else.
//!
//! - [`function`]: functions by their PostgreSQL signatures
//! - [`arithmetic`]: `+ - * / %` on numbers
//! - [`cast`](mod@cast): casts
//! - [`numeric`]: numeric of any count of digits, [`spread`]: its aggregates
//! - [`aggregate`]: sum and avg; [`extremes`]: min and max of floats; [`collecting`]: aggregates that keep what they are given
//! - [`choice`]: COALESCE and its like, [`common_type`]: the type that values of several types become
//! - [`enums`], [`datetime`], [`text`], [`math`], [`trigonometry`], [`session`], [`catalog`], [`keywords`], [`series`], [`sets`],
//!   [`arrays`], [`json`], [`regexp`]: functions by subject
//! - [`records`]: rows as values; [`networks`], [`ranges`], [`vectors`]: types that are kept as bytes
//! - [`limits`]: how large values may be, [`like`](mod@like): LIKE with many wildcards
//! - [`bytes`], [`unicode`]: bytea, and text by its code points
//! - [`chains`]: many operators in a row
//! - [`elements`]: DataFusion's functions of arrays with their types
//! - [`subscripts`], [`quantified`], [`variadic`], [`ordered`]: functions that syntax stands for

mod aggregate;
mod arithmetic;
mod arrays;
mod bytes;
pub(super) mod cast;
mod catalog;
mod chains;
mod choice;
mod citext;
mod coded;
mod collecting;
mod common_type;
mod composites;
mod datetime;
mod domains;
mod elements;
mod enums;
mod extremes;
mod floats;
mod forms;
pub(super) mod function;
mod hashes;
mod json;
mod keywords;
pub(super) mod like;
pub(super) mod limits;
mod math;
mod meeting;
mod networks;
pub(super) mod numeric;
mod operators;
mod ordered;
mod quantified;
mod ranges;
mod reals;
mod records;
mod regexp;
mod rules;
mod series;
mod session;
mod sets;
mod similar;
mod spread;
mod strings;
mod subscripts;
mod sums;
mod text;
mod trigonometry;
mod unicode;
mod uuids;
mod variadic;
mod vectors;

use std::sync::Arc;

use datafusion::catalog::{TableFunction, TableFunctionImpl};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

pub(crate) use catalog::{each_named, is_oid, object_named, plain_object, plain_object_named};
pub(super) use citext::KEY as CITEXT_KEY;
pub(crate) use coded::ROW_TID;
pub(crate) use common_type::{common_of, without_modifier};
pub(crate) use datetime::BUCKETS;
pub(crate) use domains::DOMAIN_VALUE;
pub(crate) use function::parameter_types;
pub(crate) use json::{JSON_ROW, RECORD, RECORD_SET};
pub(crate) use math::BIT_NOT;
pub(super) use operators::{PostgresOperators, adopt, shrink};
pub(crate) use quantified::{ALL, ANY};
pub(super) use ranges::constructor_of;
pub(crate) use records::ROW;
pub(super) use rules::PostgresSemantics;
pub(super) use rules::guards::is_total;
pub(crate) use rules::ties::WITH_TIES;
pub(super) use sets::labeled;
pub(crate) use sets::{ORDINALITY, PLACES, UNNEST, VECTOR_SUBSCRIPTS, record_columns};
pub(crate) use subscripts::{LEFT_OUT as BOUND_LEFT_OUT, SLICE, SUBSCRIPTED};
pub(crate) use variadic::PREFIX as VARIADIC;

/// DataFusion's functions that are not PostgreSQL's and would surprise more than help.
const LEFT_OUT: &[&str] =
    &["arrow_cast", "arrow_typeof", "arrow_metadata", "arrow_try_cast", "get_field", "union_extract", "uuid"];

/// Every scalar function, ours in place of DataFusion's of the same name.
pub(super) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut all = SessionStateDefaults::default_scalar_functions();
    all.retain(|f| !LEFT_OUT.contains(&f.name()));
    all.extend(datetime::functions());
    all.extend(text::functions());
    all.extend(hashes::functions());
    all.extend(strings::functions());
    all.extend(math::functions());
    all.extend(trigonometry::functions());
    all.extend(session::functions());
    all.extend(choice::functions());
    all.extend(sets::functions());
    all.extend(arrays::functions());
    all.extend(elements::functions());
    all.extend(enums::functions());
    all.push(domains::function());
    all.extend(regexp::functions());
    all.extend(json::functions());
    all.extend(keywords::functions());
    all.extend(subscripts::functions());
    all.extend(ordered::functions());
    all.extend(bytes::functions());
    all.extend(unicode::functions());
    all.extend(quantified::functions());
    all.extend(variadic::functions());
    all.extend(networks::functions());
    all.extend(coded::functions());
    all.extend(citext::functions());
    all.extend(ranges::functions());
    all.extend(vectors::functions());
    all.extend(uuids::functions());
    all.push(records::function());
    all.push(rules::ties::function());
    all.push(super::asof::mark());
    all.extend(super::system::system_tables().functions());
    all
}

/// Every aggregate.
pub(super) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut all = SessionStateDefaults::default_aggregate_functions();
    let every = all.iter().find(|f| f.name() == "bool_and").map(|f| f.as_ref().clone().with_aliases(["every"]));
    all.extend(every.map(Arc::new));
    all.extend(spread::aggregates());
    all.extend(collecting::aggregates());
    all.extend(json::aggregates());
    all
}

/// What the SQL planner asks about expressions, ours first.
pub(super) fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut all: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(PostgresOperators)];
    all.extend(SessionStateDefaults::default_expr_planners());
    all
}

/// Functions in FROM.
pub(super) fn table_functions() -> Vec<Arc<TableFunction>> {
    let named =
        |name: &str, function: Arc<dyn TableFunctionImpl>| Arc::new(TableFunction::new(name.to_owned(), function));
    vec![named("generate_series", Arc::new(series::GenerateSeries))]
}
