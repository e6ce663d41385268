//! Avro's object container files: a schema, and records in one block.
//!
//! Source: <https://avro.apache.org/docs/1.11.1/specification/>

use serde_json::Value;

const MAGIC: &[u8] = b"Obj\x01";
/// Stands between blocks. Any 16 bytes will do; these files have one block.
const SYNC: &[u8; 16] = b"perigee iceberg\n";

/// A record as it is written.
#[derive(Default)]
pub(crate) struct Record(Vec<u8>);

impl Record {
    /// An int or a long.
    pub(crate) fn long(mut self, value: i64) -> Self {
        // Zigzag: the sign is the last bit.
        let mut rest = ((value << 1) ^ (value >> 63)) as u64;
        while rest >= 0x80 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
        self
    }

    /// A count of bytes, files or rows.
    pub(crate) fn count(self, value: u64) -> Self {
        self.long(i64::try_from(value).unwrap_or(i64::MAX))
    }

    /// Bytes or a string.
    pub(crate) fn bytes(self, value: &[u8]) -> Self {
        let mut out = self.count(value.len() as u64);
        out.0.extend_from_slice(value);
        out
    }

    /// A string.
    pub(crate) fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    /// NULL in so many unions of NULL and something else.
    pub(crate) fn nulls(self, count: usize) -> Self {
        (0..count).fold(self, |out, _| out.long(0))
    }

    /// What follows is not NULL.
    pub(crate) fn some(self) -> Self {
        self.long(1)
    }
}

/// A container of records of one schema; `metadata` stands beside it in the head.
pub(crate) fn container(schema: &Value, metadata: &[(&str, String)], records: &[Record]) -> Vec<u8> {
    let mut head = Record(MAGIC.to_vec()).count(metadata.len() as u64 + 2);
    head = head.text("avro.schema").text(&schema.to_string()).text("avro.codec").text("null");
    for (name, value) in metadata {
        head = head.text(name).text(value);
    }
    let mut out = head.count(0).0;
    out.extend_from_slice(SYNC);
    if !records.is_empty() {
        let bytes = records.iter().map(|record| record.0.len() as u64).sum();
        out.extend(Record::default().count(records.len() as u64).count(bytes).0);
        records.iter().for_each(|record| out.extend_from_slice(&record.0));
        out.extend_from_slice(SYNC);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the specification's table of examples, and the ends.
    #[test]
    fn numbers_are_zigzag() {
        let written = |value| Record::default().long(value).0;
        for (value, bytes) in [
            (0, vec![0x00]),
            (-1, vec![0x01]),
            (1, vec![0x02]),
            (-2, vec![0x03]),
            (-64, vec![0x7f]),
            (64, vec![0x80, 0x01]),
            (i64::MIN, vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            assert_eq!(written(value), bytes, "{value}");
        }
    }

    #[test]
    fn a_container_has_a_head_and_one_block() {
        let schema = serde_json::json!("string");
        let out = container(&schema, &[("a", "b".to_owned())], &[Record::default().text("x")]);
        let mut expected = b"Obj\x01\x06\x16avro.schema\x10\"string\"\x14avro.codec\x08null\x02a\x02b\x00".to_vec();
        expected.extend_from_slice(SYNC);
        expected.extend_from_slice(b"\x02\x04\x02x");
        expected.extend_from_slice(SYNC);
        assert_eq!(out, expected);
    }
}
