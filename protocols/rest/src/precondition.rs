//! `ETag`, and `If-Match` and `If-None-Match` of requests: who changes what somebody else has changed meanwhile is told so.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use crate::error::Problem;
use crate::script::json_bytes;

/// What a request asks of what it changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preconditions {
    /// `If-Match`: it is there, and has one of these tags.
    one_of: Option<Vec<String>>,
    /// `If-None-Match`: it is not there, or has none of these.
    none_of: Option<Vec<String>>,
}

impl Preconditions {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self { one_of: tags(headers, &header::IF_MATCH), none_of: tags(headers, &header::IF_NONE_MATCH) }
    }

    /// Whether nothing is asked.
    pub(crate) fn are_none(&self) -> bool {
        self.one_of.is_none() && self.none_of.is_none()
    }

    /// Whether they hold for the JSON that is there now, or for nothing.
    pub(crate) fn hold(&self, body: Option<&[u8]>) -> bool {
        let Some(tag) = body.map(tag_of) else { return self.one_of.is_none() };
        // A weak tag promises too little to write by, and is enough to leave it.
        let is_one = self.one_of.as_ref().is_none_or(|known| names(known, &tag));
        let is_none = self.none_of.as_ref().is_none_or(|known| !names_weakly(known, &tag));
        is_one && is_none
    }
}

/// `412`
pub(crate) fn failed() -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "it is not what the request says it is: read it again")
}

/// JSON with a tag of what it is; `304` for who has it already.
pub(crate) fn tagged(headers: &HeaderMap, body: Vec<u8>) -> Response {
    let tag = tag_of(&body);
    let known = tags(headers, &header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| names_weakly(&known, &tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        json_bytes(StatusCode::OK, body)
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The tag of some JSON.
fn tag_of(body: &[u8]) -> String {
    let hash = Sha256::digest(body);
    let digits: String = hash.iter().take(16).map(|b| format!("{b:02x}")).collect();
    format!("\"{digits}\"")
}

/// The tags of a header; `None` where it is not there. What cannot be read is no tag.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    if !headers.contains_key(name) {
        return None;
    }
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    Some(values.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect())
}

fn names(known: &[String], tag: &str) -> bool {
    known.iter().any(|known| known == tag || known == "*")
}

fn names_weakly(known: &[String], tag: &str) -> bool {
    known.iter().any(|known| known.trim_start_matches("W/") == tag || known == "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preconditions_hold_for_what_they_name() {
        let body = b"{}".as_slice();
        let tag = tag_of(body);
        let check = |name: &'static str, value: &str, there: bool, absent: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
            let asked = Preconditions::of(&headers);
            assert_eq!((asked.hold(Some(body)), asked.hold(None)), (there, absent), "{name}: {value}");
            assert!(!asked.are_none());
        };
        check("if-match", &tag, true, false);
        check("if-match", &format!("\"x\", {tag}"), true, false);
        check("if-match", &format!("W/{tag}"), false, false);
        check("if-match", "\"x\"", false, false);
        check("if-match", "*", true, false);
        check("if-none-match", "*", false, true);
        check("if-none-match", &format!("W/{tag}"), false, true);
        check("if-none-match", "\"x\"", true, true);
        assert!(Preconditions::of(&HeaderMap::new()).are_none());
    }
}
