//! `/console`: a page that runs statements and shows what the node holds, part of the binary. It asks this door as any client does, with the rights
//! of who is logged in, and nothing else: its files name no other address, and its policy lets the browser reach none.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use sha2::{Digest as _, Sha256};

use crate::error::Problem;

/// Scripts and styles of this address alone: none within the page, so that text from the database can never become one.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
);
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

macro_rules! files {
    ($($name:literal $media:literal;)*) => {
        /// The page's files: name, media type, content.
        const FILES: &[(&str, &str, &[u8])] = &[$(($name, $media, include_bytes!(concat!("console/", $name)))),*];
    };
}

files! {
    "index.html" "text/html; charset=utf-8";
    "console.css" "text/css; charset=utf-8";
    "icon.svg" "image/svg+xml";
    "app.js" "text/javascript; charset=utf-8";
    "api.js" "text/javascript; charset=utf-8";
    "dom.js" "text/javascript; charset=utf-8";
    "grid.js" "text/javascript; charset=utf-8";
    "plot.js" "text/javascript; charset=utf-8";
    "explain.js" "text/javascript; charset=utf-8";
    "query.js" "text/javascript; charset=utf-8";
    "data.js" "text/javascript; charset=utf-8";
    "cluster.js" "text/javascript; charset=utf-8";
    "activity.js" "text/javascript; charset=utf-8";
}

/// `GET /` and `GET /console`: the names of the page's files are relative to the folder.
pub(crate) async fn folder() -> Redirect {
    Redirect::permanent("/console/")
}

/// `GET /console/`
pub(crate) async fn page(headers: HeaderMap) -> Response {
    answer("index.html", &headers)
}

/// `GET /console/{file}`
pub(crate) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    answer(&name, &headers)
}

fn answer(name: &str, asked: &HeaderMap) -> Response {
    let Some((_, media, content)) = FILES.iter().find(|(known, ..)| *known == name) else {
        return Problem::new(StatusCode::NOT_FOUND, "there is nothing here").into_response();
    };
    let tag = format!("\"{}\"", hex(&Sha256::digest(content)[..8]));
    let is_known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { (*content).into_response() };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), SAME_ORIGIN);
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), SAME_ORIGIN);
    // Kept, and asked for again: an upgrade is seen at once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> &'static str {
        let (.., content) = FILES.iter().find(|(known, ..)| *known == name).unwrap();
        std::str::from_utf8(content).unwrap()
    }

    #[test]
    fn every_file_that_the_page_names_is_there() {
        for (name, _, content) in FILES.iter().filter(|(name, ..)| name.ends_with(".js")) {
            let script = std::str::from_utf8(content).unwrap();
            for part in script.split("from \"./").skip(1) {
                let imported = part.split('"').next().unwrap();
                assert!(FILES.iter().any(|(known, ..)| *known == imported), "{name} imports {imported}");
            }
        }
        for part in text("index.html").split(['"', '=']).filter(|part| part.ends_with(".js") || part.ends_with(".css"))
        {
            assert!(FILES.iter().any(|(known, ..)| *known == part), "{part}");
        }
    }

    #[test]
    fn nothing_in_the_page_makes_markup_of_text_or_asks_elsewhere() {
        for (name, _, content) in FILES {
            let text = std::str::from_utf8(content).unwrap();
            let elsewhere = text.matches("http").count() - text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(elsewhere, 0, "{name}");
            for wrong in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "srcdoc",
                "\"style\"",
            ] {
                assert!(!text.contains(wrong), "{name} has {wrong}");
            }
        }
        let page = text("index.html");
        assert!(!page.contains(" on") && !page.contains("<style") && page.matches("<script").count() == 1, "{page}");
    }

    #[test]
    fn a_file_that_is_known_is_not_sent_again() {
        let first = answer("app.js", &HeaderMap::new());
        let mut again = HeaderMap::new();
        again.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(answer("app.js", &again).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer("nothing.js", &again).status(), StatusCode::NOT_FOUND);
        assert_eq!(answer("../lib.rs", &again).status(), StatusCode::NOT_FOUND);
    }
}
