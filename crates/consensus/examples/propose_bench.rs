//! Prints how many proposals per second one voter commits, on disk and in memory.
//!
//! `cargo run --release -p perigee-consensus --example propose_bench [-- DIR]`

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use perigee_consensus::{
    Applied, CommittedEntry, Consensus, ConsensusOptions, Durability, MachineError, Node, Outcome, StateMachine,
};
use perigee_log::{Log, LogOptions, Meta, SEGMENT_BYTES};
use perigee_runtime::sim::SimFiles;
use perigee_runtime::{Files, Runtime};
use perigee_types::Hlc;

struct Nothing;

impl StateMachine for Nothing {
    fn applied(&self) -> Applied {
        Applied::default()
    }
    fn time(&self) -> Hlc {
        Hlc::default()
    }
    fn apply(&mut self, _entry: CommittedEntry) -> Result<Outcome, MachineError> {
        Ok(Outcome::Applied)
    }
    fn flush(&mut self) {}
}

async fn bench(
    name: &str,
    files: Arc<dyn Files>,
    dir: &Path,
    durability: Durability,
) -> Result<(), Box<dyn std::error::Error>> {
    for proposers in [1_u64, 8, 16, 64, 256] {
        let dir = dir.join(format!("{name}-{proposers}"));
        let log = LogOptions { dir: dir.join("log"), cluster_id: 1, segment_bytes: SEGMENT_BYTES };
        let (log, _) = Log::open(Arc::clone(&files), log)?;
        let meta = Meta::open(Arc::clone(&files), &dir.join("meta"))?;
        let node = Node { name: "bench".into(), incarnation: 1, address: String::new() };
        let mut options = ConsensusOptions::new(node, 1);
        options.durability = durability;
        let runtime = Runtime { files: Arc::clone(&files), ..Runtime::system() };
        let up = Instant::now();
        let consensus = Consensus::start(options, runtime, Arc::new(log), Arc::new(meta), Nothing).await?;
        let up = up.elapsed();
        let term = consensus.leader_term().ok_or("does not lead")?;
        let before = consensus.metrics();
        let started = Instant::now();
        let tasks: Vec<_> = (0..proposers)
            .map(|_| {
                let consensus = consensus.clone();
                tokio::spawn(async move {
                    let payload = Bytes::from_static(&[7; 100]);
                    let mut done = 0_u64;
                    while started.elapsed() < Duration::from_secs(2) {
                        if consensus.propose(term, payload.clone()).await.is_err() {
                            break;
                        }
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += task.await?;
        }
        let took = started.elapsed();
        let after = consensus.metrics();
        let (frames, syncs) = (after.frames - before.frames, after.syncs - before.syncs);
        let rate = done as f64 / took.as_secs_f64();
        println!(
            "{name:>9} {proposers:>4} proposers: {rate:>9.0}/s  {:>7.1} us each  {:>6.1} entries/frame  {syncs} syncs \
             of {:.0} us  (up in {:.1} ms)",
            took.as_secs_f64() * 1e6 * proposers as f64 / done.max(1) as f64,
            done as f64 / frames.max(1) as f64,
            (after.sync_time - before.sync_time).as_secs_f64() * 1e6 / syncs.max(1) as f64,
            up.as_secs_f64() * 1e3,
        );
        consensus.shutdown().await;
    }
    Ok(())
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let dir = std::env::args().nth(1).map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    bench("memory", SimFiles::new(), Path::new("bench"), Durability::Fsync).await?;
    let disk = Runtime::system().files;
    bench("disk", Arc::clone(&disk), &dir, Durability::Fsync).await?;
    bench("interval", disk, &dir, Durability::Interval(Duration::from_secs(1))).await
}
