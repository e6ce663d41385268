//! Where a request may come from.
//!
//! A web page that a person has open can send requests to this address with nobody knowing. Where passwords are asked, its browser
//! does not have them; where nobody is asked they would do whatever they say. So a request that a browser sends for a page has
//! to be for a page of this address, or of one that is configured; and where nobody is asked, the address has to be one that
//! no name server decides about.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use perigee_telemetry::names;

use crate::error::Problem;
use crate::server::Door;

/// Lets requests through or not.
pub(crate) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if let Some(detail) = refusal(request.headers(), request.uri().host(), door.engine.trusts(None)) {
        metrics::counter!(names::REST_DENIALS_TOTAL).increment(1);
        return Problem::new(StatusCode::FORBIDDEN, detail).into_response();
    }
    let response = next.run(request).await;
    let class = match response.status().as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    metrics::counter!(names::REST_REQUESTS_TOTAL, "status" => class).increment(1);
    response
}

/// Why a request is refused.
fn refusal(headers: &HeaderMap, authority: Option<&str>, trusts: bool) -> Option<&'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).or(authority).unwrap_or_default();
    if trusts && !is_address(host) {
        return Some("nobody is asked for a password here, so the Host of a request must be localhost or an address");
    }
    let origin = text(header::ORIGIN)?;
    let of_this = origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host));
    (!of_this).then_some("a page of another origin may not ask")
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
        refusal(&headers, None, trusts).is_none()
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
        assert!(refusal(&HeaderMap::new(), None, true).is_some());
        assert!(refusal(&HeaderMap::new(), Some("127.0.0.1"), true).is_none());
    }
}
