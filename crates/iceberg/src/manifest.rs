//! Manifests: which files a table has; and their list.

use serde_json::{Value, json};

use crate::Version;
use crate::avro::{Record, container};
use crate::table::Table;

/// A Parquet file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Its URL.
    pub path: String,
    /// Count of rows: of those that have ended too, where it says which.
    pub rows: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Of a file of position deletes: the data file that it is about.
    pub about: Option<String>,
}

/// A manifest that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestFile {
    /// Its URL.
    pub path: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Whether it names files of position deletes.
    pub deletes: bool,
    /// Count of files that it names.
    pub files: u64,
    /// Count of rows in them.
    pub rows: u64,
}

const ADDED: i64 = 1;
const DATA: i64 = 0;
const POSITION_DELETES: i64 = 1;
/// The column of position deletes with the data file's URL.
const PATH_FIELD_ID: i64 = 2_147_483_546;

/// A manifest of data files.
#[must_use]
pub fn manifest(table: &Table, version: Version, files: &[DataFile]) -> Vec<u8> {
    entries(table, version, files, false)
}

/// A manifest of files of position deletes.
#[must_use]
pub fn delete_manifest(table: &Table, version: Version, files: &[DataFile]) -> Vec<u8> {
    entries(table, version, files, true)
}

fn entries(table: &Table, version: Version, files: &[DataFile], deletes: bool) -> Vec<u8> {
    let metadata = [
        ("schema", table.schema().to_string()),
        ("schema-id", "0".to_owned()),
        ("partition-spec", "[]".to_owned()),
        ("partition-spec-id", "0".to_owned()),
        ("format-version", "2".to_owned()),
        ("content", if deletes { "deletes" } else { "data" }.to_owned()),
    ];
    let records: Vec<Record> = files.iter().map(|file| entry(version, file, deletes)).collect();
    container(&entry_schema(), &metadata, &records)
}

fn entry(version: Version, file: &DataFile, deletes: bool) -> Record {
    let number = version.number;
    let record = Record::default().long(ADDED).some().long(number).some().long(number).some().long(number);
    let record = record.long(if deletes { POSITION_DELETES } else { DATA }).text(&file.path).text("PARQUET");
    let record = record.count(file.rows).count(file.bytes).nulls(4);
    match &file.about {
        Some(about) => {
            // The least and the greatest path in it, so that readers of other data files need not open it.
            let bound = |record: Record| record.some().count(1).long(PATH_FIELD_ID).text(about).count(0);
            bound(bound(record)).nulls(4).some().text(about)
        }
        None => record.nulls(7),
    }
}

/// The manifests of a snapshot.
#[must_use]
pub fn manifest_list(version: Version, manifests: &[ManifestFile]) -> Vec<u8> {
    let metadata = [
        ("snapshot-id", version.number.to_string()),
        ("parent-snapshot-id", "null".to_owned()),
        ("sequence-number", version.number.to_string()),
        ("format-version", "2".to_owned()),
    ];
    let record = |manifest: &ManifestFile| {
        let record = Record::default().text(&manifest.path).count(manifest.bytes).long(0);
        let record = record.long(i64::from(manifest.deletes));
        let record = record.long(version.number).long(version.number).long(version.number);
        record.count(manifest.files).long(0).long(0).count(manifest.rows).long(0).long(0).nulls(2)
    };
    container(&list_schema(), &metadata, &manifests.iter().map(record).collect::<Vec<_>>())
}

fn field(id: i32, name: &str, ty: Value) -> Value {
    json!({"name": name, "type": ty, "field-id": id})
}

fn optional(id: i32, name: &str, ty: Value) -> Value {
    json!({"name": name, "type": ["null", ty], "default": null, "field-id": id})
}

/// A map from the ids of columns, as Avro has maps whose keys are no strings.
fn by_column(key: i32, value: i32, ty: &str) -> Value {
    let name = format!("k{key}_v{value}");
    let fields = [field(key, "key", json!("int")), field(value, "value", json!(ty))];
    json!({"type": "array", "logicalType": "map", "items": {"type": "record", "name": name, "fields": fields}})
}

fn list_of(ty: &str, id: i32) -> Value {
    json!({"type": "array", "items": ty, "element-id": id})
}

fn entry_schema() -> Value {
    let no_partition = json!({"type": "record", "name": "r102", "fields": []});
    let file = [
        field(134, "content", json!("int")),
        field(100, "file_path", json!("string")),
        field(101, "file_format", json!("string")),
        field(102, "partition", no_partition),
        field(103, "record_count", json!("long")),
        field(104, "file_size_in_bytes", json!("long")),
        optional(108, "column_sizes", by_column(117, 118, "long")),
        optional(109, "value_counts", by_column(119, 120, "long")),
        optional(110, "null_value_counts", by_column(121, 122, "long")),
        optional(137, "nan_value_counts", by_column(138, 139, "long")),
        optional(125, "lower_bounds", by_column(126, 127, "bytes")),
        optional(128, "upper_bounds", by_column(129, 130, "bytes")),
        optional(131, "key_metadata", json!("bytes")),
        optional(132, "split_offsets", list_of("long", 133)),
        optional(135, "equality_ids", list_of("int", 136)),
        optional(140, "sort_order_id", json!("int")),
        optional(143, "referenced_data_file", json!("string")),
    ];
    let fields = [
        field(0, "status", json!("int")),
        optional(1, "snapshot_id", json!("long")),
        optional(3, "sequence_number", json!("long")),
        optional(4, "file_sequence_number", json!("long")),
        field(2, "data_file", json!({"type": "record", "name": "r2", "fields": file})),
    ];
    json!({"type": "record", "name": "manifest_entry", "fields": fields})
}

fn list_schema() -> Value {
    let partition = [
        field(509, "contains_null", json!("boolean")),
        optional(518, "contains_nan", json!("boolean")),
        optional(510, "lower_bound", json!("bytes")),
        optional(511, "upper_bound", json!("bytes")),
    ];
    let partition = json!({"type": "record", "name": "r508", "fields": partition});
    let fields = [
        field(500, "manifest_path", json!("string")),
        field(501, "manifest_length", json!("long")),
        field(502, "partition_spec_id", json!("int")),
        field(517, "content", json!("int")),
        field(515, "sequence_number", json!("long")),
        field(516, "min_sequence_number", json!("long")),
        field(503, "added_snapshot_id", json!("long")),
        field(504, "added_files_count", json!("int")),
        field(505, "existing_files_count", json!("int")),
        field(506, "deleted_files_count", json!("int")),
        field(512, "added_rows_count", json!("long")),
        field(513, "existing_rows_count", json!("long")),
        field(514, "deleted_rows_count", json!("long")),
        optional(507, "partitions", json!({"type": "array", "items": partition, "element-id": 508})),
        optional(519, "key_metadata", json!("bytes")),
    ];
    json!({"type": "record", "name": "manifest_file", "fields": fields})
}
