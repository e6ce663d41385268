//! A table: its columns, and the file that everything is found from.

use serde_json::{Value, json};

use crate::Version;

/// A column. All may be NULL.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// What it is called in Parquet files, as their field id: its name may change.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// Its type as Iceberg writes it: the name of one, or an object for a list.
    pub ty: Value,
    /// What rows of files without the column have in it, as Iceberg writes a value.
    pub missing: Option<Value>,
}

/// A table.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// It stays the same for as long as there is the table.
    pub uuid: String,
    /// The URL of its folder.
    pub location: String,
    /// Its columns, in order.
    pub fields: Vec<Field>,
    /// The greatest id that a column ever had.
    pub last_id: i32,
    /// What is told beside all this.
    pub properties: Vec<(&'static str, String)>,
}

impl Field {
    fn json(&self) -> Value {
        let mut json = json!({"id": self.id, "name": self.name, "required": false, "type": self.ty});
        if let Some(missing) = &self.missing {
            json["initial-default"] = missing.clone();
        }
        json
    }
}

/// The type of an array whose items have a type and an id.
#[must_use]
pub fn list(item_id: i32, item: Value) -> Value {
    json!({"type": "list", "element-id": item_id, "element": item, "element-required": false})
}

impl Table {
    pub(crate) fn schema(&self) -> Value {
        let fields: Vec<Value> = self.fields.iter().map(Field::json).collect();
        json!({"type": "struct", "schema-id": 0, "fields": fields})
    }
}

/// The metadata file of a table as one snapshot, whose list of manifests has this URL.
#[must_use]
pub fn metadata(table: &Table, version: Version, manifest_list: &str) -> Vec<u8> {
    let properties: serde_json::Map<String, Value> =
        table.properties.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))).collect();
    let snapshot = json!({
        "snapshot-id": version.number,
        "sequence-number": version.number,
        "timestamp-ms": version.made_ms,
        "manifest-list": manifest_list,
        "summary": {"operation": "overwrite"},
        "schema-id": 0,
    });
    let metadata = json!({
        "format-version": 2,
        "table-uuid": table.uuid,
        "location": table.location,
        "last-sequence-number": version.number,
        "last-updated-ms": version.made_ms,
        "last-column-id": table.last_id,
        "current-schema-id": 0,
        "schemas": [table.schema()],
        "default-spec-id": 0,
        "partition-specs": [{"spec-id": 0, "fields": []}],
        "last-partition-id": 999,
        "default-sort-order-id": 0,
        "sort-orders": [{"order-id": 0, "fields": []}],
        "properties": properties,
        "current-snapshot-id": version.number,
        "snapshots": [snapshot],
        "snapshot-log": [],
        "metadata-log": [],
        "refs": {"main": {"snapshot-id": version.number, "type": "branch"}},
    });
    metadata.to_string().into_bytes()
}
