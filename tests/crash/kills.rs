//! SIGKILL at random points.

use std::time::Duration;

use perigee_tests::bank::{Bank, Load};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const KILLS: usize = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_nothing() {
    // Small checkpoints, so that many kills meet one.
    let options = perigee_tests::options().env("PERIGEE_STORAGE__CHECKPOINT_SIZE", "1MB");
    let mut server = options.env("PERIGEE_LOG__SEGMENT_SIZE", "4MB").start().unwrap();
    let bank = Bank { accounts: 20 };
    bank.create(server.pg()).await;
    let load = Load::new(8);
    let mut random = StdRng::seed_from_u64(50);
    let mut acknowledged = Vec::new();
    for kill in 0..KILLS {
        let address = server.pg();
        let after = Duration::from_millis(random.random_range(10..400));
        let killer = async {
            tokio::time::sleep(after).await;
            tokio::task::block_in_place(|| server.kill());
        };
        let (run, ()) = tokio::join!(bank.run(address, &load), killer);
        acknowledged.extend(run.into_iter().map(|transfer| transfer.id));
        // Some restarts are killed too.
        if kill % 5 == 4 {
            server.spawn().unwrap();
            tokio::time::sleep(Duration::from_millis(random.random_range(1..150))).await;
            tokio::task::block_in_place(|| server.kill());
        }
        tokio::task::block_in_place(|| server.restart()).unwrap();
        let checked = bank.check(address, acknowledged.iter().copied()).await;
        checked.unwrap_or_else(|wrong| panic!("after kill {kill}: {wrong}"));
    }
    println!("{KILLS} kills, {} acknowledged transfers", acknowledged.len());
    assert!(acknowledged.len() > KILLS, "the load did nothing");
}

/// The process is ended in place of its n-th fsync or rename, wherever that falls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_a_sync_loses_nothing() {
    let mut random = StdRng::seed_from_u64(7);
    let mut at = 0;
    for round in 0..8 {
        let options = perigee_tests::options().env("PERIGEE_STORAGE__CHECKPOINT_SIZE", "1MB").with_faults();
        let mut server = options.start().unwrap();
        let bank = Bank { accounts: 10 };
        bank.create(server.pg()).await;
        // Early points are those of the start; later ones of commits and checkpoints.
        at += if round < 4 { random.random_range(1..6) } else { random.random_range(50..300) };
        server.kill();
        server.options_mut().environment.push(("PERIGEE_FAULTS_KILL_AT".to_owned(), at.to_string()));
        let mut acknowledged = Vec::new();
        // A kill during the start is a kill as well.
        if tokio::task::block_in_place(|| server.restart()).is_ok() {
            let address = server.pg();
            let run = bank.run(address, &Load::new(4)).await;
            acknowledged.extend(run.into_iter().map(|transfer| transfer.id));
        }
        tokio::task::block_in_place(|| server.kill());
        server.options_mut().environment.retain(|(name, _)| name != "PERIGEE_FAULTS_KILL_AT");
        tokio::task::block_in_place(|| server.restart()).unwrap();
        let checked = bank.check(server.pg(), acknowledged.iter().copied()).await;
        checked.unwrap_or_else(|wrong| panic!("killed at sync {at}: {wrong}"));
    }
}
