//! Changes of the catalog.

use perigee_types::SqlState;

use crate::node::Node;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ddl_is_transactional() {
    let node = Node::start().await;
    let (mut a, mut b) = (node.client().await, node.client().await);
    a.ok("begin").await;
    a.ok("create table t (id int primary key, v text)").await;
    a.ok("insert into t values (1, 'x'), (2, 'y')").await;
    assert_eq!(a.rows("select v from t where id = 2").await, ["y"]);
    assert_eq!(a.rows("select count(*) from t").await, ["2"]);
    assert_eq!(b.fails("select * from t").await, SqlState::UndefinedTable);
    a.ok("rollback").await;
    assert_eq!(a.fails("select * from t").await, SqlState::UndefinedTable);
    a.ok("begin; create table t (id int primary key); insert into t values (1); commit").await;
    assert_eq!(b.rows("select * from t").await, ["1"]);
    assert_eq!(b.fails("create table t (x int)").await, SqlState::DuplicateTable);
    b.ok("create table if not exists t (x int)").await;
    b.ok("drop table t").await;
    assert_eq!(b.fails("drop table t").await, SqlState::UndefinedTable);
    b.ok("drop table if exists t").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_come_and_go() {
    let mut node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (id int primary key, v text); insert into t values (1, 'x'), (2, 'y')").await;
    a.ok("alter table t add column n int default 5").await;
    assert_eq!(a.rows("select * from t order by id").await, ["1|x|5", "2|y|5"]);
    a.ok("insert into t values (3, 'z', 6)").await;
    a.ok("alter table t drop column v").await;
    assert_eq!(a.rows("select * from t order by id").await, ["1|5", "2|5", "3|6"]);
    a.ok("alter table t rename column n to m").await;
    a.ok("alter table t add column v text").await;
    for checkpoint in [true, false] {
        drop(a);
        node = node.restart(checkpoint).await;
        a = node.client().await;
        assert_eq!(a.rows("select id, m, v from t order by id").await, ["1|5|NULL", "2|5|NULL", "3|6|NULL"]);
    }
    assert_eq!(a.fails("alter table t alter column v set not null").await, SqlState::NotNullViolation);
    a.ok("update t set v = 'w'; alter table t alter column v set not null").await;
    assert_eq!(a.fails("insert into t values (9, 9, null)").await, SqlState::NotNullViolation);
    a.ok("alter table t rename to u").await;
    assert_eq!(a.rows("select count(*) from u").await, ["3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_added_to_a_table_with_rows() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (id int, v int)").await;
    a.ok("insert into t select i, i % 10 from generate_series(1, 3000) as g(i)").await;
    assert_eq!(a.fails("alter table t add unique (v)").await, SqlState::UniqueViolation);
    a.ok("alter table t add primary key (id)").await;
    assert_eq!(a.rows("select v from t where id = 1234").await, ["4"]);
    assert_eq!(a.fails("insert into t values (1234, 0)").await, SqlState::UniqueViolation);
    a.ok("update t set v = 99 where id = 1234").await;
    let node = node.restart(true).await;
    let mut a = node.client().await;
    assert_eq!(a.rows("select v from t where id = 1234").await, ["99"]);
    assert_eq!(a.fails("insert into t values (3000, 0)").await, SqlState::UniqueViolation);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn truncate_empties_and_can_be_rolled_back() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (id int primary key); insert into t values (1), (2)").await;
    a.ok("begin; truncate t").await;
    assert_eq!(a.rows("select count(*) from t").await, ["0"]);
    a.ok("insert into t values (1)").await;
    a.ok("rollback").await;
    assert_eq!(a.rows("select count(*) from t").await, ["2"]);
    a.ok("begin; truncate t; insert into t values (7); commit").await;
    assert_eq!(a.rows("select * from t").await, ["7"]);
    let node = node.restart(true).await;
    let mut a = node.client().await;
    assert_eq!(a.rows("select * from t").await, ["7"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_read_their_tables_and_hold_them() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t (id int primary key, v int); insert into t values (1, 1), (2, 4)").await;
    a.ok("create view w as select id, v * 10 as ten from t where v > 1").await;
    assert_eq!(a.rows("select * from w").await, ["2|40"]);
    assert_eq!(a.fails("drop table t").await, SqlState::DependentObjectsStillExist);
    a.ok("drop table t cascade").await;
    assert_eq!(a.fails("select * from w").await, SqlState::UndefinedTable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn create_table_as_takes_a_query() {
    let node = Node::start().await;
    let mut a = node.client().await;
    a.ok("create table t as select i as id, i * i as square from generate_series(1, 5) as g(i)").await;
    assert_eq!(a.rows("select sum(square) from t").await, ["55"]);
}
