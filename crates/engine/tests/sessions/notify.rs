//! LISTEN and NOTIFY between sessions of a node.

use std::time::Duration;

use perigee_types::SqlState;

use crate::node::{Client, Node};

/// What has arrived, as `channel:payload`, once at least `count` have.
async fn received(client: &Client, count: usize) -> Vec<String> {
    let inbox = client.session.inbox();
    let mut all = Vec::new();
    while all.len() < count {
        tokio::time::timeout(Duration::from_secs(30), inbox.arrived()).await.expect("a notification");
        all.extend(inbox.take().into_iter().map(|n| format!("{}:{}", n.channel, n.payload)));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_come_at_commit_in_order_and_once() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    b.ok("listen one").await;
    b.ok("listen \"Two\"").await;
    assert_eq!(b.rows("select pg_listening_channels()").await, ["Two", "one"]);
    assert_eq!(a.rows("select count(*) from pg_listening_channels() c").await, ["0"]);
    a.ok("notify one, 'before'").await;
    a.ok("begin; notify one, 'gone'; rollback").await;
    a.ok("begin; notify one, 'x'; notify \"Two\"; notify one, 'x'; notify one, 'y'; savepoint s; notify one, 'z'; rollback to s; notify one, 'w'; commit").await;
    a.ok("notify nobody, 'hears'").await;
    a.ok("create table t (k int primary key)").await;
    a.ok("insert into t values (1), (2); select pg_notify('one', 'row ' || k) from t order by k").await;
    assert_eq!(received(&b, 7).await, ["one:before", "one:x", "Two:", "one:y", "one:w", "one:row 1", "one:row 2"]);
    // A statement that fails sends nothing.
    a.fails("select pg_notify('one', 'no'), 1 / 0").await;
    b.ok("unlisten one").await;
    a.ok("notify one, 'unheard'; notify \"Two\", 'heard'").await;
    assert_eq!(received(&b, 1).await, ["Two:heard"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listening_begins_and_ends_with_its_transaction() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    b.ok("begin; listen c; rollback").await;
    a.ok("notify c, '1'").await;
    b.ok("begin").await;
    b.ok("listen c").await;
    a.ok("notify c, '2'").await;
    b.ok("notify c, 'own'; commit").await;
    // What a session tells itself is there with the answer.
    let own: Vec<_> = b.session.inbox().take().into_iter().map(|n| (n.payload, n.process_id)).collect();
    assert_eq!(own, [("own".to_owned(), b.session.process_id())]);
    a.ok("notify c, '3'").await;
    assert_eq!(received(&b, 1).await, ["c:3"]);
    b.ok("unlisten *").await;
    a.ok("notify c, '4'").await;
    b.ok("listen c").await;
    a.ok("notify c, '5'").await;
    assert_eq!(received(&b, 1).await, ["c:5"]);
    b.ok("discard all").await;
    a.ok("notify c, '6'").await;
    b.ok("listen d; notify d, 'end'").await;
    assert_eq!(received(&b, 1).await, ["d:end"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_and_payloads_have_limits() {
    let node = Node::start().await;
    let mut a = node.client().await;
    assert_eq!(a.fails("select pg_notify('', 'x')").await, SqlState::InvalidParameterValue);
    assert_eq!(a.fails("select pg_notify(null, 'x')").await, SqlState::InvalidParameterValue);
    assert_eq!(a.fails("select pg_notify(repeat('c', 64), 'x')").await, SqlState::InvalidParameterValue);
    assert_eq!(a.fails("select pg_notify('c', repeat('x', 8000))").await, SqlState::InvalidParameterValue);
    a.ok("select pg_notify('c', repeat('x', 7999)), pg_notify('d', null)").await;
    // More than one entry holds comes whole all the same.
    let mut b = node.client().await;
    b.ok("listen c").await;
    a.ok("begin").await;
    a.ok("select pg_notify('c', repeat('x', 7990) || g) from generate_series(1, 200) g").await;
    a.ok("commit").await;
    a.ok("notify c, 'end'").await;
    let all = received(&b, 201).await;
    assert!(all[199].ends_with("x200") && all[200] == "c:end", "{} notifications", all.len());
}
