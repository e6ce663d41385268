//! Lists.

use std::sync::Arc;

use super::{Object, Value};

/// A list.
#[derive(Clone, Debug, Default)]
pub struct List {}

impl Object for List {
    fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::List(object) => Some(object),
            _ => None,
        }
    }

    fn of_mut(value: &mut Value) -> Option<&mut Self> {
        match value {
            Value::List(object) => Some(Arc::make_mut(object)),
            _ => None,
        }
    }

    fn into_value(self) -> Value {
        Value::List(Arc::new(self))
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
