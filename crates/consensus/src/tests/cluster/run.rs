//! One run: faults from a seed, then peace, then the books are balanced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use perigee_runtime::sim::{SimRandom, block_on};
use perigee_types::{LogIndex, Term};

use super::net::Net;
use super::node::{Member, Oracle};
use super::trace::Trace;
use crate::core_runtime::seed_with;
use crate::raft_types::term_of;
use crate::{Committed, Node, Outcome, ProposeError};

/// What may go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Ways are cut, both or one.
    pub(super) partitions: bool,
    /// Members lose power and come back.
    pub(super) crashes: bool,
    /// Logs are cut behind checkpoints, so that who was away needs a snapshot.
    pub(super) checkpoints: bool,
    /// A disk is replaced, once.
    pub(super) replaced: bool,
    /// A member is slow for a while.
    pub(super) slow: bool,
    /// A leader is cut off while a voter that it counts on starts again at once.
    pub(super) hasty: bool,
    /// A leader stands still and is cut off, with answers unread, and goes on when another one leads.
    pub(super) still: bool,
    /// Not a fault: an operator lets others lead, and takes votes for a while.
    pub(super) operator: bool,
    /// Not a fault: clients of any member write.
    pub(super) gateways: bool,
}

/// What a run came to; equal for equal seeds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) runs: usize,
    pub(super) proposed: u64,
    pub(super) acknowledged: u64,
    /// Refused, with certainty that nothing was written.
    pub(super) refused: u64,
    pub(super) terms: usize,
    pub(super) crashes: usize,
    pub(super) snapshots: usize,
    pub(super) replaced: usize,
    /// Leaders that stood still until another one had written.
    pub(super) outlived: usize,
    pub(super) last: LogIndex,
    /// All that happened, as one number.
    pub(super) digest: u64,
}

impl Run {
    pub(super) fn add(&mut self, other: &Run) {
        self.runs += other.runs;
        self.proposed += other.proposed;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.terms += other.terms;
        self.crashes += other.crashes;
        self.snapshots += other.snapshots;
        self.replaced += other.replaced;
        self.outlived += other.outlived;
        self.last = self.last.max(other.last);
        self.digest = self.digest.wrapping_add(other.digest);
    }
}

/// What the clients know.
#[derive(Default)]
struct Books {
    acknowledged: Vec<(u64, Committed)>,
    refused: Vec<u64>,
    /// The last entry of those that are acknowledged.
    last: LogIndex,
}

impl Books {
    fn acknowledge(&mut self, number: u64, committed: Committed) {
        self.last = self.last.max(committed.index);
        self.acknowledged.push((number, committed));
    }
}

struct World {
    trace: Trace,
    net: Net,
    members: Vec<Member>,
    oracle: Oracle,
    books: Arc<Mutex<Books>>,
    /// The last term that each member was seen to lead in.
    led: BTreeMap<u64, Term>,
    /// Hashes of logs up to an entry, by its index and term: one for all that hold it.
    chains: BTreeMap<(u64, u64), [u8; 32]>,
    random: SimRandom,
    next: u64,
    run: Run,
}

const STEPS: u64 = 250;

pub(super) fn run(seed: u64, faults: Faults) -> Run {
    seed_with(seed);
    block_on(async {
        let mut world = World::new(seed).await;
        for _ in 0..STEPS {
            world.step(faults).await;
        }
        world.end().await
    })
    .unwrap()
}

impl World {
    async fn new(seed: u64) -> Self {
        let trace = Trace::new();
        let net = Net::new(seed, trace.clone());
        let oracle = Oracle::default();
        let member = |(name, number)| Member::new(name, number, Arc::clone(&oracle), trace.clone());
        let mut members: Vec<Member> = ["a", "b", "c"].into_iter().zip(1..).map(member).collect();
        for member in &mut members {
            member.start(&net).await;
        }
        let nodes: Vec<Node> = members.iter().map(|member| member.node.clone()).collect();
        members[0].life.as_ref().unwrap().consensus.initialize(&nodes).await.unwrap();
        let random = SimRandom::new(seed);
        let run = Run { runs: 1, ..Run::default() };
        let (books, led, chains) = Default::default();
        let mut world = Self { trace, net, members, oracle, books, led, chains, random, next: 0, run };
        while world.leader().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        world
    }

    fn leader(&mut self) -> Option<usize> {
        self.members
            .iter()
            .position(|member| member.life.as_ref().is_some_and(|life| life.consensus.leader_term().is_some()))
    }

    /// A member, drawn.
    fn any(&mut self) -> usize {
        self.random.below(self.members.len() as u64) as usize
    }

    async fn step(&mut self, faults: Faults) {
        self.look().await;
        if self.random.one_in(2) {
            self.propose();
        }
        if faults.gateways && self.random.one_in(3) {
            self.submit();
        }
        if self.random.one_in(4) {
            self.read();
        }
        if faults.partitions && self.random.one_in(12) {
            self.partition();
        }
        if faults.slow && self.random.one_in(25) {
            let (at, by) = (self.any(), Duration::from_millis(self.random.below(120)));
            let name = self.members[at].node.name.clone();
            self.net.slow(&name, by);
        }
        if self.random.one_in(10) {
            self.net.heal();
        }
        if faults.crashes && self.random.one_in(15) {
            let (at, seed) = (self.any(), self.random.next_u64());
            if self.members[at].life.is_some() {
                self.run.crashes += 1;
                self.members[at].crash(&self.net, seed);
            }
        }
        if faults.crashes && self.random.one_in(6) {
            self.start_next().await;
        }
        if faults.checkpoints && self.random.one_in(8) {
            let at = self.any();
            self.members[at].checkpoint();
        }
        // Late enough that there is a log, early enough that the new disk has to fill.
        if faults.replaced && self.run.replaced == 0 && self.next > 100 && self.random.one_in(20) {
            let (at, seed) = (self.any(), self.random.next_u64());
            self.run.replaced += 1;
            self.members[at].replace(&self.net, seed);
            self.members[at].start(&self.net).await;
        }
        if faults.hasty && self.random.one_in(40) {
            self.hasten().await;
        }
        if faults.operator && self.random.one_in(12) {
            self.operate();
        }
        if faults.still && self.random.one_in(20) {
            self.stand_still().await;
        }
        if self.random.one_in(5) {
            self.admit().await;
        }
        tokio::time::sleep(Duration::from_millis(self.random.below(60))).await;
    }

    /// Looks after the invariants, and starts who has taken in a snapshot.
    async fn look(&mut self) {
        for at in 0..self.members.len() {
            let Some(life) = &self.members[at].life else { continue };
            let consensus = &life.consensus;
            if consensus.wants_restart() {
                self.run.snapshots += 1;
                let seed = self.random.next_u64();
                self.members[at].crash(&self.net, seed);
                self.members[at].start(&self.net).await;
                continue;
            }
            if let Some(failure) = consensus.inner.shared.failure.get() {
                self.trace.wrong(format!("{} fails: {failure}", self.members[at].node));
            }
            // What it answers now without asking anybody is not old.
            let (last, applied) = (self.books.lock().last, consensus.applied_index());
            if consensus.is_current() && applied < last {
                self.trace.wrong(format!("{} answers at {applied} behind {last}", self.members[at].node));
            }
            self.look_at_leader(at);
            self.look_at_log(at);
        }
        self.trace.check();
    }

    /// Who leads is the only one in its term, and has all that was committed in earlier ones.
    fn look_at_leader(&mut self, at: usize) {
        let Some(life) = &self.members[at].life else { return };
        let (id, inner) = (self.members[at].node.id(), &life.consensus.inner);
        let term = {
            let core = inner.raft.server_metrics();
            let core = core.borrow_watched();
            let leads = core.state == ServerState::Leader && core.vote.committed;
            leads.then_some(core.vote.leader_id.term)
        };
        let Some(term) = term else { return };
        self.net.leads(term, id);
        if self.led.insert(id, Term(term)) == Some(Term(term)) {
            return;
        }
        let first = life.consensus.first_index();
        for (index, fact) in self.oracle.lock().iter().filter(|(_, fact)| fact.0 < Term(term)) {
            let there = if *index < first {
                life.consensus.applied_index() >= *index
            } else {
                inner.shared.id_at(*index).map(term_of) == Some(fact.0)
            };
            if !there {
                self.trace.wrong(format!("{} leads in term {term} without entry {index}", self.members[at].node));
            }
        }
    }

    /// Two logs with the same entry are the same up to it.
    fn look_at_log(&mut self, at: usize) {
        let Some(life) = &self.members[at].life else { return };
        let log = &life.consensus.inner.shared.log;
        let Some((_, last)) = log.last() else { return };
        let first = log.first_index();
        let index = if self.random.one_in(3) { first + self.random.below(last - first + 1) } else { last };
        let (Some(term), Ok(hash)) = (log.term_at(index), log.chain_hash(index)) else { return };
        if *self.chains.entry((index, term)).or_insert(hash) != hash {
            self.trace.wrong(format!("{}: another log up to entry {index} of term {term}", self.members[at].node));
        }
    }

    /// A client of any member reads, and sees what was acknowledged to anybody before.
    fn read(&mut self) {
        let at = self.any();
        self.read_at(at);
    }

    fn read_at(&self, at: usize) {
        let Some(life) = &self.members[at].life else { return };
        let (last, consensus, state) = (self.books.lock().last, life.consensus.clone(), Arc::clone(&life.state));
        let (trace, name) = (self.trace.clone(), self.members[at].node.name.clone());
        tokio::spawn(async move {
            if let Ok(index) = consensus.read_index(Duration::from_secs(2)).await {
                let applied = state.lock().applied.index;
                if index < last || applied < index {
                    trace.wrong(format!("{name} reads at {index}, has applied {applied}, behind {last}"));
                }
            }
        });
    }

    /// Clients of all who lead, or think so, write.
    fn propose(&mut self) {
        for at in 0..self.members.len() {
            self.propose_at(at);
        }
    }

    fn propose_at(&mut self, at: usize) {
        let Some(life) = &self.members[at].life else { return };
        let Some(term) = life.consensus.leader_term() else { return };
        for _ in 0..=self.random.below(8) {
            let number = self.next;
            self.next += 1;
            let proposal = life.consensus.propose(term, Bytes::copy_from_slice(&number.to_le_bytes()));
            let books = Arc::clone(&self.books);
            tokio::spawn(async move {
                match proposal.await {
                    Ok(committed) if committed.outcome == Outcome::Applied => {
                        books.lock().acknowledge(number, committed);
                    }
                    Ok(_) | Err(ProposeError::NotLeader | ProposeError::Stopped) => {
                        books.lock().refused.push(number);
                    }
                    // Perhaps, perhaps not.
                    Err(_) => {}
                }
            });
        }
    }

    /// A client of any member writes.
    fn submit(&mut self) {
        let at = self.any();
        let Some(life) = &self.members[at].life else { return };
        for _ in 0..=self.random.below(4) {
            let number = self.next;
            self.next += 1;
            let outcome = life.consensus.submit(Bytes::copy_from_slice(&number.to_le_bytes()), None);
            let (books, trace) = (Arc::clone(&self.books), self.trace.clone());
            tokio::spawn(async move {
                match outcome.await {
                    Ok(committed) => {
                        if committed.outcome != Outcome::Applied {
                            trace.wrong(format!("proposal {number} is answered with {committed:?}"));
                        }
                        books.lock().acknowledge(number, committed);
                    }
                    Err(ProposeError::NotLeader | ProposeError::Stopped) => books.lock().refused.push(number),
                    // Perhaps, perhaps not.
                    Err(_) => {}
                }
            });
        }
    }

    /// Cuts some ways: around one member, often the leader, or any.
    fn partition(&mut self) {
        let names: Vec<String> = self.members.iter().map(|member| member.node.name.clone()).collect();
        let alone = match self.leader().filter(|_| self.random.one_in(2)) {
            Some(leader) => leader,
            None => self.any(),
        };
        let one_way = self.random.one_in(3);
        for other in names.iter().filter(|name| **name != names[alone]) {
            self.net.cut(&names[alone], other);
            if !one_way {
                self.net.cut(other, &names[alone]);
            }
        }
    }

    /// The leader loses one follower, which would like to lead. Then the other one starts anew and both are without it: it has promised
    /// the leader not to help another, and the leader still answers by that.
    async fn hasten(&mut self) {
        let Some(leader) = self.leader() else { return };
        let (rival, voter) = ((leader + 1) % 3, (leader + 2) % 3);
        let name = |number: usize| self.members[number].node.name.clone();
        let (leader, rival, again) = (name(leader), name(rival), name(voter));
        self.net.cut(&leader, &rival);
        self.net.cut(&rival, &leader);
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.look().await;
        }
        self.net.cut(&leader, &again);
        self.net.cut(&again, &leader);
        let seed = self.random.next_u64();
        self.run.crashes += 1;
        self.members[voter].crash(&self.net, seed);
        self.members[voter].start(&self.net).await;
        for _ in 0..60 {
            self.propose();
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.look().await;
        }
    }

    /// The leader stands still: its followers take entries, and their answers lie unread in its sockets. It is cut off, another one leads
    /// and writes, then it goes on and is asked for a read. It learns that its entries are committed and tells so, which nobody hears; an
    /// old answer that it reads now is not one to that.
    async fn stand_still(&mut self) {
        let Some(still) = self.leader() else { return };
        let name = |number: usize| self.members[number % 3].node.name.clone();
        let (leader, others) = (name(still), [name(still + 1), name(still + 2)]);
        for other in &others {
            self.net.hold(other, &leader);
        }
        self.propose_at(still);
        tokio::time::sleep(Duration::from_millis(40)).await;
        for other in &others {
            self.net.cut(&leader, other);
            self.net.cut(other, &leader);
        }
        let before = self.books.lock().last;
        for _ in 0..300 {
            self.look().await;
            self.propose_at((still + 1) % 3);
            self.propose_at((still + 2) % 3);
            tokio::time::sleep(Duration::from_millis(10)).await;
            if self.books.lock().last > before {
                self.run.outlived += 1;
                break;
            }
        }
        for other in &others {
            self.read_at(still);
            self.net.release(other, &leader);
            for _ in 0..50 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.look().await;
            }
        }
    }

    /// An operator's word to who leads: another one shall lead, or only learn until it is admitted again, or be the only voter.
    fn operate(&mut self) {
        let (at, word) = (self.any(), self.random.below(3));
        let Some(leader) = self.leader() else { return };
        let Some(life) = &self.members[leader].life else { return };
        let consensus = life.consensus.clone();
        let id = |at: usize| self.members[at % 3].node.id();
        let (named, others) = (id(at), [id(leader + 1), id(leader + 2), id(leader)]);
        self.trace.note(format_args!("an operator says {word} of {}", self.members[at].node.name));
        tokio::spawn(async move {
            match word {
                0 => drop(consensus.transfer(named).await),
                1 => drop(consensus.demote(named).await),
                // Who leads goes last, and leads on until another one does.
                _ => {
                    for other in others.into_iter().filter(|other| *other != named) {
                        drop(consensus.demote(other).await);
                    }
                }
            }
        });
    }

    async fn start_next(&mut self) {
        if let Some(member) = self.members.iter_mut().find(|member| member.life.is_none()) {
            member.start(&self.net).await;
        }
    }

    /// What the leader does with a new incarnation of a member: learner first, a vote when it has caught up.
    async fn admit(&mut self) {
        let Some(leader) = self.leader() else { return };
        let Some(life) = &self.members[leader].life else { return };
        let consensus = life.consensus.clone();
        let known = consensus.members();
        let settling = consensus.clone();
        tokio::spawn(async move { settling.settle().await });
        for member in self.members.iter().filter(|member| member.life.is_some()) {
            let (id, node) = (member.node.id(), member.node.clone());
            match known.iter().find(|known| known.id == id) {
                Some(known) if known.voter => {}
                Some(_) => {
                    let old: Vec<u64> = known
                        .iter()
                        .filter(|old| old.node.name == node.name && old.id != id)
                        .map(|old| old.id)
                        .collect();
                    let consensus = consensus.clone();
                    tokio::spawn(async move { consensus.promote(id, &old).await });
                }
                None => {
                    let consensus = consensus.clone();
                    tokio::spawn(async move { consensus.add_learner(node).await });
                }
            }
        }
    }

    /// No more faults: writes go on, everybody catches up, and nothing acknowledged is missing.
    async fn end(mut self) -> Run {
        self.net.heal();
        for _ in 0..self.members.len() {
            self.start_next().await;
        }
        let before = self.books.lock().acknowledged.len();
        let mut rounds = 0;
        loop {
            self.look().await;
            self.admit().await;
            self.propose();
            tokio::time::sleep(Duration::from_millis(100)).await;
            let more = self.books.lock().acknowledged.len() > before;
            let Some(leader) = self.leader() else {
                rounds += 1;
                assert!(rounds < 600, "no leader for a minute of peace");
                continue;
            };
            let consensus = &self.members[leader].life.as_ref().expect("leads").consensus;
            let voters = consensus.members().iter().filter(|member| member.voter).count();
            let ids: Vec<u64> = self.members.iter().map(|member| member.node.id()).collect();
            let own = consensus.members().iter().all(|member| member.voter && ids.contains(&member.id));
            if more && own && voters == self.members.len() {
                break;
            }
            rounds += 1;
            assert!(rounds < 600, "not whole after a minute of peace: {:?}", consensus.members());
        }
        let leader = self.leader().expect("found above");
        let wanted = self.members[leader].life.as_ref().expect("leads").consensus.applied_index();
        self.converge(wanted).await;
        self.balance(wanted);
        self.run.proposed = self.next;
        self.run.terms = self.net.terms();
        self.run.last = wanted;
        self.trace.check();
        self.run.digest = self.trace.digest();
        self.run
    }

    /// Reads at the leader's index see what was committed, on every member; their logs are the same.
    async fn converge(&mut self, wanted: LogIndex) {
        for _ in 0..600 {
            self.look().await;
            let mut done = true;
            for member in &self.members {
                let Some(life) = &member.life else { panic!("all were started") };
                let read = life.consensus.read_index(Duration::from_secs(2)).await;
                done &= read.is_ok_and(|index| index >= wanted) && life.consensus.synced_index() >= wanted;
            }
            if done {
                let hashes: Vec<[u8; 32]> = self
                    .members
                    .iter()
                    .filter_map(|member| member.life.as_ref()?.consensus.chain_hash(wanted).ok())
                    .collect();
                assert_eq!(hashes.len(), self.members.len());
                assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "logs differ at {wanted}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the members do not come to entry {wanted}");
    }

    fn balance(&mut self, wanted: LogIndex) {
        let books = self.books.lock();
        let oracle = self.oracle.lock();
        let mut seen: BTreeMap<Bytes, LogIndex> = BTreeMap::new();
        for (index, (_, _, payload, effect)) in &*oracle {
            if *effect {
                assert_eq!(seen.insert(payload.clone(), *index), None, "a proposal took effect twice");
            }
        }
        for (number, committed) in &books.acknowledged {
            let payload = Bytes::copy_from_slice(&number.to_le_bytes());
            assert_eq!(seen.get(&payload), Some(&committed.index), "acknowledged {number} is not where it was");
        }
        // So they hold what was acknowledged.
        for member in &self.members {
            let state = member.life.as_ref().expect("up").state.lock();
            assert!(state.applied.index >= wanted, "{} has not come so far", member.node);
            assert!(
                state.facts.iter().eq(oracle.range(..=state.applied.index)),
                "{} has another state than what was applied",
                member.node
            );
        }
        for number in &books.refused {
            let payload = Bytes::copy_from_slice(&number.to_le_bytes());
            assert_eq!(seen.get(&payload), None, "{number} was refused and took effect all the same");
        }
        self.run.acknowledged = books.acknowledged.len() as u64;
        self.run.refused = books.refused.len() as u64;
    }
}
