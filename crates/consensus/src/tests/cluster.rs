//! Members on the deterministic executor: a network that delays, cuts and loses, machines that lose power, disks that are
//! replaced. Whatever happens:
//!
//! - in a term at most one member leads, and sends entries;
//! - who leads has all that was committed in earlier terms;
//! - two logs with the same entry are the same up to it;
//! - all members apply the same entry at an index, of a time and a term that never run back, and checkpoints hold just that;
//! - what was acknowledged stays, once, at its place, on every member, and reads that begin behind the answer see it;
//! - what was refused never takes effect;
//! - when the faults end, writes go on and all members come to the same state and the same log.
//!
//! `PERIGEE_SIM_SEEDS=1000` runs that many seeds, `PERIGEE_SIM_SEED=42` begins with that one; `PERIGEE_SIM_TRACE=1` prints all
//! that happens. A seed is one run, step for step, in every process.

mod net;
mod node;
mod run;
mod trace;

use std::collections::BTreeMap;
use std::process::Command;

use run::{Faults, Run, run};

const EVERYTHING: Faults = Faults {
    partitions: true,
    crashes: true,
    checkpoints: true,
    replaced: true,
    slow: true,
    hasty: true,
    still: false,
    operator: false,
    gateways: true,
};

fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first: u64 = number("PERIGEE_SIM_SEED").unwrap_or(0);
    first..first + number("PERIGEE_SIM_SEEDS").unwrap_or(default)
}

fn all(faults: Faults, default: u64) -> Run {
    let mut sum = Run::default();
    let mut failed = Vec::new();
    for seed in seeds(default) {
        match std::panic::catch_unwind(|| run(seed, faults)) {
            Ok(run) => sum.add(&run),
            Err(_) => failed.push(seed),
        }
    }
    eprintln!("{faults:?}: {sum:?}");
    assert!(failed.is_empty(), "{faults:?}: seeds {failed:?}");
    assert!(sum.acknowledged > 0, "{faults:?}: the runs do something");
    sum
}

#[test]
fn a_quiet_cluster_replicates() {
    let sum = all(Faults::default(), 3);
    assert_eq!(sum.acknowledged, sum.proposed, "nothing is refused or lost without faults");
}

#[test]
fn acknowledged_entries_survive_partitions() {
    let sum = all(Faults { partitions: true, gateways: true, ..Faults::default() }, 6);
    assert!(sum.terms > sum.runs, "leaders change: {sum:?}");
}

#[test]
fn acknowledged_entries_survive_power_loss() {
    let sum = all(Faults { crashes: true, gateways: true, ..Faults::default() }, 6);
    assert!(sum.crashes > 0);
}

#[test]
fn a_leader_cannot_count_on_who_has_forgotten() {
    let sum = all(Faults { hasty: true, ..Faults::default() }, 4);
    assert!(sum.crashes > 0);
}

#[test]
fn a_leader_cannot_count_on_answers_that_lay_unread() {
    let sum = all(Faults { still: true, ..Faults::default() }, 4);
    assert!(sum.outlived > 0, "another one led and wrote meanwhile: {sum:?}");
}

#[test]
fn acknowledged_entries_survive_an_operator() {
    let faults = Faults { operator: true, gateways: true, partitions: true, ..Faults::default() };
    let sum = all(faults, 6);
    assert!(sum.terms > sum.runs, "leaders change: {sum:?}");
}

#[test]
fn acknowledged_entries_survive_everything_at_once() {
    let sum = all(EVERYTHING, 8);
    assert!(sum.snapshots > 0, "some member got a snapshot: {sum:?}");
    assert!(sum.replaced > 0, "some disk was replaced: {sum:?}");
}

#[test]
fn a_seed_is_one_run_in_every_process() {
    // The other process begins at the other end: nothing is left of runs before.
    let is_other = std::env::var_os("PERIGEE_SIM_TELL").is_some();
    let mut seeds: Vec<u64> = (0..4).collect();
    if is_other {
        seeds.reverse();
    }
    let runs: BTreeMap<u64, Run> = seeds.into_iter().map(|seed| (seed, run(seed, EVERYTHING))).collect();
    let told = format!("{runs:?}");
    if is_other {
        println!("\n{told}");
        return;
    }
    let mut other = Command::new(std::env::current_exe().unwrap());
    other.args(["--exact", "tests::cluster::a_seed_is_one_run_in_every_process", "--nocapture"]);
    let other = other.env("PERIGEE_SIM_TELL", "1").output().unwrap();
    let other = String::from_utf8_lossy(&other.stdout);
    assert!(other.lines().any(|line| line == told), "here: {told}\nthere: {other}");
}
