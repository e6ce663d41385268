//! The console's files. What the page does is `integration/console`.

use perigee_testkit::http;

use super::{asking, server};

#[test]
fn the_page_and_its_files_are_served_to_everybody() {
    // They show nothing; what the page asks takes a login.
    for server in [server(), asking().start().unwrap()] {
        let get = |path: &str| http::request(server.rest(), "GET", path, &[], b"").unwrap();
        for path in ["/", "/console"] {
            let answer = get(path);
            assert_eq!((answer.status, answer.headers["location"].as_str()), (308, "/console/"), "{path}");
        }
        let page = get("/console/");
        assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
        let policy = &page.headers["content-security-policy"];
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let script = get("/console/app.js");
        assert_eq!((script.status, script.headers["content-type"].as_str()), (200, "text/javascript; charset=utf-8"));
        assert!(script.headers.contains_key("content-security-policy"));
        let again = [("If-None-Match", script.headers["etag"].as_str())];
        assert_eq!(http::request(server.rest(), "GET", "/console/app.js", &again, b"").unwrap().status, 304);
        for path in ["/console/nothing", "/console/..%2Fserver.rs", "/console/%2e%2e/lib.rs", "/console/app.js/x"] {
            assert_eq!(get(path).status, 404, "{path}");
        }
        assert_eq!(http::request(server.rest(), "POST", "/console/", &[], b"").unwrap().status, 405);
    }
}
