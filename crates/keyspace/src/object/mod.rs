//! The objects that keys hold.
//!
//! All is deterministic: the order of elements depends on the commands alone and survives encoding, so that what is
//! evicted and read back goes on as if it had stayed.

mod hash;
mod list;
mod pack;
mod series;
mod set;
mod slots;
pub mod stream;
mod string;
mod zset;

pub use hash::{Field, Hash, HashIter, HashLimits};
pub use list::{List, ListIter, ListLimits};
pub use series::{
    Added, Aggregation, Buckets, DuplicatePolicy, Label, ROWS_MAX, Row, Rule, Sample, Series, SeriesOptions,
    bucket_start,
};
pub use set::{Set, SetIter, SetLimits};
pub use stream::Stream;
pub use string::Str;
pub use zset::{ZSet, ZSetIter, ZSetLimits};

use std::sync::Arc;

/// What a type of object can do.
pub trait Object: Clone + Default + Send + Sync + 'static {
    /// The object in a value, when it is of this type.
    fn of(value: &Value) -> Option<&Self>;
    /// The same, to change. A checkpoint that still holds the object makes this a copy.
    fn of_mut(value: &mut Value) -> Option<&mut Self>;
    /// As a value.
    fn into_value(self) -> Value;
    /// Whether nothing is left in it: Redis removes such a key.
    fn is_empty(&self) -> bool;
    /// Bytes of memory, about.
    fn memory(&self) -> usize;
    /// Its name in OBJECT ENCODING.
    fn encoding(&self) -> &'static str;
    /// Writes it for the LSM. What `decode` gives back behaves alike in every respect, order and encoding name included.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads what `encode` wrote; `None` for anything else. Never panics, never allocates more than a small multiple of
    /// the bytes given.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// What a key holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// A string.
    String(Str),
    /// A list.
    List(Arc<List>),
    /// A set.
    Set(Arc<Set>),
    /// A sorted set.
    ZSet(Arc<ZSet>),
    /// A hash.
    Hash(Arc<Hash>),
    /// A stream.
    Stream(Arc<Stream>),
    /// A time series.
    Series(Arc<Series>),
}

macro_rules! objects {
    ($($type:ident $variant:ident $tag:literal $name:literal),*) => {
        impl Value {
            /// Its name for TYPE.
            #[must_use]
            pub fn type_name(&self) -> &'static str {
                match self { Value::String(_) => "string", $(Value::$variant(_) => $name),* }
            }

            /// When the first part of it ends that has an end of its own (a field of a hash): milliseconds since 1970 UTC.
            #[must_use]
            pub fn first_end(&self) -> Option<i64> {
                match self { Value::Hash(hash) => hash.first_end(), _ => None }
            }

            /// Whether nothing is left in it.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                match self { Value::String(_) => false, $(Value::$variant(object) => object.is_empty()),* }
            }

            /// Bytes of memory, about.
            #[must_use]
            pub fn memory(&self) -> usize {
                match self { Value::String(object) => object.memory(), $(Value::$variant(object) => object.memory()),* }
            }

            /// Its name in OBJECT ENCODING.
            #[must_use]
            pub fn encoding(&self) -> &'static str {
                match self { Value::String(object) => object.encoding(), $(Value::$variant(object) => object.encoding()),* }
            }

            /// Writes it for the LSM: a tag, then the object.
            pub fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    Value::String(object) => { out.push(0); object.encode(out); }
                    $(Value::$variant(object) => { out.push($tag); object.encode(out); })*
                }
            }

            /// Reads what [`Value::encode`] wrote.
            #[must_use]
            pub fn decode(bytes: &[u8]) -> Option<Value> {
                let (tag, rest) = bytes.split_first()?;
                match tag {
                    0 => Str::decode(rest).map(Value::String),
                    $($tag => $type::decode(rest).map(|object| Value::$variant(Arc::new(object))),)*
                    _ => None,
                }
            }
        }
    };
}

objects!(List List 1 "list", Set Set 2 "set", ZSet ZSet 3 "zset", Hash Hash 4 "hash", Stream Stream 5 "stream", Series Series 6 "TSDB-TYPE");
