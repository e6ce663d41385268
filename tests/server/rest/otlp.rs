//! Metrics of OpenTelemetry.

use perigee_testkit::http::{self, Answer};
use serde_json::{Value, json};

use super::{call, problem, server, sql};

/// A field of Protocol Buffers with bytes.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap()][..], content].concat()
}

/// A field of Protocol Buffers with 64 bits.
fn fixed(number: u8, content: [u8; 8]) -> Vec<u8> {
    [&[number << 3 | 1][..], &content[..]].concat()
}

#[test]
fn metrics_become_tables() {
    let server = server();
    let nanos = 1_767_322_800_250_000_000_u64;
    let attribute =
        |name: &str, text: &str| bytes(1, &[bytes(1, name.as_bytes()), bytes(2, &bytes(1, text.as_bytes()))].concat());
    let attribute_of_point = |name: &str, text: &str| [&[7 << 3 | 2][..], &attribute(name, text)[1..]].concat();
    let point =
        [attribute_of_point("core", "1"), fixed(3, nanos.to_le_bytes()), fixed(4, 0.5_f64.to_le_bytes())].concat();
    let metric = [bytes(1, b"cpu.load"), bytes(5, &bytes(1, &point))].concat();
    let resource = bytes(1, &attribute("host", "a"));
    let export = bytes(1, &[resource, bytes(2, &bytes(2, &metric))].concat());
    let send = |path: &str, kind: &str, body: &[u8]| -> Answer {
        http::request(server.rest(), "POST", path, &[("Content-Type", kind)], body).unwrap()
    };
    // Again, as its answer was lost: the same row.
    for path in ["/v1/metrics", "/v1/otlp/v1/metrics"] {
        let answer = send(path, "application/x-protobuf", &export);
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{}", answer.text());
        assert_eq!(answer.headers["content-type"], "application/x-protobuf");
    }
    let rows = sql(&server, r#"SELECT series, time, host, core, value FROM "cpu.load""#)["rows"].clone();
    let expected = json!([{"series": "core=1,host=a", "time": "2026-01-02T03:00:00.25+00:00", "host": "a", "core": "1", "value": 0.5}]);
    assert_eq!(rows, expected);
    let with = |metric: Value| json!({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]});
    let time = nanos.to_string();
    let histogram =
        json!({"count": "3", "sum": 4, "bucketCounts": ["1", "2"], "explicitBounds": [0.5], "timeUnixNano": time});
    let latency =
        with(json!({"name": "latency", "histogram": {"aggregationTemporality": 2, "dataPoints": [histogram]}}));
    let answer = call(&server, "POST", "/v1/metrics", &[], &latency);
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    assert_eq!(
        sql(&server, r#"SELECT count, sum, "le_0.5" AS le, le_inf FROM latency"#)["rows"],
        json!([{"count": 3, "sum": 4, "le": 1, "le_inf": 3}])
    );
    let zero = json!({"name": "m\0", "gauge": {"dataPoints": [{"asInt": 1, "timeUnixNano": time}]}});
    for (wrong, state) in [
        (with(zero), Some("22021")),
        (with(json!({"name": "m"})), None),
        (with(json!({"name": "m", "gauge": {"dataPoints": [{"asDouble": 1}]}})), None),
        (with(json!({"name": "m", "gauge": {"dataPoints": [{"timeUnixNano": "x"}]}})), None),
        (
            with(json!({"name": "m".repeat(64), "gauge": {"dataPoints": [{"asInt": 1, "timeUnixNano": time}]}})),
            Some("22023"),
        ),
    ] {
        let refused = problem(&call(&server, "POST", "/v1/metrics", &[], &wrong));
        assert_eq!(refused.0, 400, "{wrong}");
        assert!(state.is_none_or(|state| refused.1 == state), "{wrong}: {refused:?}");
    }
    assert_eq!(problem(&send("/v1/metrics", "application/x-protobuf", b"\xff\xff")).0, 400);
    assert_eq!(problem(&send("/v1/metrics", "text/plain", &export)).0, 415);
}
