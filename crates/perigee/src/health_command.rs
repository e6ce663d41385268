//! `perigee admin cluster ping | wait-healthy`: whether the members are there, and have come as far as they should.

use std::time::{Duration, Instant};

use perigee_api::client::Admin;
use perigee_api::v1::{PingClusterResponse, PingedMember};
use perigee_config::Span;

use crate::admin_command::{answer, connect, failure};
use crate::admin_json;
use crate::cli::{AnswerForm, NodePlace};
use crate::failure::Failure;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);

/// Asks each member and prints what it says.
pub(crate) async fn ping(admin: &mut Admin, form: AnswerForm) -> Result<(), Failure> {
    let pinged = admin.ping_cluster().await.map_err(failure)?;
    answer(form, || admin_json::pinged(&pinged), || pinged.members.iter().for_each(print));
    let away = pinged.members.iter().filter(|member| !member.error.is_empty());
    let away: Vec<&str> = away.map(|member| member.name.as_str()).collect();
    if away.is_empty() { Ok(()) } else { Err(Failure::Fatal(format!("no answer of {}", away.join(", ")))) }
}

fn print(member: &PingedMember) {
    let PingedMember { name, address, error, .. } = member;
    let place = if address.is_empty() { String::new() } else { format!(" at {address}") };
    if !error.is_empty() {
        println!("{name}{place}: {error}");
        return;
    }
    let role = match (member.role.as_str(), member.voter) {
        ("leader", _) => "leader",
        (_, true) => "voter",
        (_, false) => "learner",
    };
    println!(
        "{name} {role}{place}: answered in {}, perigee {}, term {}, has applied entry {} of {}",
        milliseconds(member.round_trip_micros),
        member.version,
        member.term,
        member.applied,
        member.committed
    );
}

fn milliseconds(micros: u64) -> String {
    format!("{}.{:03} ms", micros / 1_000, micros % 1_000)
}

/// Waits until the cluster is healthy.
pub(crate) async fn wait(node: &NodePlace, timeout: &str) -> Result<(), Failure> {
    let patience: Span =
        timeout.parse().map_err(|error: String| Failure::Refused(format!("--timeout {timeout}: {error}")))?;
    let patience = patience.duration();
    let started = Instant::now();
    // What was committed at the first look that found all: under load nobody ever has everything.
    let mut wanted = None;
    let mut admin = None;
    loop {
        let missing = match look(node, &mut admin).await {
            Ok(pinged) => missing(&pinged, &mut wanted),
            // It may just be starting.
            Err(error) => {
                admin = None;
                vec![error.to_string()]
            }
        };
        if missing.is_empty() {
            println!("the cluster is healthy");
            return Ok(());
        }
        if started.elapsed() >= patience {
            let text = missing.join("; ");
            return Err(Failure::Fatal(format!("the cluster is not healthy after {timeout}: {text}")));
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn look(node: &NodePlace, admin: &mut Option<Admin>) -> Result<PingClusterResponse, Failure> {
    let admin = match admin {
        Some(admin) => admin,
        None => admin.insert(connect(node).await?),
    };
    admin.ping_cluster().await.map_err(failure)
}

/// What is missing for the cluster to be healthy, in words. `wanted` is the entry that all voters have to have applied.
fn missing(pinged: &PingClusterResponse, wanted: &mut Option<u64>) -> Vec<String> {
    let voters = || pinged.members.iter().filter(|member| member.voter);
    let away = voters().filter(|member| !member.error.is_empty());
    let mut missing: Vec<String> = away.map(|member| member.error.clone()).collect();
    let leader = pinged.members.iter().filter(|member| member.role == "leader").max_by_key(|member| member.term);
    let Some(leader) = leader else {
        missing.push("nobody leads".to_owned());
        return missing;
    };
    if !missing.is_empty() {
        return missing;
    }
    let wanted = *wanted.get_or_insert(leader.committed);
    for member in voters() {
        if member.term != leader.term {
            missing.push(format!("{} is in term {}, and not in {}", member.name, member.term, leader.term));
        } else if member.applied < wanted {
            missing.push(format!("{} has applied entry {} of {wanted}", member.name, member.applied));
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, role: &str, term: u64, committed: u64, applied: u64) -> PingedMember {
        let (name, role) = (name.to_owned(), role.to_owned());
        PingedMember { name, role, term, committed, applied, voter: true, ..PingedMember::default() }
    }

    fn check(members: &[PingedMember], expected: &[&str]) {
        let pinged = PingClusterResponse { members: members.to_vec() };
        assert_eq!(missing(&pinged, &mut None), expected);
    }

    #[test]
    fn what_is_missing_is_named() {
        let leader = || member("n1", "leader", 2, 9, 9);
        let follower = |applied| member("n2", "follower", 2, 9, applied);
        let away = || PingedMember { error: "n3 is away".to_owned(), voter: true, ..PingedMember::default() };
        check(&[leader(), follower(9)], &[]);
        check(&[leader(), follower(8)], &["n2 has applied entry 8 of 9"]);
        check(&[leader(), follower(9), away()], &["n3 is away"]);
        check(&[leader(), follower(9), PingedMember { voter: false, ..away() }], &[]);
        check(&[follower(9), away()], &["n3 is away", "nobody leads"]);
        check(&[leader(), member("n2", "leader", 1, 9, 9)], &["n2 is in term 1, and not in 2"]);
    }

    #[test]
    fn writes_that_go_on_keep_nobody_waiting() {
        let at = |committed, applied| PingClusterResponse {
            members: vec![
                member("n1", "leader", 2, committed, committed),
                member("n2", "follower", 2, applied, applied),
            ],
        };
        let mut wanted = None;
        assert_eq!(missing(&at(9, 8), &mut wanted).len(), 1);
        assert!(missing(&at(20, 9), &mut wanted).is_empty());
    }
}
