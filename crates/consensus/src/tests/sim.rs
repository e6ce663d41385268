//! One voter on the deterministic executor: proposals, power loss at random points with what was not synced partly gone,
//! restart. Whatever was acknowledged is there exactly once and in order, whatever is there was proposed.

use std::sync::Arc;
use std::time::Duration;

use perigee_runtime::Files;
use perigee_runtime::sim::{SimFiles, SimRandom, block_on, runtime};
use perigee_types::{Hlc, LogIndex};

use super::support::{Recorder, numbered, open, options};
use crate::{Committed, Consensus, ConsensusOptions, Durability, EntryKind, Outcome};

/// What the proposer knows over all lives of the node.
#[derive(Default)]
struct Client {
    next: u64,
    /// Number and place of what was acknowledged.
    acknowledged: Vec<(u64, Committed)>,
    /// Acknowledged and not there any more.
    lost: usize,
}

fn simulated(durability: Durability) -> ConsensusOptions {
    ConsensusOptions { threads: 0, durability, ..options() }
}

/// One life: start, check what came back, propose until the power goes.
async fn live(files: Arc<SimFiles>, durability: Durability, random: &mut SimRandom, client: &mut Client) {
    let recorder = Recorder::default();
    let files: Arc<dyn Files> = files;
    let (log, recovery, meta) = open(&files, 16 << 10);
    let mut options = simulated(durability);
    // A replay from the mark and one by Raft alone must come to the same.
    options.committed = LogIndex(if random.one_in(2) { recovery.committed } else { 0 });
    let mut machine = runtime(SimFiles::new(), 1_000_000 + random.below(1_000_000));
    machine.files = files;
    let start = Consensus::start(options, machine, log, meta, recorder.clone());
    let patience = 1 + random.below(400);
    let consensus = tokio::select! {
        biased;
        started = start => started.unwrap(),
        // Some lives end before the node is up.
        () = turns(patience), if random.one_in(4) => return,
    };
    check(&recorder, client);
    let term = consensus.leader_term().expect("leads");
    let mut waiting = Vec::new();
    let mut left = random.below(300);
    while left > 0 {
        left -= 1;
        if random.one_in(3) {
            for _ in 0..=random.below(8) {
                waiting.push((client.next, consensus.propose(term, numbered(client.next))));
                client.next += 1;
            }
        }
        turns(random.below(4)).await;
        collect(&mut waiting, client);
    }
    if random.one_in(5) {
        consensus.shutdown().await;
        for (number, answer) in waiting {
            client.acknowledged.push((number, answer.await.expect("drained")));
        }
    }
}

/// Takes the answers that are there.
fn collect(waiting: &mut Vec<(u64, crate::Proposal)>, client: &mut Client) {
    use futures::FutureExt;
    waiting.retain_mut(|(number, answer)| match answer.now_or_never() {
        Some(answer) => {
            client.acknowledged.push((*number, answer.expect("nothing fails here")));
            false
        }
        None => true,
    });
}

async fn turns(count: u64) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

fn check(recorder: &Recorder, client: &mut Client) {
    let recorded = recorder.0.lock();
    let mut last = None;
    let mut time = Hlc::default();
    for entry in &recorded.entries {
        assert!(entry.time > time, "time runs forward over all lives");
        time = entry.time;
        if entry.kind == EntryKind::Normal {
            let number = u64::from_le_bytes(entry.payload[..].try_into().unwrap());
            assert!(number < client.next, "what is there was proposed");
            assert!(last.is_none_or(|last| last < number), "in order, once");
            last = Some(number);
        }
    }
    let before = client.acknowledged.len();
    client.acknowledged.retain(|(number, committed)| {
        assert_eq!(committed.outcome, Outcome::Applied);
        let entry = recorded.entries.iter().find(|entry| entry.index == committed.index);
        entry.is_some_and(|entry| entry.payload == numbered(*number) && entry.time == committed.time)
    });
    client.lost += before - client.acknowledged.len();
}

/// What a run came to; equal for equal seeds.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    proposed: u64,
    acknowledged: usize,
    lost: usize,
    entries: Vec<(LogIndex, Hlc)>,
}

fn run(seed: u64, durability: Durability) -> Run {
    let mut random = SimRandom::new(seed);
    let files = SimFiles::new();
    let mut client = Client::default();
    for _ in 0..4 {
        // The executor and all its tasks end with the life; the disk stays and forgets.
        block_on(live(Arc::clone(&files), durability, &mut random, &mut client)).unwrap();
        files.crash(random.next_u64());
    }
    let recorder = Recorder::default();
    block_on(async {
        let disk: Arc<dyn Files> = Arc::clone(&files) as _;
        let (log, _, meta) = open(&disk, 16 << 10);
        let mut machine = runtime(SimFiles::new(), 0);
        machine.files = disk;
        let options = simulated(durability);
        let consensus = Consensus::start(options, machine, log, meta, recorder.clone()).await.unwrap();
        check(&recorder, &mut client);
        consensus.shutdown().await;
    })
    .unwrap();
    let entries = recorder.0.lock().entries.iter().map(|entry| (entry.index, entry.time)).collect();
    Run { proposed: client.next, acknowledged: client.acknowledged.len(), lost: client.lost, entries }
}

#[test]
fn acknowledged_proposals_survive_power_loss() {
    let (mut proposed, mut acknowledged) = (0, 0);
    for seed in 0..100 {
        let result = std::panic::catch_unwind(|| run(seed, Durability::Fsync));
        let run = result.unwrap_or_else(|_| panic!("seed {seed}"));
        assert_eq!(run.lost, 0, "seed {seed}");
        proposed += run.proposed;
        acknowledged += run.acknowledged;
    }
    assert!(acknowledged > 1_000, "the runs do something: {acknowledged}");
    assert!(proposed as usize > acknowledged, "and some of it is lost in the middle: {proposed}");
}

#[test]
fn without_syncs_they_do_not() {
    // The same runs where the power goes before the timer: proof that they would notice a sync that is missing. Order,
    // time and no-one-twice hold all the same.
    let hour = Durability::Interval(Duration::from_secs(3_600));
    let runs: Vec<Run> = (0..20).map(|seed| run(seed, hour)).collect();
    let lost: usize = runs.iter().map(|run| run.lost).sum();
    let acknowledged: usize = runs.iter().map(|run| run.acknowledged).sum();
    assert!(lost > 0, "{acknowledged} acknowledged, none lost");
}

#[test]
fn a_run_repeats_from_its_seed() {
    for seed in 0..5 {
        assert_eq!(run(seed, Durability::Fsync), run(seed, Durability::Fsync), "seed {seed}");
    }
}
