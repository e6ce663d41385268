//! Numbers and booleans that may come as text: environment variables and flags know nothing else.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserializer, de};

/// Reads an unsigned number or its text.
pub(crate) fn number<'de, D: Deserializer<'de>, T: TryFrom<u64> + FromStr>(deserializer: D) -> Result<T, D::Error> {
    struct Visitor<T>(PhantomData<T>);
    impl<T: TryFrom<u64> + FromStr> de::Visitor<'_> for Visitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a whole number")
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
            T::try_from(value).map_err(|_| E::custom(format!("{value} is too large")))
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
            u64::try_from(value)
                .ok()
                .and_then(|value| T::try_from(value).ok())
                .ok_or_else(|| E::custom(format!("{value} is out of range")))
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
            value.trim().parse().map_err(|_| E::custom(format!("{value:?} is not a whole number in range")))
        }
    }
    deserializer.deserialize_any(Visitor(PhantomData))
}

/// Reads a boolean or its text.
pub(crate) fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct Visitor;
    impl de::Visitor<'_> for Visitor {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("true or false")
        }

        fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<bool, E> {
            match value.trim() {
                "true" | "on" | "yes" | "1" => Ok(true),
                "false" | "off" | "no" | "0" => Ok(false),
                _ => Err(E::custom(format!("{value:?} is neither true nor false"))),
            }
        }
    }
    deserializer.deserialize_any(Visitor)
}
