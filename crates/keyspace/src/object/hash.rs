//! Hashs.

use std::sync::Arc;

use super::{Object, Value};

/// A hash.
#[derive(Clone, Debug, Default)]
pub struct Hash {}

impl Object for Hash {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Hash(object) => Some(object),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::Hash(object) => Some(Arc::make_mut(object)),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::Hash(Arc::new(self))
    }

    fn is_empty(&self) -> bool {
        true
    }

    fn memory(&self) -> usize {
        0
    }

    fn encoding(&self) -> &'static str {
        "raw"
    }

    fn encode(&self, _out: &mut Vec<u8>) {}

    fn decode(_bytes: &[u8]) -> Option<Self> {
        Some(Self::default())
    }
}
