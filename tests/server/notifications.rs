//! NotificationResponse as a driver gets it: while it waits, and with the answer to its own statement.

use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Config, NoTls};

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_gets_notifications_while_it_waits_and_not_in_a_block() {
    let server = tokio::task::block_in_place(perigee_tests::server);
    let mut config = Config::new();
    config.host("127.0.0.1").port(server.pg().port()).user("postgres").dbname("postgres");
    let (listener, mut connection) = config.connect(NoTls).await.unwrap();
    let (sender, mut arrived) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notification(one) = message {
                drop(sender.send((one.channel().to_owned(), one.payload().to_owned(), one.process_id())));
            }
        }
    });
    let other = server.client().await.unwrap();
    let pid: i32 = other.value("SELECT pg_backend_pid()").await.unwrap().parse().unwrap();
    listener.batch_execute("LISTEN jobs").await.unwrap();
    other.batch_execute("BEGIN; NOTIFY jobs, 'first'; NOTIFY jobs; COMMIT").await.unwrap();
    let mut next = async || tokio::time::timeout(Duration::from_secs(30), arrived.recv()).await.unwrap().unwrap();
    assert_eq!(next().await, ("jobs".to_owned(), "first".to_owned(), pid));
    assert_eq!(next().await, ("jobs".to_owned(), String::new(), pid));
    // In a block they wait for its end.
    listener.batch_execute("BEGIN; SELECT 1").await.unwrap();
    other.batch_execute("NOTIFY jobs, 'second'").await.unwrap();
    listener.batch_execute("SELECT pg_sleep(0.2)").await.unwrap();
    listener.batch_execute("NOTIFY jobs, 'own'").await.unwrap();
    listener.batch_execute("COMMIT").await.unwrap();
    assert_eq!(next().await.1, "second");
    assert_eq!(next().await.1, "own");
    // Many, while the listener is idle and while it works.
    for number in 0..200 {
        other.execute("SELECT pg_notify('jobs', $1)", &[&format!("n{number}")]).await.unwrap();
        if number % 20 == 0 {
            listener.query("SELECT $1::int", &[&number]).await.unwrap();
        }
    }
    for number in 0..200 {
        assert_eq!(next().await.1, format!("n{number}"));
    }
    listener.batch_execute("UNLISTEN jobs").await.unwrap();
    other.batch_execute("NOTIFY jobs, 'unheard'").await.unwrap();
    listener.batch_execute("LISTEN last; NOTIFY last").await.unwrap();
    assert_eq!(next().await.0, "last");
}
