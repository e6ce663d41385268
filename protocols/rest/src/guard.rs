//! Where a request may come from, and how often.
//!
//! A web page that a person has open can send requests to this address with nobody knowing. Where passwords are asked, its browser
//! does not have them; where nobody is asked they would do whatever they say. So a request that a browser sends for a page has
//! to be for a page of this address, or of one that is configured; and where nobody is asked, the address has to be one that
//! no name server decides about.
//!
//! A page of an origin that is configured is told that it may ask (CORS), before it asks and with each answer. It proves who it is by a
//! header, as everybody: there is nothing that its browser sends by itself.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use perigee_door::Peer;
use perigee_telemetry::names;

use crate::error::Problem;
use crate::identity::APPLICATION;
use crate::server::Door;

/// What pages of others may ask for, send and read.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, x-api-key, content-type, content-encoding, accept, if-match, if-none-match, idempotency-key, \
     perigee-transaction, last-event-id, traceparent",
);
const EXPOSED: HeaderValue =
    HeaderValue::from_static("etag, location, retry-after, perigee-command, idempotency-replayed, www-authenticate");
/// Seconds that a browser remembers what it was told.
const REMEMBER_S: HeaderValue = HeaderValue::from_static("600");

/// The origins whose pages may ask.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    any: bool,
    named: Vec<String>,
}

impl Origins {
    /// Origins such as `https://app.example`; `*` is any.
    pub fn new<'a>(origins: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Self::default();
        for origin in origins {
            match origin {
                "*" => all.any = true,
                origin => all.named.push(origin.to_ascii_lowercase()),
            }
        }
        all
    }

    /// What a page of `origin` is told: which pages may ask; `None` where it may not.
    fn allowed(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        let named = origin.to_str().ok().map(str::to_ascii_lowercase);
        if named.is_some_and(|origin| self.named.contains(&origin)) {
            return Some(origin.clone());
        }
        self.any.then(|| HeaderValue::from_static("*"))
    }
}

/// Lets requests through or not.
pub(crate) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    let origin = request.headers().get(header::ORIGIN);
    let allowed = origin.and_then(|origin| door.options.origins.allowed(origin));
    let refused = refusal(request.headers(), request.uri().host(), door.engine.trusts(None), allowed.is_some());
    let mut response = if let Some(detail) = refused {
        metrics::counter!(names::REST_DENIALS_TOTAL).increment(1);
        Problem::new(StatusCode::FORBIDDEN, detail).into_response()
    } else if let Err(refusal) = door.shared.admit(peer, APPLICATION) {
        metrics::counter!(names::REST_DENIALS_TOTAL).increment(1);
        Problem::from(refusal).into_response()
    } else if percent_decode_str(request.uri().path()).decode_utf8().is_err() {
        Problem::bad("the path is not UTF-8").into_response()
    } else if allowed.is_some() && asks_whether(&request) {
        told()
    } else {
        next.run(request).await
    };
    if let Some(allowed) = allowed {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    let class = match response.status().as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    metrics::counter!(names::REST_REQUESTS_TOTAL, "status" => class).increment(1);
    response
}

/// Whether a browser asks what a page may ask for, before that does.
fn asks_whether(request: &Request) -> bool {
    request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn told() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBER_S);
    response
}

/// Why a request is refused. `allowed`: its origin is one that is configured.
fn refusal(headers: &HeaderMap, authority: Option<&str>, trusts: bool, allowed: bool) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).or(authority).unwrap_or_default();
    if trusts && !is_address(host) {
        return Some("nobody is asked for a password here, so the Host of a request must be localhost or an address");
    }
    let origin = text(header::ORIGIN)?;
    let of_this = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
    (!of_this && !allowed).then_some("a page of another origin may not ask")
}

/// Whether a host is one that nobody can point elsewhere.
fn is_address(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>, trusts: bool) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        refusal(&headers, None, trusts, false).is_none()
    }

    #[test]
    fn pages_of_others_may_not_ask() {
        assert!(check("127.0.0.1:8080", None, true));
        assert!(check("[::1]:8080", None, true));
        assert!(check("localhost:8080", Some("http://localhost:8080"), true));
        assert!(check("db.example:8080", None, false));
        assert!(check("db.example:8080", Some("https://db.example:8080"), false));
        assert!(!check("127.0.0.1:8080", Some("http://evil.example"), true));
        assert!(!check("127.0.0.1:8080", Some("null"), true));
        assert!(!check("127.0.0.1:8080", Some("http://127.0.0.1:9999"), true));
        // A name that is pointed to loopback: DNS rebinding.
        assert!(!check("evil.example:8080", Some("http://evil.example:8080"), true));
        assert!(!check("evil.example:8080", None, true));
        assert!(!check("db.example:8080", Some("http://evil.example"), false));
        assert!(refusal(&HeaderMap::new(), None, true, false).is_some());
        assert!(refusal(&HeaderMap::new(), Some("127.0.0.1"), true, false).is_none());
    }

    #[test]
    fn origins_that_are_configured_may_ask() {
        let check = |origins: &[&str], origin: &str, expected: Option<&str>| {
            let origin = origin.parse().unwrap();
            let found = Origins::new(origins.iter().copied()).allowed(&origin);
            assert_eq!(found.as_ref().map(|found| found.to_str().unwrap()), expected, "{origins:?} {origin:?}");
        };
        let app = "https://app.example";
        check(&[app], app, Some(app));
        check(&[app, "http://b.example:8000"], "http://b.example:8000", Some("http://b.example:8000"));
        check(&[app], "http://app.example", None);
        check(&[app], "https://app.example.evil.example", None);
        check(&[app], "null", None);
        check(&[], app, None);
        check(&["*"], "https://any.example", Some("*"));
    }
}
