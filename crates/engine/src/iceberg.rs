//! Cold tables for others: each is exported as an Iceberg table once it has new files, and now and then where rows of its files
//! have ended.
//!
//! ```text
//! manifests of a table, its columns, which rows of its files have ended     (at one snapshot: the export's number)
//!    -> position deletes, Avro manifests, their list, vN.metadata.json      (objects of their own, nobody knows them yet)
//!    -> version-hint.text                                                   (now they do)
//!    -> what neither N nor the number before names is removed
//! ```
//!
//! The leader does so behind the commit of manifests: nothing of Perigee's own depends on it, it may lag, and be made again.
//! Rows that are not cold are not in it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use perigee_iceberg::{DataFile, Field, ManifestFile, Version, table};
use perigee_storage::cold::{
    ColdColumn, ColdError, ColdRows, ColdStore, LoggedManifest, item_field_id, position_deletes,
};
use perigee_storage::store::Snapshot;
use perigee_types::catalog::{Column, Object, Table};
use perigee_types::sql_type::short_numeric;
use perigee_types::text::settings::OutputSettings;
use perigee_types::{LogIndex, Oid, SqlError, SqlResult, SqlType, Term, Value};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::cold::blocking;
use crate::engine::Engine;

/// How long to sleep between two looks.
const TICK: Duration = Duration::from_secs(1);
/// How often it is looked whether rows of files have ended.
const WHOLLY_EVERY: Duration = Duration::from_secs(60);
/// How long exports wait when one did not come through.
const PAUSE: Duration = Duration::from_secs(30);
/// The folder of all exports of this cluster.
const FOLDER: &str = "iceberg";
const HINT: &str = "metadata/version-hint.text";
/// Bytes of a hint, and of a metadata file, at most.
const HINT_BYTES_MAX: u64 = 64;
const METADATA_BYTES_MAX: u64 = 64 << 20;
/// The property by which an export is known again.
const SIGNATURE: &str = "perigee.signature";

/// What this node has exported.
#[derive(Default)]
pub(crate) struct Exports {
    tables: Mutex<HashMap<Oid, Known>>,
    /// The term for which it is known which tables are exported.
    term: Mutex<Option<Term>>,
    /// One export runs at a time.
    running: tokio::sync::Mutex<()>,
}

/// An export that is there.
#[derive(Clone)]
struct Known {
    /// What shows cheaply that there is something new; `None` where it was not looked at in this term.
    files: Option<Files>,
    signature: String,
}

/// The definition and the files that an export was made of.
#[derive(Clone, PartialEq)]
struct Files {
    name: String,
    storage: Oid,
    version: u32,
    manifests: Vec<LogIndex>,
}

impl Files {
    fn of(engine: &Engine, table: &Table) -> Self {
        let manifests = engine.store.manifests(table.storage).iter().map(|logged| logged.index).collect();
        Self { name: table.name.clone(), storage: table.storage, version: table.version, manifests }
    }
}

/// Exports tables while this node leads, until `stop`.
pub(crate) async fn run(engine: Arc<Engine>, stop: CancellationToken) {
    let mut wholly = Instant::now();
    while stop.run_until_cancelled(tokio::time::sleep(TICK)).await.is_some() {
        if !engine.is_ready() || usable(&engine).is_none() {
            continue;
        }
        let whole = wholly.elapsed() >= WHOLLY_EVERY;
        if whole {
            wholly = Instant::now();
        }
        if stop.run_until_cancelled(look(&engine, whole)).await == Some(false) {
            let _ = stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
        }
    }
}

/// Exports what has new files; with `whole` also where rows of files have ended since. Gives whether all went well.
pub(crate) async fn look(engine: &Arc<Engine>, whole: bool) -> bool {
    let Some(term) = usable(engine) else { return true };
    if let Err(error) = learn(engine, term).await {
        tracing::warn!(%error, "tables are not exported");
        return false;
    }
    let mut well = true;
    let tables: Vec<Arc<Table>> = engine.store.catalog().objects().filter_map(cold_table).collect();
    for table in tables {
        let known = engine.exports.tables.lock().get(&table.oid).cloned();
        let files = Files::of(engine, &table);
        let new = match &known {
            Some(known) => known.files.as_ref() != Some(&files) || whole && !files.manifests.is_empty(),
            None => !files.manifests.is_empty(),
        };
        if !new {
            continue;
        }
        if let Err(error) = export(engine, &table).await {
            tracing::warn!(%error, table = %table.name, "a table is not exported");
            well = false;
        }
    }
    well
}

/// Exports a table as it is now, if that is not what is there already. Gives whether it was.
///
/// # Errors
/// `58030` where the store is away; `40001` on a node that does not lead.
pub(crate) async fn export(engine: &Arc<Engine>, table: &Arc<Table>) -> SqlResult<bool> {
    let term = engine.consensus.leader_term().ok_or_else(crate::transaction::no_leader)?;
    learn(engine, term).await?;
    let _alone = engine.exports.running.lock().await;
    let (engine, oid) = (Arc::clone(engine), table.oid);
    blocking(move || export_now(&engine, oid)).await
}

/// Which tables are exported, by what is in the store: once a term.
async fn learn(engine: &Arc<Engine>, term: Term) -> SqlResult<()> {
    let _alone = engine.exports.running.lock().await;
    if *engine.exports.term.lock() == Some(term) {
        return Ok(());
    }
    let cold = Arc::clone(engine.store.cold().map_err(failed)?);
    let there = Arc::clone(&cold);
    let found = blocking(move || there.list_under(&format!("{}/{FOLDER}", there.prefix())).map_err(failed)).await?;
    let exported: HashSet<Oid> = found.iter().filter_map(|found| table_of(&cold, &found.path)).collect();
    let mut tables = engine.exports.tables.lock();
    tables.clear();
    tables.extend(exported.into_iter().map(|oid| (oid, Known { files: None, signature: String::new() })));
    *engine.exports.term.lock() = Some(term);
    Ok(())
}

/// Removes exports of tables that are gone. Blocking.
///
/// # Errors
/// The store's.
pub(crate) fn remove_gone(engine: &Engine) -> Result<(), ColdError> {
    let cold = engine.store.cold()?;
    let found = cold.list_under(&format!("{}/{FOLDER}", cold.prefix()))?;
    let catalog = engine.store.catalog();
    let mut gone: HashMap<Oid, Vec<String>> = HashMap::new();
    for found in found {
        let Some(oid) = table_of(cold, &found.path) else { continue };
        gone.entry(oid).or_default().push(found.path);
    }
    for (oid, paths) in gone {
        // What a later leader has exported may be of tables that are not known here yet.
        let newer = |path: &String| version_of(path).is_some_and(|number| number > catalog.version.0);
        if catalog.object(oid).and_then(cold_table).is_some() || paths.iter().any(newer) {
            continue;
        }
        paths.iter().try_for_each(|path| cold.delete(path))?;
        engine.exports.tables.lock().remove(&oid);
        cold.note_export(oid, None);
    }
    Ok(())
}

fn usable(engine: &Engine) -> Option<Term> {
    if !engine.options.cold_iceberg || !crate::cold::is_usable(engine) {
        return None;
    }
    engine.consensus.leader_term()
}

/// A table that may have cold rows which others may read.
fn cold_table(object: &Object) -> Option<Arc<Table>> {
    match object {
        Object::Table(table) if table.partitioning.is_none() && table.materialized.is_none() => Some(Arc::clone(table)),
        _ => None,
    }
}

/// The table that an object belongs to.
fn table_of(cold: &ColdStore, path: &str) -> Option<Oid> {
    let rest = path.strip_prefix(cold.prefix())?.strip_prefix('/')?.strip_prefix(FOLDER)?.strip_prefix('/')?;
    rest.split_once('/')?.0.parse().ok().map(Oid)
}

/// The number of the export that an object belongs to; `None` for the hint.
fn version_of(path: &str) -> Option<u64> {
    let (_, name) = path.rsplit_once('/')?;
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// One export of one table.
struct Export<'a> {
    cold: &'a Arc<ColdStore>,
    /// Path of the table's folder in the store.
    folder: String,
    table: &'a Table,
    version: Version,
    /// Sets the names of this export apart from those of one that was broken off.
    id: String,
    parts: Vec<(Arc<LoggedManifest>, ColdRows)>,
    /// Paths of what was written.
    written: HashSet<String>,
}

fn export_now(engine: &Engine, oid: Oid) -> SqlResult<bool> {
    let cold = engine.store.cold().map_err(failed)?;
    let snapshot = engine.store.snapshot();
    let Some(table) = snapshot.catalog.object(oid).and_then(cold_table) else { return Ok(false) };
    let files = Files::of(engine, &table);
    let parts = engine.store.cold_rows(&table, &snapshot);
    let known = engine.exports.tables.lock().get(&oid).cloned();
    if parts.is_empty() && known.is_none() {
        return Ok(false);
    }
    let folder = format!("{}/{FOLDER}/{oid}", cold.prefix());
    let signature = signature(&snapshot, &table, &parts);
    let note = || {
        let known = Known { files: Some(files.clone()), signature: signature.clone() };
        engine.exports.tables.lock().insert(oid, known);
    };
    if known.as_ref().is_some_and(|known| known.signature == signature) {
        note();
        return Ok(false);
    }
    let before = last_export(cold, &folder)?;
    if let Some((_, found, made_ms)) = &before
        && *found == signature
    {
        note();
        cold.note_export(oid, Some((*made_ms * 1_000, cold.url(&folder))));
        return Ok(false);
    }
    if cold.is_local() {
        engine.check_disk(0)?;
    }
    let number = i64::try_from(snapshot.index.0).unwrap_or(i64::MAX);
    let version = Version { number, made_ms: engine.now_micros() / 1_000 };
    let id = uuid::Uuid::new_v4().simple().to_string();
    let mut export =
        Export { cold, folder: folder.clone(), table: &table, version, id, parts, written: HashSet::new() };
    let name = snapshot.catalog.written_name(&table);
    export.run(&name, &signature).map_err(failed)?;
    note();
    cold.note_export(oid, Some((version.made_ms * 1_000, cold.url(&folder))));
    let kept = before.map(|(number, _, _)| number);
    export.remove_old(kept).map_err(failed)?;
    Ok(true)
}

/// The export that the hint names: its number, signature and time.
fn last_export(cold: &ColdStore, folder: &str) -> SqlResult<Option<(u64, String, i64)>> {
    let read = |path: &str, bytes_max| match cold.get_all(&format!("{folder}/{path}"), bytes_max) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(ColdError::Missing(_) | ColdError::Damaged { .. }) => Ok(None),
        Err(error) => Err(failed(error)),
    };
    let Some(hint) = read(HINT, HINT_BYTES_MAX)? else { return Ok(None) };
    let Some(number) = std::str::from_utf8(&hint).ok().and_then(|hint| hint.trim().parse::<u64>().ok()) else {
        return Ok(None);
    };
    let Some(metadata) = read(&format!("metadata/v{number}.metadata.json"), METADATA_BYTES_MAX)? else {
        return Ok(None);
    };
    // What cannot be read is written anew.
    let metadata: serde_json::Value = serde_json::from_slice(&metadata).unwrap_or_default();
    let signature = metadata["properties"][SIGNATURE].as_str().unwrap_or_default().to_owned();
    Ok(Some((number, signature, metadata["last-updated-ms"].as_i64().unwrap_or_default())))
}

/// What two exports that are alike have in common.
fn signature(snapshot: &Snapshot, table: &Table, parts: &[(Arc<LoggedManifest>, ColdRows)]) -> String {
    let mut hash = DefaultHasher::new();
    snapshot.catalog.written_name(table).hash(&mut hash);
    for column in table.visible_columns() {
        (column.number, &column.name, format!("{:?} {:?}", column.ty, column.missing)).hash(&mut hash);
    }
    for (logged, rows) in parts {
        // Rows of files only ever end.
        (logged.index, rows.shown()).hash(&mut hash);
    }
    format!("{:016x}", hash.finish())
}

impl Export<'_> {
    fn run(&mut self, name: &str, signature: &str) -> Result<(), ColdError> {
        let uuid = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, self.folder.as_bytes()).to_string();
        let columns = self.table.visible_columns();
        let fields: Vec<Field> = columns.iter().filter_map(|column| self.field(column)).collect();
        let table = perigee_iceberg::Table {
            uuid,
            location: self.cold.url(&self.folder),
            fields,
            last_id: item_field_id(u16::MAX),
            properties: vec![("perigee.table", name.to_owned()), (SIGNATURE, signature.to_owned())],
        };
        let (mut data, mut deletes) = (Vec::new(), Vec::new());
        for (logged, rows) in std::mem::take(&mut self.parts) {
            // None of its rows is left where no chunk has any.
            if rows.manifests().is_empty() || rows.shown() == 0 {
                continue;
            }
            for file in &logged.manifest.files {
                let path = self.cold.url(&file.path);
                if !rows.is_whole() {
                    let ended = self.cold.ended_rows(file, logged.manifest.columns.len(), &rows)?;
                    if ended.len() as u64 == file.rows {
                        continue;
                    }
                    if !ended.is_empty() {
                        let bytes = position_deletes(&path, &ended)?;
                        let count = ended.len() as u64;
                        let number = deletes.len();
                        let (about, bytes) = (Some(path.clone()), bytes.to_vec());
                        let (name, length) =
                            self.name_and_length("data/deletes-", &format!("-{number}.parquet"), &bytes);
                        let path = self.write(&name, bytes)?;
                        deletes.push(DataFile { path, rows: count, bytes: length, about });
                    }
                }
                data.push(DataFile { path, rows: file.rows, bytes: file.bytes, about: None });
            }
        }
        let mut manifests = Vec::new();
        let version = self.version;
        for (files, kind, is_deletes) in [(&data, "-data.avro", false), (&deletes, "-deletes.avro", true)] {
            if files.is_empty() {
                continue;
            }
            let bytes = match is_deletes {
                true => perigee_iceberg::delete_manifest(&table, version, files),
                false => perigee_iceberg::manifest(&table, version, files),
            };
            let (name, length) = self.name_and_length("metadata/", kind, &bytes);
            let path = self.write(&name, bytes)?;
            let rows = files.iter().map(|file| file.rows).sum();
            let files = files.len() as u64;
            manifests.push(ManifestFile { path, bytes: length, deletes: is_deletes, files, rows });
        }
        let list = perigee_iceberg::manifest_list(version, &manifests);
        let (name, _) = self.name_and_length("metadata/", "-list.avro", &list);
        let list = self.write(&name, list)?;
        let metadata = perigee_iceberg::metadata(&table, version, &list);
        self.write(&format!("metadata/v{}.metadata.json", version.number), metadata)?;
        // The last one: from here on readers find it.
        self.write(HINT, version.number.to_string().into_bytes())?;
        Ok(())
    }

    fn name_and_length(&self, before: &str, behind: &str, bytes: &[u8]) -> (String, u64) {
        (format!("{before}{}-{}{behind}", self.version.number, self.id), bytes.len() as u64)
    }

    /// Writes an object of the table's folder. Gives its URL.
    fn write(&mut self, name: &str, bytes: Vec<u8>) -> Result<String, ColdError> {
        let path = format!("{}/{name}", self.folder);
        self.cold.put(&path, bytes.into())?;
        let url = self.cold.url(&path);
        self.written.insert(path);
        Ok(url)
    }

    /// Removes what exports before this one have left, but for the one that readers may have begun with.
    fn remove_old(&self, kept: Option<u64>) -> Result<(), ColdError> {
        for found in self.cold.list_under(&self.folder)? {
            let Some(number) = version_of(&found.path) else { continue };
            let newer = i64::try_from(number).is_ok_and(|number| number > self.version.number);
            if !newer && kept != Some(number) && !self.written.contains(&found.path) {
                self.cold.delete(&found.path)?;
            }
        }
        Ok(())
    }

    /// A column for readers; `None` for one that they could not read out of the files that there are.
    fn field(&self, column: &Column) -> Option<Field> {
        let in_files = |(logged, _): &(Arc<LoggedManifest>, ColdRows)| {
            logged.manifest.columns.iter().find(|known| known.number == column.number).cloned()
        };
        let in_files: Vec<Option<ColdColumn>> = self.parts.iter().map(in_files).collect();
        let mut ty = column_type(&column.ty, column.number)?;
        for known in in_files.iter().flatten() {
            ty = wider(ty, column_type(&known.ty, column.number)?)?;
        }
        let lacks = in_files.iter().any(Option::is_none);
        let missing = match &column.missing {
            value if lacks && !value.is_null() => Some(value_json(value, &column.ty)?),
            _ => None,
        };
        Some(Field { id: column.number.into(), name: column.name.clone(), ty, missing })
    }
}

/// A type as Iceberg has it. What has none of its own is what stands in the files (docs/formats/cold.md).
fn column_type(ty: &SqlType, number: u16) -> Option<serde_json::Value> {
    let name = match ty {
        SqlType::Bool => "boolean",
        SqlType::Int2 | SqlType::Int4 => "int",
        SqlType::Int8 | SqlType::Enum(_) => "long",
        SqlType::Oid
        | SqlType::Xid
        | SqlType::Regclass
        | SqlType::Regtype
        | SqlType::Regproc
        | SqlType::Regnamespace
        | SqlType::Regrole => "long",
        SqlType::Float4 => "float",
        SqlType::Float8 => "double",
        SqlType::Numeric(modifier) => match short_numeric(*modifier) {
            Some((precision, scale)) => return Some(json!(format!("decimal({precision}, {scale})"))),
            None => "string",
        },
        SqlType::Text
        | SqlType::Varchar(_)
        | SqlType::Char(_)
        | SqlType::Name
        | SqlType::InternalChar
        | SqlType::Json
        | SqlType::Jsonb
        | SqlType::JsonPath
        | SqlType::Citext
        | SqlType::Unknown
        | SqlType::Void => "string",
        SqlType::Bytea
        | SqlType::Timetz(_)
        | SqlType::Vector(_)
        | SqlType::Address(_)
        | SqlType::Coded(_)
        | SqlType::Composite(_)
        | SqlType::Range(_)
        | SqlType::Multirange(_) => "binary",
        SqlType::Date => "date",
        SqlType::Time(_) => "time",
        SqlType::Timestamp(_) => "timestamp",
        SqlType::Timestamptz(_) => "timestamptz",
        SqlType::Interval | SqlType::IntervalOf(_) => "fixed[16]",
        SqlType::Uuid => "uuid",
        SqlType::Array(of) => {
            let item = match of.as_ref() {
                SqlType::Uuid => json!("fixed[16]"),
                SqlType::Array(_) => return None,
                of => column_type(of, number)?,
            };
            return Some(table::list(item_field_id(number), item));
        }
        SqlType::Record(_) => return None,
    };
    Some(json!(name))
}

/// The type that holds the values of both: a numeric may have got more digits since files were written, or fewer.
fn wider(one: serde_json::Value, other: serde_json::Value) -> Option<serde_json::Value> {
    fn parts(ty: &serde_json::Value) -> Option<(u8, i8)> {
        let (precision, scale) = ty.as_str()?.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(", ")?;
        Some((precision.parse().ok()?, scale.parse().ok()?))
    }
    if one == other {
        return Some(one);
    }
    let ((a, a_scale), (b, b_scale)) = (parts(&one)?, parts(&other)?);
    (a_scale == b_scale).then(|| json!(format!("decimal({}, {a_scale})", a.max(b))))
}

/// A value as Iceberg writes one; `None` for what it has no way to write.
fn value_json(value: &Value, ty: &SqlType) -> Option<serde_json::Value> {
    let text = || perigee_types::text::format(value, ty, &OutputSettings::DEFAULT);
    Some(match (value, ty) {
        (Value::Bool(v), _) => json!(v),
        (Value::Int2(v), _) => json!(v),
        (Value::Int4(v), _) => json!(v),
        (Value::Int8(v), _) => json!(v),
        (Value::Oid(v), _) => json!(v),
        (Value::Enum(v), _) => json!(v),
        (Value::Float4(v), _) if v.is_finite() => json!(v),
        (Value::Float8(v), _) if v.is_finite() => json!(v),
        (Value::Numeric(..) | Value::Wide(_), _) => json!(text()),
        (Value::Text(_) | Value::Uuid(_) | Value::Time(_), _) => json!(text()),
        // Neither infinities nor years before Christ.
        (Value::Date(_), _) if text().len() == 10 => json!(text()),
        (Value::Timestamp(_), _) if text().starts_with(|c: char| c.is_ascii_digit()) && !text().ends_with("BC") => {
            json!(text().replace(' ', "T"))
        }
        (Value::Timestamptz(_), _) => {
            let text = text();
            let moment = text.strip_suffix("+00").filter(|text| text.starts_with(|c: char| c.is_ascii_digit()))?;
            json!(format!("{}+00:00", moment.replace(' ', "T")))
        }
        _ => return None,
    })
}

fn failed(error: ColdError) -> SqlError {
    perigee_query::exec::error::cold_error(&error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_know_the_number_of_their_export() {
        for (path, number) in [
            ("c/1/iceberg/16384/metadata/v42.metadata.json", Some(42)),
            ("c/1/iceberg/16384/metadata/42-0123abcd-list.avro", Some(42)),
            ("c/1/iceberg/16384/data/deletes-7-00ff-3.parquet", Some(7)),
            ("c/1/iceberg/16384/metadata/version-hint.text", None),
        ] {
            assert_eq!(version_of(path), number, "{path}");
        }
    }

    #[test]
    fn numerics_of_other_digits_meet_where_both_fit() {
        let decimal = |text: &str| json!(text);
        assert_eq!(wider(decimal("decimal(10, 2)"), decimal("decimal(12, 2)")), Some(json!("decimal(12, 2)")));
        assert_eq!(wider(decimal("decimal(12, 2)"), decimal("decimal(10, 2)")), Some(json!("decimal(12, 2)")));
        assert_eq!(wider(decimal("decimal(10, 2)"), decimal("decimal(12, 3)")), None);
        assert_eq!(wider(json!("int"), json!("string")), None);
    }

    #[test]
    fn values_are_written_as_iceberg_reads_them() {
        let second = 1_700_000_000_000_000;
        for (value, ty, json) in [
            (Value::Int4(9), SqlType::Int4, json!(9)),
            (Value::Text("a".to_owned()), SqlType::Text, json!("a")),
            (Value::Numeric(125, 2), SqlType::Numeric(Some((10, 2))), json!("1.25")),
            (Value::Timestamptz(second), SqlType::Timestamptz(None), json!("2023-11-14T22:13:20+00:00")),
            (Value::Timestamp(second), SqlType::Timestamp(None), json!("2023-11-14T22:13:20")),
        ] {
            assert_eq!(value_json(&value, &ty), Some(json), "{value:?}");
        }
        assert_eq!(value_json(&Value::Timestamptz(i64::MAX), &SqlType::Timestamptz(None)), None);
        assert_eq!(value_json(&Value::Float8(f64::NAN), &SqlType::Float8), None);
    }
}
