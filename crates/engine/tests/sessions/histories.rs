//! Random transactions at SERIALIZABLE: the order that their reads and writes tell of has no circle.
//!
//! Each row holds the list of those who have written to it, so a read tells all writers before it and, with the last
//! state, the one behind.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use perigee_types::SqlState;

use crate::node::{Client, Node};

const ROWS: u64 = 6;
const CLIENTS: u64 = 4;

/// What a committed transaction has seen: its number, and the lists that it read with their rows.
struct Seen {
    number: u64,
    reads: Vec<(u64, Vec<u64>)>,
}

/// xorshift: the histories need no better.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn list(text: &str) -> Vec<u64> {
    text.split(',').filter(|n| !n.is_empty()).map(|n| n.parse().unwrap()).collect()
}

async fn transaction(client: &mut Client, number: u64, random: &mut Random) -> Result<Seen, perigee_types::SqlError> {
    let mut reads = Vec::new();
    client.run("begin isolation level serializable").await?;
    for _ in 0..1 + random.below(4) {
        let row = random.below(ROWS);
        match random.below(4) {
            0 => {
                let (rows, _) = client.run(&format!("select id, v from t where id = {row}")).await?;
                reads.extend(rows.iter().map(|r| (r[0].parse().unwrap(), list(&r[1]))));
            }
            1 => {
                let sql = format!("select id, v from t where part = {} order by id", row % 2);
                let (rows, _) = client.run(&sql).await?;
                reads.extend(rows.iter().map(|r| (r[0].parse().unwrap(), list(&r[1]))));
            }
            2 => {
                client.run(&format!("update t set v = v || '{number},' where id = {row}")).await?;
            }
            _ => {
                let sql = format!(
                    "insert into t values ({row}, 0, '{number},') on conflict (id) do update set v = t.v || excluded.v"
                );
                client.run(&sql).await?;
            }
        }
    }
    client.run("commit").await?;
    // What it has written itself says nothing of the others.
    for (_, read) in &mut reads {
        read.retain(|writer| *writer != number);
    }
    Ok(Seen { number, reads })
}

/// A circle in the graph, if there is one.
fn circle(edges: &HashMap<u64, Vec<u64>>) -> Option<u64> {
    let mut state: HashMap<u64, bool> = HashMap::new();
    for start in edges.keys() {
        let mut stack = vec![(*start, 0)];
        while let Some((node, at)) = stack.pop() {
            if at == 0 {
                match state.get(&node) {
                    Some(true) => continue,
                    _ => state.insert(node, false),
                };
            }
            match edges.get(&node).and_then(|next| next.get(at)) {
                Some(next) => {
                    stack.push((node, at + 1));
                    match state.get(next) {
                        Some(false) => return Some(*next),
                        Some(true) => {}
                        None => stack.push((*next, 0)),
                    }
                }
                None => {
                    state.insert(node, true);
                }
            }
        }
    }
    None
}

#[test]
fn circles_are_found() {
    let edges = |list: &[(u64, u64)]| {
        let mut edges: HashMap<u64, Vec<u64>> = HashMap::new();
        list.iter().for_each(|(from, to)| edges.entry(*from).or_default().push(*to));
        edges
    };
    assert!(circle(&edges(&[(1, 2), (2, 3), (1, 3)])).is_none());
    assert!(circle(&edges(&[(1, 2), (2, 3), (3, 1)])).is_some());
    assert!(circle(&edges(&[(5, 1), (5, 2), (1, 2), (2, 4), (4, 1)])).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn serializable_histories_have_an_order() {
    let node = Node::start().await;
    let mut client = node.client().await;
    client.ok("create table t (id int primary key, part int, v text not null)").await;
    client.ok(&format!("insert into t select g, g % 2, '' from generate_series(0, {}) as s (g)", ROWS - 1)).await;
    let end = Instant::now() + Duration::from_secs(5);
    let mut workers = Vec::new();
    for worker in 0..CLIENTS {
        let mut client = node.client().await;
        workers.push(tokio::spawn(async move {
            let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ (worker + 1));
            let (mut seen, mut number) = (Vec::new(), worker + 1);
            while Instant::now() < end {
                match transaction(&mut client, number, &mut random).await {
                    Ok(done) => seen.push(done),
                    Err(error) => {
                        let state = error.state();
                        let known = [SqlState::SerializationFailure, SqlState::DeadlockDetected];
                        assert!(known.contains(&state), "{error}");
                        client.ok("rollback").await;
                    }
                }
                number += CLIENTS;
            }
            seen
        }));
    }
    let mut all = Vec::new();
    for worker in workers {
        all.append(&mut worker.await.unwrap());
    }
    let mut last: HashMap<u64, Vec<u64>> = HashMap::new();
    for row in client.rows("select id, v from t").await {
        let (id, text) = row.split_once('|').unwrap();
        let mut writers = list(text);
        writers.dedup();
        last.insert(id.parse().unwrap(), writers);
    }
    let mut edges: HashMap<u64, Vec<u64>> = HashMap::new();
    let mut edge = |from: u64, to: u64| {
        if from != to {
            edges.entry(from).or_default().push(to);
        }
    };
    for writers in last.values() {
        writers.windows(2).for_each(|pair| edge(pair[0], pair[1]));
    }
    for Seen { number, reads } in &all {
        for (row, read) in reads {
            let mut read = read.clone();
            read.dedup();
            let writers = &last[row];
            let others: Vec<u64> = writers.iter().copied().filter(|writer| writer != number).collect();
            assert!(others.starts_with(&read), "{number} has read {read:?} of {writers:?}");
            if let Some(before) = read.last() {
                edge(*before, *number);
            }
            if let Some(next) = others.get(read.len()) {
                edge(*number, *next);
            }
        }
    }
    assert!(all.len() > 20, "only {} transactions committed", all.len());
    assert_eq!(circle(&edges), None, "{} transactions", all.len());
}
