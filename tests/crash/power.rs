//! Power loss: the node runs once and everything it does to files is recorded; then folders are made as a power loss
//! at any moment may leave them, and a node is started on each.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use perigee_testkit::image::{Image, Loss, Replay};
use perigee_testkit::trace::{CrashPoint, Trace};
use perigee_tests::bank::{Acknowledged, Bank, Load};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

/// Points that are tried, half of them outside of the log: there are far fewer of those.
const POINTS: usize = 64;
/// Nodes at a time.
const NODES: usize = 3;
const BANK: Bank = Bank { accounts: 10 };

/// A recorded run.
struct Recorded {
    trace: Trace,
    root: PathBuf,
    /// The place in the record at which the tables and accounts were there.
    created: u64,
    acknowledged: BTreeSet<Acknowledged>,
}

/// Runs a load with checkpoints, small segments and a restart in the middle.
async fn record(folder: &Path) -> Recorded {
    let file = folder.join("record");
    let options = perigee_tests::options()
        .env("PERIGEE_STORAGE__CHECKPOINT_SIZE", "1MB")
        .env("PERIGEE_LOG__SEGMENT_SIZE", "4MB")
        .env("PERIGEE_FAULTS_RECORD", file.to_str().unwrap())
        .on(&folder.join("data"))
        .with_faults();
    let mut server = options.start().unwrap();
    BANK.create(server.pg()).await;
    let length = {
        let file = file.clone();
        move || fs::metadata(&file).unwrap().len()
    };
    let created = length();
    let mut load = Load::new(8);
    load.observe = Arc::new(length);
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        load.stop.store(false, Ordering::Relaxed);
        let (address, stop) = (server.pg(), Arc::clone(&load.stop));
        let stopping = async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            stop.store(true, Ordering::Relaxed);
        };
        let (run, ()) = tokio::join!(BANK.run(address, &load), stopping);
        acknowledged.extend(run);
        if round < 2 {
            // The last checkpoint of a graceful stop is recorded too.
            tokio::task::block_in_place(|| if round == 0 { drop(server.stop().unwrap()) } else { server.kill() });
            tokio::task::block_in_place(|| server.restart()).unwrap();
        }
    }
    tokio::task::block_in_place(|| server.kill());
    let root = folder.join("data").canonicalize().unwrap();
    Recorded { trace: Trace::read(&file).unwrap(), root, created, acknowledged }
}

impl Recorded {
    /// What a crash after so many changes must have kept: all that was acknowledged before.
    fn kept(&self, changes: usize) -> impl Iterator<Item = i64> + '_ {
        let end = self.trace.ends[changes - 1];
        self.acknowledged.iter().filter(move |transfer| transfer.seen <= end).map(|transfer| transfer.id)
    }

    /// The points to try, in their order.
    fn points(&self, seed: u64) -> Vec<CrashPoint> {
        let points = self.trace.crash_points();
        println!("{} changes, {} crash points", self.trace.changes.len(), points.len());
        if std::env::var("PERIGEE_CRASH_POINTS").as_deref() == Ok("all") {
            return points;
        }
        let (of_log, others): (Vec<_>, Vec<_>) =
            points.into_iter().partition(|point| point.path.starts_with(self.root.join("log")));
        assert!(of_log.len() > POINTS && others.len() > POINTS, "the load has hardly synced");
        let mut random = StdRng::seed_from_u64(seed);
        let mut some: Vec<_> = of_log.choose_multiple(&mut random, POINTS / 2).cloned().collect();
        some.extend(others.choose_multiple(&mut random, POINTS / 2).cloned());
        some.sort_by_key(|point| point.changes);
        some
    }

    async fn check(&self, changes: usize, image: Image, target: &Path) -> Result<(), String> {
        let mut server = tokio::task::block_in_place(|| {
            image.write(target).map_err(|error| error.to_string())?;
            let options = perigee_tests::options().env("PERIGEE_STORAGE__CHECKPOINT_SIZE", "1MB").on(target);
            options.start().map_err(|error| error.to_string())
        })?;
        if self.trace.ends[changes - 1] >= self.created {
            BANK.check(server.pg(), self.kept(changes)).await?;
            // And it goes on from there.
            let client = server.client().await.map_err(|error| error.to_string())?;
            BANK.transfer(&client, 1 << 40, &mut StdRng::seed_from_u64(1)).await.map_err(|error| error.to_string())?;
        }
        tokio::task::block_in_place(|| {
            server.kill();
            fs::remove_dir_all(target).map_err(|error| error.to_string())
        })
    }
}

/// `PERIGEE_CRASH_SEED` chooses other points and losses.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_power_loss_keeps_what_was_acknowledged() {
    let folder = tempfile::Builder::new().prefix("perigee-power-").disable_cleanup(false).tempdir().unwrap();
    let recorded = &record(folder.path()).await;
    let seed = std::env::var("PERIGEE_CRASH_SEED").map_or(64, |seed| seed.parse().unwrap());
    let mut replay = Replay::default();
    let mut taken = 0;
    let points = recorded.points(seed);
    let images = points.iter().enumerate().map(|(number, point)| {
        recorded.trace.changes[taken..point.changes].iter().for_each(|change| replay.take(change));
        taken = point.changes;
        let loss = match number % 4 {
            0 => Loss::None,
            1 => Loss::All,
            2 => Loss::Some(seed + number as u64),
            _ => Loss::Journal(seed + number as u64),
        };
        let (image, target) = (replay.image(&recorded.root, loss), folder.path().join(format!("image-{number}")));
        async move {
            let checked = recorded.check(point.changes, image, &target).await;
            checked.err().map(|text| format!("{point:?}, {loss:?}: {text}"))
        }
    });
    let checked = futures::stream::iter(images).buffer_unordered(NODES);
    let wrong: Vec<String> = checked.filter_map(std::future::ready).collect().await;
    assert!(wrong.is_empty(), "{} of {} images are wrong:\n{}", wrong.len(), points.len(), wrong.join("\n\n"));
}
