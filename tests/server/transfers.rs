//! Transfers between accounts from many sessions: the total never changes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use perigee_tests::bank::{Bank, Load};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_total_never_changes() {
    let server = perigee_tests::server();
    let bank = Bank { accounts: 20 };
    bank.create(server.pg()).await;
    let load = Load::new(16);
    let (address, stop) = (server.pg(), load.stop.clone());
    let watching = tokio::spawn(async move {
        let client = perigee_testkit::Client::connect(address).await.unwrap();
        for _ in 0..30 {
            assert_eq!(client.value("SELECT sum(balance)::bigint FROM accounts").await.unwrap(), "20000");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stop.store(true, Ordering::Relaxed);
    });
    let acknowledged = bank.run(address, &load).await;
    watching.await.unwrap();
    assert!(acknowledged.len() > 50, "{} transfers", acknowledged.len());
    bank.check(address, acknowledged.iter().map(|transfer| transfer.id)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_total_survives_kills() {
    let mut server = perigee_tests::server();
    let bank = Bank { accounts: 50 };
    bank.create(server.pg()).await;
    let load = Load::new(16);
    let mut acknowledged = Vec::new();
    for _ in 0..4 {
        let address = server.pg();
        let killer = async {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            tokio::task::block_in_place(|| server.kill());
        };
        let (run, ()) = tokio::join!(bank.run(address, &load), killer);
        acknowledged.extend(run.into_iter().map(|transfer| transfer.id));
        tokio::task::block_in_place(|| server.restart()).unwrap();
        bank.check(address, acknowledged.iter().copied()).await.unwrap();
    }
    assert!(acknowledged.len() > 50, "{} transfers", acknowledged.len());
}
