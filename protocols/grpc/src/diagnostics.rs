//! What helps to find out what is the matter with a node, as files.

use std::sync::Arc;

use perigee_door::script::{Fetched, fetch, perform};
use perigee_door::{Caller, Door, Lease};
use perigee_engine::Session;
use perigee_types::text::{OutputSettings, format};
use perigee_types::{SqlResult, Value};
use serde_json::{Map, json};

use crate::members::{Members, PingedMember};
use crate::v1::DiagnosticsFile;

/// What is asked in SQL, by the file that has the answer. What grows with use is bounded.
const QUESTIONS: [(&str, &str); 6] = [
    ("tiers.json", "SELECT * FROM perigee.tiers ORDER BY schema_name, table_name, tier LIMIT 10000"),
    ("sessions.json", "SELECT * FROM perigee.sessions ORDER BY connected_at LIMIT 10000"),
    ("queries.json", "SELECT * FROM perigee.queries ORDER BY total_ms DESC LIMIT 1000"),
    ("compat_gaps.json", "SELECT * FROM perigee.compat_gaps ORDER BY count DESC"),
    ("settings.json", "SELECT name, setting, source FROM pg_catalog.pg_settings ORDER BY name"),
    ("databases.json", "SELECT datname FROM pg_catalog.pg_database ORDER BY datname"),
];

/// What of a node is not the engine's: given by whoever puts the node together.
pub trait NodeFiles: Send + Sync + 'static {
    /// Name and content of each file, without passwords and keys. Asks the file system.
    fn files(&self) -> Vec<(String, Vec<u8>)>;
}

/// All that there is. What cannot be had says why in its file: the rest is worth the more.
pub(crate) async fn files(
    door: &Arc<Door>,
    caller: &Caller,
    members: &Arc<dyn Members>,
    node: Arc<dyn NodeFiles>,
) -> Vec<DiagnosticsFile> {
    let told = tokio::task::spawn_blocking(move || node.files()).await;
    let told = told.unwrap_or_else(|error| vec![("error.txt".to_owned(), error.to_string().into_bytes())]);
    let mut files: Vec<DiagnosticsFile> =
        told.into_iter().map(|(name, content)| DiagnosticsFile { name, content }).collect();
    let pinged = json!(members.ping().await.iter().map(pinged).collect::<Vec<_>>());
    files.push(DiagnosticsFile { name: "members.json".to_owned(), content: pretty(&pinged) });
    for (name, question) in QUESTIONS {
        let content = match ask(door, caller, question).await {
            Ok(fetched) => pretty(&table(&fetched)),
            Err(error) => pretty(&json!({"error": error.message(), "sqlstate": error.state().code()})),
        };
        files.push(DiagnosticsFile { name: name.to_owned(), content });
    }
    files
}

/// The rows of a query that this node answers, also where another one leads.
async fn ask(door: &Arc<Door>, caller: &Caller, question: &'static str) -> SqlResult<Fetched> {
    let session = here(door, caller, None).await?;
    perform(door, session, move |session| fetch(session, question, &[])).await
}

/// A session that reads what this node holds.
pub(crate) async fn here(door: &Arc<Door>, caller: &Caller, database: Option<&str>) -> SqlResult<Lease> {
    let local = vec![("perigee.read_consistency".to_owned(), "local".to_owned())];
    let session: Session = caller.connect(door, database, local).await?;
    Ok(Lease::Own(Box::new(session)))
}

fn pinged(member: &PingedMember) -> serde_json::Value {
    let PingedMember { name, address, voter, answer } = member;
    match answer {
        Err(error) => json!({"name": name, "address": address, "voter": voter, "error": error}),
        Ok((health, took)) => json!({
            "name": name,
            "address": address,
            "voter": voter,
            "version": health.version,
            "leads": health.leads,
            "term": health.term,
            "committed": health.committed,
            "applied": health.applied,
            "round_trip_ms": took.as_secs_f64() * 1e3,
        }),
    }
}

/// Rows as objects. Values are texts as PostgreSQL writes them, but for integers and truth values.
fn table(fetched: &Fetched) -> serde_json::Value {
    let settings = OutputSettings::default();
    let rows = fetched.rows.iter().map(|row| {
        let cells = row.iter().zip(fetched.columns.iter()).map(|(value, column)| {
            let shown = match value {
                Value::Null => serde_json::Value::Null,
                Value::Bool(value) => json!(value),
                Value::Int4(value) => json!(value),
                Value::Int8(value) => json!(value),
                value => json!(format(value, &column.ty, &settings)),
            };
            (column.name.clone(), shown)
        });
        serde_json::Value::Object(cells.collect::<Map<_, _>>())
    });
    serde_json::Value::Array(rows.collect())
}

fn pretty(value: &serde_json::Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}
