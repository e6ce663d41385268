//! The part of an address behind the question mark.

use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::error::{Answer, Problem};

/// Names and values, each to be taken once; what is left in the end is not known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Address(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Address {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::new(parts.uri.query().unwrap_or_default()))
    }
}

impl Address {
    fn new(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The value of a name, where it is there.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// The value of a name that is to be read.
    ///
    /// # Errors
    /// `400` for what cannot be.
    pub(crate) fn read<T: FromStr>(&mut self, name: &str) -> Answer<Option<T>> {
        let Some(text) = self.take(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Problem::bad(format!("{name} cannot be {text:?}")))
    }

    /// The value of a name that is one of some words.
    ///
    /// # Errors
    /// `400` for another word.
    pub(crate) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Answer<Option<T>> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        found.map(Some).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Problem::bad(format!("{name} cannot be {text:?}: it is one of {}", words.join(", ")))
        })
    }

    /// # Errors
    /// `400` for names that nobody has taken.
    pub(crate) fn end(self) -> Answer<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::bad(format!("{name:?} is not known here, or said twice"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_once() {
        let mut address = Address::new("a=1&b=x%20y&c=on&d");
        assert_eq!(address.read::<u64>("a").unwrap(), Some(1));
        assert_eq!(address.take("a"), None);
        assert_eq!(address.take("b").as_deref(), Some("x y"));
        assert!(address.clone().end().is_err());
        assert_eq!(address.word("c", &[("on", true), ("off", false)]).unwrap(), Some(true));
        assert_eq!(address.take("d").as_deref(), Some(""));
        assert!(address.end().is_ok());
        assert!(Address::new("a=-1").read::<u64>("a").is_err());
        assert!(Address::new("c=maybe").word("c", &[("on", true)]).is_err());
        assert!(Address::new("a=1&a=2").read::<u64>("a").is_ok());
    }
}
