//! The `redis` crate as a client, in both protocols: over a door without a log, or over the node that `PERIGEE_REDIS`
//! names (`127.0.0.1:6379`), whose database 9 it empties.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::StreamExt;
use perigee_resp::{RespOptions, twin};
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamAutoClaimOptions, StreamAutoClaimReply, StreamMaxlen, StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, AsyncConnectionConfig, Client, Commands, RedisResult, Script, Value, pipe};
use tokio_util::sync::CancellationToken;

/// A reply may take as long on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a server is, and what ends it.
struct Door {
    address: String,
    stop: CancellationToken,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Door {
    async fn open() -> Self {
        let stop = CancellationToken::new();
        if let Ok(address) = std::env::var("PERIGEE_REDIS") {
            return Self { address, stop };
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = twin::door(address.port(), None, RespOptions::default(), stop.clone()).unwrap();
        let serving = stop.clone();
        tokio::spawn(async move { server.serve(listener, None, serving).await });
        Self { address: address.to_string(), stop }
    }

    fn client(&self, protocol: u32) -> Client {
        Client::open(format!("redis://{}/9?protocol={protocol}", self.address)).unwrap()
    }
}

/// A connection that many share. Its keys are its own: `name` and the protocol begin them.
async fn shared(client: &Client) -> MultiplexedConnection {
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    connection.set_response_timeout(PATIENCE);
    connection
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_redis_crate_works() {
    let door = Door::open().await;
    for protocol in [2, 3] {
        let client = door.client(protocol);
        let mut one = shared(&client).await;
        () = redis::cmd("FLUSHDB").query_async(&mut one).await.unwrap();
        values(&mut one).await;
        pipelines(&mut one).await;
        many_tasks(&one).await;
        scripts(&mut one).await;
        streams(&client, &mut one).await;
        waits(&client, &mut one).await;
        channels(&client, &mut one).await;
        errors(&client, &mut one).await;
        let again = client.clone();
        tokio::task::spawn_blocking(move || blocking(&again)).await.unwrap();
        if protocol == 3 {
            pushes(&client, &mut one).await;
        }
    }
}

async fn values(one: &mut MultiplexedConnection) {
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    () = one.set("bytes", &bytes).await.unwrap();
    assert_eq!(one.get::<_, Vec<u8>>("bytes").await.unwrap(), bytes);
    assert_eq!(one.get::<_, Option<String>>("none").await.unwrap(), None);
    assert_eq!(one.incr::<_, _, i64>("number", 41).await.unwrap(), 41);
    assert_eq!(one.incr::<_, _, f64>("number", 0.5).await.unwrap(), 41.5);
    let map = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
    let fields: Vec<(&String, &i32)> = map.iter().collect();
    () = one.hset_multiple("hash", &fields).await.unwrap();
    assert_eq!(one.hgetall::<_, BTreeMap<String, i32>>("hash").await.unwrap(), map);
    assert_eq!(one.hget::<_, _, Option<i32>>("hash", "c").await.unwrap(), None);
    () = one.zadd_multiple("scores", &[(1.5, "one"), (f64::INFINITY, "two")]).await.unwrap();
    let scores: Vec<(String, f64)> = one.zrange_withscores("scores", 0, -1).await.unwrap();
    assert_eq!(scores, [("one".to_owned(), 1.5), ("two".to_owned(), f64::INFINITY)]);
    assert_eq!(one.zscore::<_, _, Option<f64>>("scores", "none").await.unwrap(), None);
    () = one.sadd("set", &["x", "y"]).await.unwrap();
    assert!(one.sismember::<_, _, bool>("set", "x").await.unwrap());
    assert!(one.expire::<_, bool>("set", 1_000).await.unwrap());
    assert!((1..=1_000).contains(&one.ttl::<_, i64>("set").await.unwrap()));
    for n in 0..1_500 {
        () = one.set(format!("scan:{n}"), n).await.unwrap();
    }
    let mut found: Vec<String> = Vec::new();
    {
        let mut keys = one.scan_match::<_, String>("scan:*").await.unwrap();
        while let Some(key) = keys.next_item().await {
            found.push(key.unwrap());
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 1_500);
    let info: redis::InfoDict = redis::cmd("INFO").query_async(one).await.unwrap();
    assert!(info.get::<String>("redis_version").unwrap().starts_with("7.4"));
}

async fn pipelines(one: &mut MultiplexedConnection) {
    let mut long = pipe();
    for n in 0..5_000_i64 {
        long.cmd("INCRBY").arg("sum").arg(n);
    }
    let sums: Vec<i64> = long.query_async(one).await.unwrap();
    assert_eq!(sums.len(), 5_000);
    assert_eq!(sums.last(), Some(&(4_999 * 5_000 / 2)));
    let (sum, list, gone): (i64, Vec<String>, Option<String>) = pipe()
        .atomic()
        .incr("p:n", 7)
        .rpush("p:l", &["a", "b"])
        .ignore()
        .lrange("p:l", 0, -1)
        .get("p:none")
        .query_async(one)
        .await
        .unwrap();
    assert_eq!((sum, list, gone), (7, vec!["a".to_owned(), "b".to_owned()], None));
    // An error among them is that command's, and the rest is done.
    let failed: RedisResult<Vec<Value>> = pipe().set("p:s", "x").incr("p:s", 1).set("p:t", "y").query_async(one).await;
    assert!(failed.is_err());
    assert_eq!(one.get::<_, String>("p:t").await.unwrap(), "y");
}

/// One connection, hundreds of tasks: replies find their way back.
async fn many_tasks(one: &MultiplexedConnection) {
    let tasks: Vec<_> = (0..300_i64)
        .map(|task| {
            let mut one = one.clone();
            tokio::spawn(async move {
                for n in 0..20_i64 {
                    let key = format!("task:{task}");
                    assert_eq!(one.incr::<_, _, i64>(&key, 1).await.unwrap(), n + 1);
                    let said: String =
                        redis::cmd("ECHO").arg(format!("{task}/{n}")).query_async(&mut one).await.unwrap();
                    assert_eq!(said, format!("{task}/{n}"));
                    () = one.incr("tasks", 1).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(one.clone().get::<_, i64>("tasks").await.unwrap(), 6_000);
}

async fn scripts(one: &mut MultiplexedConnection) {
    let script = Script::new(
        "redis.call('INCRBY', KEYS[1], ARGV[1]) return {redis.call('GET', KEYS[1]), ARGV[2], tonumber(ARGV[1]) * 2, false}",
    );
    // The first call loads it: EVALSHA is told NOSCRIPT.
    for round in 1..=2_i64 {
        let got: (i64, String, i64, Option<String>) =
            script.key("script:n").arg(21).arg("said").invoke_async(one).await.unwrap();
        assert_eq!(got, (21 * round, "said".to_owned(), 42, None));
    }
    let library = "#!lua name=crate_tests\nredis.register_function('crate_add', function(keys, args) \
                   return redis.call('INCRBY', keys[1], args[1]) end)";
    let loaded: String = redis::cmd("FUNCTION").arg("LOAD").arg("REPLACE").arg(library).query_async(one).await.unwrap();
    assert_eq!(loaded, "crate_tests");
    let added: i64 = redis::cmd("FCALL").arg("crate_add").arg(1).arg("f:n").arg(5).query_async(one).await.unwrap();
    assert_eq!(added, 5);
    let wrong = Script::new("return redis.call('LPUSH', KEYS[1], 'x')");
    let failed = wrong.key("script:n").invoke_async::<Value>(one).await;
    assert!(failed.unwrap_err().to_string().contains("WRONGTYPE"));
}

async fn streams(client: &Client, one: &mut MultiplexedConnection) {
    () = one.xgroup_create_mkstream("st", "g", "$").await.unwrap();
    let mut ids: Vec<String> = Vec::new();
    for n in 0..5 {
        ids.push(one.xadd("st", "*", &[("n", n)]).await.unwrap());
    }
    let options = StreamReadOptions::default().group("g", "alice").count(3);
    let read: StreamReadReply = one.xread_options(&["st"], &[">"], &options).await.unwrap();
    let entries = &read.keys.first().unwrap().ids;
    assert_eq!(entries.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>(), ids[..3]);
    assert_eq!(entries[2].get::<i32>("n"), Some(2));
    assert_eq!(one.xack::<_, _, _, i64>("st", "g", &[&ids[0]]).await.unwrap(), 1);
    let options = StreamAutoClaimOptions::default().count(10);
    let claimed: StreamAutoClaimReply = one.xautoclaim_options("st", "g", "bob", 0, "0-0", options).await.unwrap();
    assert_eq!(claimed.claimed.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>(), ids[1..3]);
    assert_eq!(claimed.next_stream_id, "0-0");
    let pending: redis::streams::StreamPendingReply = one.xpending("st", "g").await.unwrap();
    assert_eq!(pending.count(), 2);
    let groups: redis::streams::StreamInfoGroupsReply = one.xinfo_groups("st").await.unwrap();
    assert_eq!((groups.groups[0].name.as_str(), groups.groups[0].pending), ("g", 2));
    let info: redis::streams::StreamInfoStreamReply = one.xinfo_stream("st").await.unwrap();
    assert_eq!((info.length, info.last_entry.get::<i32>("n")), (5, Some(4)));
    () = one.xadd_maxlen("st", StreamMaxlen::Equals(2), "*", &[("n", 9)]).await.unwrap();
    assert_eq!(one.xlen::<_, i64>("st").await.unwrap(), 2);
    // Another connection waits for what this one adds.
    let mut reader = shared(client).await;
    let waiting = tokio::spawn(async move {
        let options = StreamReadOptions::default().block(30_000);
        reader.xread_options::<_, _, StreamReadReply>(&["st"], &["$"], &options).await.unwrap()
    });
    // `$` is what was last when it began to wait: added until it has come.
    while !waiting.is_finished() {
        () = one.xadd("st", "*", &[("n", "late")]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(waiting.await.unwrap().keys[0].ids[0].get::<String>("n").as_deref(), Some("late"));
}

async fn waits(client: &Client, one: &mut MultiplexedConnection) {
    let mut other = shared(client).await;
    let waiting = tokio::spawn(async move { other.blpop::<_, (String, String)>(&["q1", "q2"], 30.0).await.unwrap() });
    () = one.rpush("q2", "job").await.unwrap();
    assert_eq!(waiting.await.unwrap(), ("q2".to_owned(), "job".to_owned()));
    let mut other = shared(client).await;
    assert_eq!(other.blpop::<_, Option<(String, String)>>("q1", 0.05).await.unwrap(), None);
}

async fn channels(client: &Client, one: &mut MultiplexedConnection) {
    let mut listener = client.get_async_pubsub().await.unwrap();
    listener.subscribe("news").await.unwrap();
    listener.psubscribe("w*").await.unwrap();
    for n in 0..1_000 {
        assert_eq!(one.publish::<_, _, i64>("news", n).await.unwrap(), 1);
    }
    () = one.publish("weather", "rain").await.unwrap();
    {
        let mut messages = listener.on_message();
        for n in 0..1_000 {
            let message = tokio::time::timeout(PATIENCE, messages.next()).await.unwrap().unwrap();
            assert_eq!((message.get_channel_name(), message.get_payload::<i32>().unwrap()), ("news", n));
        }
        let message = tokio::time::timeout(PATIENCE, messages.next()).await.unwrap().unwrap();
        assert_eq!(message.get_pattern::<String>().unwrap(), "w*");
        assert_eq!(
            (message.get_channel_name(), message.get_payload::<String>().unwrap()),
            ("weather", "rain".to_owned())
        );
    }
    listener.unsubscribe("news").await.unwrap();
    assert_eq!(one.publish::<_, _, i64>("news", "nobody").await.unwrap(), 0);
    listener.punsubscribe("w*").await.unwrap();
}

async fn errors(client: &Client, one: &mut MultiplexedConnection) {
    let unknown = redis::cmd("NOSUCH").arg(1).query_async::<Value>(one).await.unwrap_err();
    assert_eq!(unknown.code(), Some("ERR"));
    let wrong = one.lpush::<_, _, Value>("hash", "x").await.unwrap_err();
    assert_eq!(wrong.code(), Some("WRONGTYPE"));
    // No cluster here.
    let slots = redis::cmd("CLUSTER").arg("SLOTS").query_async::<Value>(one).await.unwrap_err();
    assert!(slots.to_string().contains("cluster support disabled"), "{slots}");
    // Optimistic locking: of many that add one, none is lost.
    let adders: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    let connection = shared(&client).await;
                    let add = |mut connection: MultiplexedConnection, mut pipe: redis::Pipeline| async move {
                        let n: Option<i64> = connection.get("watched").await?;
                        pipe.set("watched", n.unwrap_or(0) + 1).query_async::<Option<()>>(&mut connection).await
                    };
                    () = redis::aio::transaction_async(connection, &["watched"], add).await.unwrap();
                }
            })
        })
        .collect();
    for adder in adders {
        adder.await.unwrap();
    }
    assert_eq!(one.get::<_, i64>("watched").await.unwrap(), 80);
}

/// Without tokio.
fn blocking(client: &Client) {
    let mut one = client.get_connection().unwrap();
    one.set_read_timeout(Some(PATIENCE)).unwrap();
    () = one.set("sync", "v").unwrap();
    assert_eq!(one.get::<_, String>("sync").unwrap(), "v");
    let n: (i64,) = redis::transaction(&mut one, &["sync:n"], |one, pipe| {
        let n: Option<i64> = one.get("sync:n")?;
        pipe.set("sync:n", n.unwrap_or(0) + 1).ignore().get("sync:n").query(one)
    })
    .unwrap();
    assert_eq!(n, (1,));
    let (kept, all): (i64, HashMap<String, String>) =
        pipe().hset("sync:h", "f", "v").hgetall("sync:h").query(&mut one).unwrap();
    assert_eq!((kept, all.get("f").map(String::as_str)), (1, Some("v")));
    let mut listener = client.get_connection().unwrap();
    let mut listener = listener.as_pubsub();
    listener.set_read_timeout(Some(PATIENCE)).unwrap();
    listener.subscribe("sync").unwrap();
    () = one.publish("sync", "hello").unwrap();
    assert_eq!(listener.get_message().unwrap().get_payload::<String>().unwrap(), "hello");
}

/// RESP3: messages come as pushes, between replies, on the connection that everybody shares.
async fn pushes(client: &Client, one: &mut MultiplexedConnection) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let config = AsyncConnectionConfig::new().set_push_sender(sender).set_response_timeout(Some(PATIENCE));
    let mut listener = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
    listener.subscribe("pushed").await.unwrap();
    () = one.publish("pushed", "hello").await.unwrap();
    assert_eq!(listener.get::<_, String>("sync").await.unwrap(), "v");
    loop {
        let push = tokio::time::timeout(PATIENCE, receiver.recv()).await.unwrap().unwrap();
        if push.kind == redis::PushKind::Message {
            let said: Vec<String> =
                push.data.into_iter().map(|value| redis::from_redis_value(value).unwrap()).collect();
            assert_eq!(said, ["pushed", "hello"]);
            break;
        }
    }
}
