//! Rows of many megabytes: documents, pictures.

use std::pin::pin;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use perigee_testkit::{Client, http};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Text that no compression makes small.
fn text(length: usize, seed: u64) -> String {
    bytes(length, seed).into_iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

/// The same of any bytes.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut all = vec![0; length];
    StdRng::seed_from_u64(seed).fill(&mut all[..]);
    all
}

struct Row {
    id: i32,
    document: String,
    picture: Vec<u8>,
}

impl Row {
    fn new(id: i32, seed: u64) -> Self {
        let picture = if id == 1 { 10 << 20 } else { 3 << 20 };
        Self { id, document: text(2 << 20, seed), picture: bytes(picture, seed) }
    }

    fn json(&self) -> String {
        format!("{{\"id\": {}, \"document\": \"{}\"}}", self.id, self.document)
    }

    async fn is_in(&self, client: &Client) {
        let sql = "SELECT document, picture, parsed::text FROM t WHERE id = $1";
        let row = client.query_one(sql, &[&self.id]).await.unwrap();
        assert!(row.get::<_, &str>(0) == self.document, "text of {}", self.id);
        assert!(row.get::<_, &[u8]>(1) == self.picture, "bytea of {}", self.id);
        assert!(row.get::<_, &str>(2) == self.json(), "jsonb of {}", self.id);
    }
}

async fn ids(client: &Client) -> String {
    client.value("SELECT string_agg(id::text, ',' ORDER BY id) FROM t").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_rows_survive_what_small_ones_do() {
    // Checkpoints come in the middle of rows.
    let mut server = perigee_tests::options().env("PERIGEE_STORAGE__CHECKPOINT_SIZE", "4MB").start().unwrap();
    let mut client = server.client().await.unwrap();
    let create = "CREATE TABLE t (id int PRIMARY KEY, document text, picture bytea, parsed jsonb)";
    client.batch_execute(create).await.unwrap();
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2, $3, $4::text::jsonb)").await.unwrap();
    let (one, mut two, three) = (Row::new(1, 1), Row::new(2, 2), Row::new(3, 3));
    client.execute(&insert, &[&1, &one.document, &one.picture, &one.json()]).await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.execute(&insert, &[&2, &two.document, &two.picture, &two.json()]).await.unwrap();
    transaction.execute("UPDATE t SET document = 'gone' WHERE id = 1", &[]).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(ids(&client).await, "1");
    let transaction = client.transaction().await.unwrap();
    for row in [&two, &three] {
        transaction.execute(&insert, &[&row.id, &row.document, &row.picture, &row.json()]).await.unwrap();
    }
    transaction.commit().await.unwrap();
    two.picture = bytes(4 << 20, 4);
    client.execute("UPDATE t SET picture = $1 WHERE id = 2", &[&two.picture]).await.unwrap();
    client.execute("DELETE FROM t WHERE id = 3", &[]).await.unwrap();
    // Nobody commits it.
    let open = server.client().await.unwrap();
    open.batch_execute("BEGIN").await.unwrap();
    let staged = "INSERT INTO t SELECT 100 + n, document, picture, parsed FROM t, generate_series(1, 3) n WHERE id = 1";
    assert_eq!(open.execute(staged, &[]).await.unwrap(), 3);
    for _ in 0..2 {
        tokio::task::block_in_place(|| server.kill());
        tokio::task::block_in_place(|| server.restart()).unwrap();
        let client = server.client().await.unwrap();
        assert_eq!(ids(&client).await, "1,2");
        one.is_in(&client).await;
        two.is_in(&client).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_rows_are_copied_in_and_out() {
    let server = perigee_tests::options().with_rest().start().unwrap();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, v text)").await.unwrap();
    let rows: Vec<(i32, String)> =
        (0..12).map(|id| (id, text(if id % 3 == 0 { 3 << 20 } else { 100 }, id as u64))).collect();
    let file: String = rows.iter().map(|(id, v)| format!("{id}\t{v}\n")).collect();
    let mut sink = pin!(client.copy_in("COPY t FROM STDIN").await.unwrap());
    for part in file.as_bytes().chunks(1 << 20) {
        sink.send(Bytes::copy_from_slice(part)).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), 12);
    let mut out = Vec::new();
    let mut stream = pin!(client.copy_out("COPY (SELECT * FROM t ORDER BY id) TO STDOUT").await.unwrap());
    while let Some(part) = stream.next().await {
        out.extend_from_slice(&part.unwrap());
    }
    assert!(out == file.as_bytes());
    // And loaded as a body of REST.
    let csv: String = rows.iter().map(|(id, v)| format!("{},{v}\n", id + 100)).collect();
    let body = format!("id,v\n{csv}");
    let headers = [("Content-Type", "text/csv")];
    let answer = http::request(server.rest(), "POST", "/v1/tables/t/load", &headers, body.as_bytes()).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let same = "SELECT count(*) FROM t a JOIN t b ON b.id = a.id + 100 AND b.v = a.v";
    assert_eq!(client.value(same).await.unwrap(), "12");
    let answer = http::get(server.rest(), "/v1/tables/t/rows/103").unwrap();
    assert!(answer.0 == 200 && answer.1.contains(&rows[3].1), "{}", answer.0);
}

/// What did not come into the log is no part of a transaction that goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_above_the_limit_is_taken_back_by_its_savepoint() {
    let mut server = perigee_tests::server();
    let client = server.client().await.unwrap();
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, v text)").await.unwrap();
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1, 'before'); SAVEPOINT s").await.unwrap();
    let error = {
        let mut sink = pin!(client.copy_in("COPY t FROM STDIN").await.unwrap());
        // An error of the server may come while the rest is still sent.
        drop(sink.send(Bytes::from(format!("2\t{}\n", "x".repeat(65 << 20)))).await);
        sink.finish().await.unwrap_err()
    };
    assert_eq!(error.code().map(|state| state.code()), Some("54000"), "{error}");
    client.batch_execute("ROLLBACK TO s; INSERT INTO t VALUES (3, 'behind'); COMMIT").await.unwrap();
    assert_eq!(ids(&client).await, "1,3");
    tokio::task::block_in_place(|| server.kill());
    tokio::task::block_in_place(|| server.restart()).unwrap();
    assert_eq!(ids(&server.client().await.unwrap()).await, "1,3");
}
