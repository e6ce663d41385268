//! Commands that wait, with the machinery that serves them.

use std::sync::Arc;

use futures::FutureExt;
use perigee_runtime::SystemClock;
use perigee_types::Oid;

use crate::twin::{AtOnce, NothingCold, text, words};
use crate::{Command, DbId, Keyspace, State, Unit};

async fn ask(keyspace: Arc<Keyspace>, client: u64, line: &str) -> String {
    let args: Vec<bytes::Bytes> = words(line).into_iter().map(Into::into).collect();
    let Some(spec) = args.first().and_then(|name| crate::command::find(name)) else { return "unknown".to_owned() };
    let db = DbId { tenant: Oid(5), number: 0 };
    let unit = Unit { db, client, commands: vec![Command { spec, args }], ..Unit::default() };
    match keyspace.submit(unit).await {
        Ok(replies) => replies.iter().map(text).collect(),
        Err(error) => format!("{error}"),
    }
}

/// Lets a command wait, runs others, and gives what the first one says if it is served.
async fn served(waits: &str, others: &[&str]) -> Option<String> {
    let (keyspace, line) = Keyspace::new(State::default(), Box::new(NothingCold), Arc::new(SystemClock::new()));
    let run = Arc::clone(&keyspace).run(line, Arc::new(AtOnce::new(&keyspace)));
    let test = async {
        let mut waiting = Box::pin(ask(Arc::clone(&keyspace), 1, waits));
        while keyspace.with_state(|state| state.waiters.is_empty()) {
            if let Some(reply) = (&mut waiting).now_or_never() {
                return Some(reply);
            }
            tokio::task::yield_now().await;
        }
        for other in others {
            ask(Arc::clone(&keyspace), 2, other).await;
        }
        for _ in 0..100 {
            if let Some(reply) = (&mut waiting).now_or_never() {
                return Some(reply);
            }
            tokio::task::yield_now().await;
        }
        None
    };
    tokio::select! {
        reply = test => reply,
        () = run => None,
    }
}

#[tokio::test]
async fn who_waits_is_served_by_the_right_type_alone() {
    let check = async |waits: &str, others: &[&str], want: Option<&str>| {
        assert_eq!(served(waits, others).await.as_deref(), want, "{waits}: {others:?}");
    };
    const WRONG: &str = "(error) WRONGTYPE Operation against a key holding the wrong kind of value";
    check("BLPOP a b 0", &["RPUSH b x y"], Some("[\"b\", \"x\"]")).await;
    check("BLPOP a b 0", &["SADD a x"], None).await;
    check("BLPOP a b 0", &["SADD a x", "DEL a", "RPUSH a y"], Some("[\"a\", \"y\"]")).await;
    check("BLPOP a b 0", &["SADD a x", "RPUSH b y"], Some(WRONG)).await;
    check("BLMOVE a b LEFT LEFT 0", &["RPUSH a x"], Some("\"x\"")).await;
    check("BLMOVE a b LEFT LEFT 0", &["RPUSH b x"], None).await;
    check("BRPOPLPUSH a b 0", &["SET b x", "RPUSH a y"], Some(WRONG)).await;
    check("BLMPOP 0 2 a b LEFT COUNT 2", &["RPUSH b x y z"], Some("[\"b\", [\"x\", \"y\"]]")).await;
    check("BZPOPMIN a 0", &["RPUSH a x", "DEL a", "ZADD a 1 m"], Some("[\"a\", \"m\", ,1]")).await;
}
