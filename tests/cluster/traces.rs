//! One statement is one trace, through the door and all members, for a receiver of OTLP.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use perigee_testkit::{Cluster, http};
use serde_json::Value;

use crate::{options, until};

/// A span, as far as it is looked at.
#[derive(Clone, Debug)]
struct Span {
    node: String,
    name: String,
    id: String,
    parent: String,
    began: u64,
    ended: u64,
}

/// What the nodes have sent, by trace.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<HashMap<String, Vec<Span>>>>);

impl Receiver {
    fn start() -> (Self, SocketAddr) {
        let (receiver, listener) = (Self::default(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (address, taking) = (listener.local_addr().unwrap(), receiver.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                taking.take(stream);
            }
        });
        (receiver, address)
    }

    /// One request, as OTLP over HTTP has it.
    fn take(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let document: Value = serde_json::from_slice(&body).unwrap();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        reader.get_mut().write_all(answer).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let resource = &document["resourceSpans"][0];
        let attributes = resource["resource"]["attributes"].as_array().unwrap();
        let node = attributes.iter().find(|attribute| attribute["key"] == "service.instance.id").unwrap();
        let mut all = self.0.lock().unwrap();
        for span in resource["scopeSpans"][0]["spans"].as_array().unwrap() {
            let nanos = |name: &str| span[name].as_str().unwrap().parse().unwrap();
            all.entry(text(&span["traceId"])).or_default().push(Span {
                node: text(&node["value"]["stringValue"]),
                name: text(&span["name"]),
                id: text(&span["spanId"]),
                parent: text(&span["parentSpanId"]),
                began: nanos("startTimeUnixNano"),
                ended: nanos("endTimeUnixNano"),
            });
        }
    }

    /// The spans of the traces that have all of these steps, as `NODE STEP`.
    fn with(&self, steps: &[String]) -> Vec<Vec<Span>> {
        let all = self.0.lock().unwrap();
        let whole = |spans: &&Vec<Span>| {
            let found: BTreeSet<String> = spans.iter().map(|span| format!("{} {}", span.node, span.name)).collect();
            steps.iter().all(|step| found.contains(step))
        };
        all.values().filter(whole).cloned().collect()
    }
}

/// The steps of a write at the leader, from the statement on.
fn steps(leader: &str, followers: [&str; 2]) -> Vec<String> {
    let at = |node: &str, names: &[&str]| names.iter().map(|name| format!("{node} {name}")).collect::<Vec<_>>();
    let mut all = at(leader, &["INSERT", "plan", "execute", "propose", "append", "apply"]);
    all.extend(followers.iter().flat_map(|node| at(node, &["replicate", "apply"])));
    all
}

/// Each step but the first is a part of another one, and began when that had begun.
fn is_one_tree(spans: &[Span], outside: &str) {
    for span in spans {
        assert!(span.began > 0 && span.ended >= span.began, "{span:?}");
        if span.parent == outside {
            continue;
        }
        let parent = spans.iter().find(|other| other.id == span.parent);
        let parent = parent.unwrap_or_else(|| panic!("{span:?} is a part of nothing in {spans:#?}"));
        // One machine has one clock.
        assert!(span.began >= parent.began, "{span:?} began before {parent:?}");
    }
    assert_eq!(spans.iter().filter(|span| span.parent == outside).count(), 1, "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_one_trace_through_all_members() {
    let (receiver, address) = Receiver::start();
    let options =
        options().with_rest().with_redis().env("PERIGEE_TELEMETRY__OTLP_ENDPOINT", format!("http://{address}"));
    let cluster = Cluster::start(&options).unwrap();
    let leader = cluster.leader().unwrap();
    let name = |number: usize| format!("n{}", number % 3 + 1);
    let (leads, one, two) = (name(leader), name(leader + 1), name(leader + 2));
    let write = steps(&leads, [&one, &two]);

    // PostgreSQL, at the leader and at a follower.
    let client = cluster.servers()[leader].client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int PRIMARY KEY)").await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (1)").await.unwrap();
    until("the leader's statement is a trace", || async { !receiver.with(&write).is_empty() }).await;
    is_one_tree(&receiver.with(&write)[0], "");
    let client = cluster.servers()[(leader + 1) % 3].client().await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (2)").await.unwrap();
    let forwarded: Vec<String> = write.iter().cloned().chain([format!("{one} forward")]).collect();
    until("the follower's statement is a trace", || async { !receiver.with(&forwarded).is_empty() }).await;
    is_one_tree(&receiver.with(&forwarded)[0], "");

    // Redis, at the leader and at a follower, which proposes by itself: a command, and a transaction.
    let at = |node: &str, names: &[&str]| names.iter().map(|name| format!("{node} {name}")).collect::<Vec<_>>();
    let redis = |number: usize, commands: &[u8], replies: &str| {
        let mut stream = TcpStream::connect(cluster.servers()[number % 3].redis()).unwrap();
        stream.write_all(commands).unwrap();
        let mut answer = vec![0; replies.len()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer), replies);
    };
    redis(leader, b"SET a 1\r\n", "+OK\r\n");
    let followers = [at(&one, &["replicate", "apply"]), at(&two, &["replicate", "apply"])].concat();
    let set = [at(&leads, &["SET", "propose", "append", "apply"]), followers.clone()].concat();
    until("the leader's command is a trace", || async { !receiver.with(&set).is_empty() }).await;
    is_one_tree(&receiver.with(&set)[0], "");
    redis(leader + 1, b"MULTI\r\nINCR a\r\nINCR a\r\nEXEC\r\n", "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:2\r\n:3\r\n");
    let multi = [at(&one, &["MULTI", "propose"]), at(&leads, &["append", "apply"]), followers].concat();
    until("the follower's commands are a trace", || async { !receiver.with(&multi).is_empty() }).await;
    is_one_tree(&receiver.with(&multi)[0], "");

    // REST at a follower, of a client that has a trace of its own.
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let post = |number: usize, parent: &str| {
        let headers = [("Content-Type", "text/plain"), ("traceparent", parent)];
        let statement = format!("INSERT INTO t VALUES ({number})");
        let server = &cluster.servers()[(leader + 2) % 3];
        assert_eq!(
            http::request(server.rest(), "POST", "/v1/sql", &headers, statement.as_bytes()).unwrap().status,
            200
        );
    };
    post(3, &format!("00-{trace}-b7ad6b7169203331-01"));
    let request = [format!("{leads} POST /v1/sql"), format!("{two} POST /v1/sql")];
    let forwarded: Vec<String> = write.iter().cloned().chain(request).collect();
    until("the request is a trace", || async { !receiver.with(&forwarded).is_empty() }).await;
    let spans = receiver.0.lock().unwrap()[trace].clone();
    is_one_tree(&spans, "b7ad6b7169203331");

    // Of a client that wants none there is none.
    let unwanted = "1af7651916cd43dd8448eb211c80319c";
    post(4, &format!("00-{unwanted}-b7ad6b7169203331-00"));
    let last = "2af7651916cd43dd8448eb211c80319c";
    post(5, &format!("00-{last}-b7ad6b7169203331-01"));
    until("a later request is a trace", || async { receiver.0.lock().unwrap().contains_key(last) }).await;
    assert!(!receiver.0.lock().unwrap().contains_key(unwanted));
    let (status, metrics) = http::get(cluster.servers()[leader].ops(), "/metrics").unwrap();
    let sent = metrics.lines().find_map(|line| line.strip_prefix("perigee_trace_spans_total ")).unwrap();
    assert!(status == 200 && sent.parse::<u64>().unwrap() > 0, "{sent}");
}
