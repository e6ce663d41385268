//! What devices send.

use perigee_testkit::http;
use serde_json::{Value, json};

use super::{call, problem, server, sql};

#[test]
fn a_message_counts_once() {
    let mut server = server();
    let send = |server: &perigee_testkit::Server, body: &Value| call(server, "POST", "/ingest", &[], body);
    let message = json!({"device_id": "d1", "ts": 1_767_322_800, "seq": 1, "metrics": {"t": 21.5, "rh": 40}});
    let first = send(&server, &message);
    assert_eq!(
        (first.status, first.json()),
        (202, json!({"status": "stored", "rows": 2, "known": 0})),
        "{}",
        first.text()
    );
    assert_eq!(send(&server, &message).json(), json!({"status": "stored", "rows": 0, "known": 2}));
    let more = json!([
        {"device_id": "d1", "ts": "2026-01-02T03:00:01.5Z", "seq": 2, "metrics": {"t": 22}},
        {"device_id": "d2", "ts": 1_767_322_800.25, "seq": 1, "metrics": {"t": null}},
    ]);
    assert_eq!(send(&server, &more).status, 202);
    let rows = "SELECT device_id, seq, metric, ts, value FROM readings ORDER BY 1, 2, 3";
    let expected = json!([
        {"device_id": "d1", "seq": 1, "metric": "rh", "ts": "2026-01-02T03:00:00+00:00", "value": 40},
        {"device_id": "d1", "seq": 1, "metric": "t", "ts": "2026-01-02T03:00:00+00:00", "value": 21.5},
        {"device_id": "d1", "seq": 2, "metric": "t", "ts": "2026-01-02T03:00:01.5+00:00", "value": 22},
        {"device_id": "d2", "seq": 1, "metric": "t", "ts": "2026-01-02T03:00:00.25+00:00", "value": null},
    ]);
    assert_eq!(sql(&server, rows)["rows"], expected);
    // A unit is said, or told by the size of the number.
    for (path, seq, ts) in [
        ("/ingest", 1, json!(1_767_322_800_250_i64)),
        ("/ingest?precision=ms", 2, json!(1_767_322_800_250_i64)),
        ("/ingest?precision=ns", 3, json!(1_767_322_800_250_000_000_i64)),
    ] {
        let message = json!({"device_id": "d0", "ts": ts, "seq": seq, "metrics": {"t": 1}});
        assert_eq!(call(&server, "POST", path, &[], &message).status, 202, "{path}");
    }
    let times = sql(&server, "DELETE FROM readings WHERE device_id = 'd0' RETURNING ts")["rows"].clone();
    assert_eq!(
        times,
        json!([{"ts": "2026-01-02T03:00:00.25+00:00"}, {"ts": "2026-01-02T03:00:00.25+00:00"}, {"ts": "2026-01-02T03:00:00.25+00:00"}])
    );
    assert_eq!(problem(&call(&server, "POST", "/ingest?precision=h", &[], &message)).0, 400);
    for wrong in [
        json!({"device_id": "", "ts": 1, "seq": 1, "metrics": {"t": 1}}),
        json!({"device_id": "d", "ts": 1, "seq": 1, "metrics": {}}),
        json!({"device_id": "d", "ts": 1, "seq": 1.5, "metrics": {"t": 1}}),
        json!({"device_id": "d", "ts": 1, "seq": 1, "metrics": {"t": "x"}}),
        json!({"device_id": "d", "ts": 1, "seq": 1}),
        json!({"device_id": "d", "ts": true, "seq": 1, "metrics": {"t": 1}}),
    ] {
        assert_eq!(problem(&send(&server, &wrong)).0, 400, "{wrong}");
    }
    // What was accepted is there after a kill at once behind the answer, and still known.
    let late = json!({"device_id": "d3", "ts": 1, "seq": 9, "metrics": {"t": 1}});
    assert_eq!(send(&server, &late).status, 202);
    server.kill();
    server.restart().unwrap();
    assert_eq!(send(&server, &late).json(), json!({"status": "stored", "rows": 0, "known": 1}));
    assert_eq!(sql(&server, "SELECT count(*) AS n FROM readings")["rows"][0]["n"], 5);
}

#[tokio::test]
async fn lines_of_the_line_protocol_become_rows() {
    let server = server();
    let write = |path: &str, lines: &str| {
        let text = [("Content-Type", "text/plain; charset=utf-8")];
        http::request(server.rest(), "POST", path, &text, lines.as_bytes()).unwrap()
    };
    let lines = "# a comment\ncpu,host=a,core=0 usage=0.5,up=t 1767322800000000000\ncpu,core=1,host=a usage=1 1767322800000000000\n\
                 mem,host=a free=12i,note=\"low, \\\"very\\\"\" 1767322800000000000\n";
    for path in ["/api/v2/write?org=o&bucket=b", "/write?db=x&precision=ns", "/api/v2/write"] {
        let answer = write(path, lines);
        assert_eq!(answer.status, 204, "{path}: {}", answer.text());
    }
    let rows = sql(&server, "SELECT series, time, host, core, usage, up FROM cpu ORDER BY core")["rows"].clone();
    let expected = json!([
        {"series": "core=0,host=a", "time": "2026-01-02T03:00:00+00:00", "host": "a", "core": "0", "usage": 0.5, "up": true},
        {"series": "core=1,host=a", "time": "2026-01-02T03:00:00+00:00", "host": "a", "core": "1", "usage": 1, "up": null},
    ]);
    assert_eq!(rows, expected);
    assert_eq!(sql(&server, "SELECT free, note FROM mem")["rows"], json!([{"free": 12, "note": "low, \"very\""}]));
    // A new tag and a new field widen the table; a line of a row that is there fills it up.
    assert_eq!(
        write("/write?precision=s", "cpu,host=a,core=0 idle=0.25 1767322800\ncpu,host=b,zone=z usage=2 1767322801")
            .status,
        204
    );
    let rows = sql(&server, "SELECT usage, idle, zone FROM cpu ORDER BY series, time")["rows"].clone();
    assert_eq!(rows[0], json!({"usage": 0.5, "idle": 0.25, "zone": null}));
    assert_eq!(rows[2], json!({"usage": 2, "idle": null, "zone": "z"}));
    // All or nothing.
    assert_eq!(problem(&write("/write", "cpu,host=c usage=3 1\ncpu usage")).0, 400);
    assert_eq!(problem(&write("/write", "cpu,host=c usage=3 1\ncpu,host=c usage=\"x\" 2")), (400, "42804".into()));
    assert_eq!(write("/write", "cpu,host=c usage=\"x\" 2").status / 100, 4);
    // The column is there already, and it is no tag.
    assert_eq!(problem(&write("/write", "cpu,time=c usage=3 1")), (400, "22023".into()));
    assert_eq!(write("/write?precision=s", "log,host=a text=\"one\ntwo\" 5\nlog,host=a text=\"three\" 6").status, 204);
    assert_eq!(
        sql(&server, "SELECT text FROM log ORDER BY time")["rows"],
        json!([{"text": "one\ntwo"}, {"text": "three"}])
    );
    assert_eq!(problem(&write("/write?precision=x", "cpu usage=3 1")).0, 400);
    assert_eq!(sql(&server, "SELECT count(*) AS n FROM cpu")["rows"][0]["n"], 3);
    // Clients at once, each with tables and columns of its own and of others.
    let threads: Vec<_> = (0..4)
        .map(|client| {
            let rest = server.rest();
            std::thread::spawn(move || {
                for round in 0..10 {
                    let lines =
                        format!("load,client={client} f{}=1 {round}\nload,client={client} g=2 {round}", round % 5);
                    let answer = http::request(rest, "POST", "/write", &[], lines.as_bytes()).unwrap();
                    assert_eq!(answer.status, 204, "{}", answer.text());
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    // Nanoseconds below one microsecond are one moment.
    assert_eq!(
        sql(&server, "SELECT count(*) AS n, count(DISTINCT series) AS s FROM load")["rows"],
        json!([{"n": 4, "s": 4}])
    );
}
