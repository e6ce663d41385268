//! Transfers between accounts: a load whose outcome can be checked to the last unit, whatever happens to the node.
//!
//! Each transaction takes from one account, gives to another and writes a row that says so. At any time, after any crash:
//!
//! - the sum of all balances is what it was at the start;
//! - each balance is its first one with all transfers of the account, so there is no half of a transaction;
//! - each acknowledged transfer is there;
//! - indexes find what scans find.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use perigee_testkit::{Client, TestkitError};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;

/// What each account starts with.
const BALANCE: i64 = 1_000;

/// A set of accounts on one server.
#[derive(Clone, Copy, Debug)]
pub struct Bank {
    /// How many accounts.
    pub accounts: i64,
}

/// A transfer that the server has acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acknowledged {
    /// The transfer.
    pub id: i64,
    /// What `observe` gave when the acknowledgement came.
    pub seen: u64,
}

/// How a load runs.
pub struct Load {
    /// Sessions at a time.
    pub sessions: usize,
    /// The first id of a transfer that was not used yet.
    pub next: Arc<AtomicI64>,
    /// Ends the load.
    pub stop: Arc<AtomicBool>,
    /// Called at each acknowledgement.
    pub observe: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Load {
    /// A load of so many sessions that observes nothing.
    #[must_use]
    pub fn new(sessions: usize) -> Self {
        Self { sessions, next: Arc::new(AtomicI64::new(1)), stop: Arc::default(), observe: Arc::new(|| 0) }
    }
}

impl Bank {
    /// Makes the tables and the accounts.
    pub async fn create(&self, address: SocketAddr) {
        let client = Client::connect(address).await.unwrap();
        for sql in [
            "CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL)",
            "CREATE TABLE transfers (id bigint PRIMARY KEY, source bigint NOT NULL, target bigint NOT NULL, \
             amount bigint NOT NULL, note text)",
            "CREATE INDEX transfers_source ON transfers (source)",
        ] {
            client.batch_execute(sql).await.unwrap();
        }
        let rows: Vec<String> = (0..self.accounts).map(|id| format!("({id}, {BALANCE})")).collect();
        client.batch_execute(&format!("INSERT INTO accounts VALUES {}", rows.join(", "))).await.unwrap();
    }

    /// Transfers until told to stop or until the server is gone; gives what was acknowledged.
    pub async fn run(&self, address: SocketAddr, load: &Load) -> BTreeSet<Acknowledged> {
        let mut workers = JoinSet::new();
        for worker in 0..load.sessions {
            let (next, stop, observe) = (Arc::clone(&load.next), Arc::clone(&load.stop), Arc::clone(&load.observe));
            let bank = *self;
            workers.spawn(async move {
                let mut acknowledged = BTreeSet::new();
                let seed = worker as u64 ^ next.load(Ordering::Relaxed) as u64;
                let mut random = StdRng::seed_from_u64(seed);
                let Ok(client) = Client::connect(address).await else { return acknowledged };
                while !stop.load(Ordering::Relaxed) {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    match bank.transfer(&client, id, &mut random).await {
                        Ok(()) => drop(acknowledged.insert(Acknowledged { id, seen: observe() })),
                        Err(error) if is_over(&error) => break,
                        Err(error) if is_conflict(&error) => {}
                        Err(error) => panic!("transfer {id}: {error}: {:?}", error.as_db_error()),
                    }
                }
                acknowledged
            });
        }
        let mut all = BTreeSet::new();
        while let Some(acknowledged) = workers.join_next().await {
            all.extend(acknowledged.unwrap());
        }
        all
    }

    /// One transfer, in one transaction.
    ///
    /// # Errors
    /// What the server says. The block is rolled back then, if the server still listens.
    pub async fn transfer(&self, client: &Client, id: i64, random: &mut StdRng) -> Result<(), tokio_postgres::Error> {
        let source = random.random_range(0..self.accounts);
        let target = (source + random.random_range(1..self.accounts)) % self.accounts;
        let amount = random.random_range(1..100_i64);
        let note = "x".repeat(random.random_range(0..200));
        let result = async {
            client.batch_execute("BEGIN").await?;
            let update = "UPDATE accounts SET balance = balance + $1 WHERE id = $2";
            client.execute(update, &[&-amount, &source]).await?;
            client.execute(update, &[&amount, &target]).await?;
            let insert = "INSERT INTO transfers VALUES ($1, $2, $3, $4, $5)";
            client.execute(insert, &[&id, &source, &target, &amount, &note]).await?;
            client.batch_execute("COMMIT").await
        };
        let result = result.await;
        if result.is_err() {
            drop(client.batch_execute("ROLLBACK").await);
        }
        result
    }

    /// Checks everything; gives the ids of all transfers that are there.
    ///
    /// # Errors
    /// What is wrong, or what the server says.
    pub async fn check(
        &self,
        address: SocketAddr,
        acknowledged: impl IntoIterator<Item = i64>,
    ) -> Result<BTreeSet<i64>, String> {
        let client = Client::connect(address).await.map_err(|error: TestkitError| error.to_string())?;
        let mut balances: BTreeMap<i64, i64> = (0..self.accounts).map(|id| (id, BALANCE)).collect();
        let mut per_source: BTreeMap<i64, i64> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for row in rows(&client, "SELECT id, source, target, amount FROM transfers").await? {
            let [id, source, target, amount] = row[..] else { return Err("not four columns".to_owned()) };
            if !ids.insert(id) {
                return Err(format!("transfer {id} is there twice"));
            }
            *balances.entry(source).or_default() -= amount;
            *balances.entry(target).or_default() += amount;
            *per_source.entry(source).or_default() += 1;
        }
        let lost: Vec<i64> = acknowledged.into_iter().filter(|id| !ids.contains(id)).collect();
        if !lost.is_empty() {
            return Err(format!("{} acknowledged transfers are lost: {lost:?}", lost.len()));
        }
        let found = rows(&client, "SELECT id, balance FROM accounts").await?;
        let found: BTreeMap<i64, i64> = found.into_iter().map(|row| (row[0], row[1])).collect();
        if found != balances {
            return Err(format!("balances are {found:?}, by the transfers they should be {balances:?}"));
        }
        let sum = rows(&client, "SELECT sum(balance)::bigint FROM accounts").await?;
        if sum != [[self.accounts * BALANCE]] {
            return Err(format!("the balances sum up to {sum:?}"));
        }
        self.check_indexes(&client, &balances, &per_source, &ids).await?;
        Ok(ids)
    }

    async fn check_indexes(
        &self,
        client: &Client,
        balances: &BTreeMap<i64, i64>,
        per_source: &BTreeMap<i64, i64>,
        ids: &BTreeSet<i64>,
    ) -> Result<(), String> {
        for account in 0..self.accounts {
            let counted = rows(client, &format!("SELECT count(*) FROM transfers WHERE source = {account}")).await?;
            let expected = per_source.get(&account).copied().unwrap_or_default();
            if counted != [[expected]] {
                return Err(format!("the index finds {counted:?} transfers of account {account}, not {expected}"));
            }
            let balance = rows(client, &format!("SELECT balance FROM accounts WHERE id = {account}")).await?;
            if balance != [[balances[&account]]] {
                return Err(format!("account {account}: {balance:?} by its key"));
            }
        }
        // Some of many: the newest are the ones that a crash concerns.
        for id in ids.iter().rev().take(100) {
            let found = rows(client, &format!("SELECT id FROM transfers WHERE id = {id}")).await?;
            if found != [[*id]] {
                return Err(format!("transfer {id} is not found by its key: {found:?}"));
            }
        }
        Ok(())
    }
}

/// Rows of whole numbers.
async fn rows(client: &Client, sql: &str) -> Result<Vec<Vec<i64>>, String> {
    let rows = client.rows(sql).await.map_err(|error| match error.as_db_error() {
        Some(error) => format!("{sql}: {error}"),
        None => format!("{sql}: {error}"),
    })?;
    let number = |value: Option<String>| value.and_then(|value| value.parse().ok()).ok_or(format!("{sql}: no number"));
    rows.into_iter().map(|row| row.into_iter().map(number).collect()).collect()
}

/// Whether the server is gone, going, or has no room left. What the client itself makes of an answer is none of these.
fn is_over(error: &tokio_postgres::Error) -> bool {
    let ending = |code: &str| code.starts_with("57P0") || code.starts_with("08") || matches!(code, "58030" | "53100");
    match error.code() {
        Some(code) => ending(code.code()),
        None => error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()),
    }
}

/// Whether another session was quicker.
fn is_conflict(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("40"))
}
