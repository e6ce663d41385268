//! Clients of all nodes at once, of Redis and of PostgreSQL, whose history is checked: see [`perigee_testkit::history`].
//!
//! Both append values to lists and read them, alone and in transactions. Beside that a counter is counted up, and money moves between
//! accounts without ever becoming more or less.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use perigee_testkit::history::{End, History, Step};
use perigee_testkit::resp::{Connection, Value, command};
use perigee_testkit::{Client, Cluster, TestkitError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::timeout;
use tokio_postgres::IsolationLevel;
use tokio_postgres::error::DbError;

/// How long a client waits for an answer before it takes its connection for lost.
const ANSWER: Duration = Duration::from_secs(5);
/// How long the cluster may take until it serves everybody again.
const PATIENCE: Duration = Duration::from_secs(120);
/// Values in one list, about: then others are appended to.
const LIST: u64 = 100;
const ACCOUNTS: i64 = 6;
const BALANCE: i64 = 100;

struct Shared {
    pg: Vec<SocketAddr>,
    redis: Vec<SocketAddr>,
    history: History,
    /// Values of the counter: when they were asked for, when they came.
    counted: Mutex<Vec<(u64, u64, i64)>>,
    /// Counts that nobody knows the end of.
    uncertain: AtomicU64,
    values: AtomicU64,
    stop: AtomicBool,
    /// What must not have been answered.
    wrong: Mutex<Vec<String>>,
}

/// Clients that work until they are told to stop.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins, with `clients` of each kind.
    pub(crate) fn start(cluster: &Cluster, clients: u64, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            pg: cluster.servers().iter().map(|server| server.pg()).collect(),
            redis: cluster.servers().iter().map(|server| server.redis()).collect(),
            history: History::default(),
            counted: Mutex::default(),
            uncertain: AtomicU64::new(0),
            values: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            wrong: Mutex::default(),
        });
        on_a_runtime(shared.tables());
        let run = |number: u64, kind: fn(&Shared, u64, StdRng)| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || kind(&shared, number, StdRng::seed_from_u64(seed ^ (number << 32))))
        };
        let redis = (0..clients).map(|number| run(number, Shared::redis_client));
        let clients = redis.chain((clients..2 * clients).map(|number| run(number, Shared::sql_client))).collect();
        Self { shared, clients }
    }

    /// Waits until so many more transactions were acknowledged.
    pub(crate) fn progress(&self, count: usize, what: &str) {
        let (started, stood) = (Instant::now(), self.shared.history.count(End::Done));
        while self.shared.history.count(End::Done) < stood + count {
            assert!(started.elapsed() < PATIENCE, "{what}: the cluster does not go on");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the clients, reads everything once more through every node, and looks whether all that anybody was told is possible.
    pub(crate) fn check(mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().unwrap();
        }
        let shared = &self.shared;
        shared.read_all_keys();
        on_a_runtime(shared.read_all_rows());
        let count = |end| shared.history.count(end);
        eprintln!(
            "{} transactions acknowledged, {} refused, {} of unknown end; counted to {}",
            count(End::Done),
            count(End::Refused),
            count(End::Unknown),
            shared.counted.lock().unwrap().len(),
        );
        let mut wrong = std::mem::take(&mut *shared.wrong.lock().unwrap());
        wrong.extend(shared.history.check().err().unwrap_or_default());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

impl Shared {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn say(&self, wrong: String) {
        self.wrong.lock().unwrap().push(wrong);
    }

    /// Two different lists, of those that are appended to now; keys of Redis are even, rows of SQL odd.
    fn keys(&self, random: &mut StdRng, odd: u64) -> [u64; 2] {
        let epoch = self.values.load(Ordering::Relaxed) / (3 * LIST);
        let first = random.random_range(0..3);
        let second = (first + random.random_range(1..3)) % 3;
        [first, second].map(|key| ((epoch * 3 + key) << 1) | odd)
    }

    fn value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed)
    }

    /// Steps with the keys and values that they are to have; reads are still empty.
    fn steps(&self, random: &mut StdRng, odd: u64) -> Vec<Step> {
        let [one, two] = self.keys(random, odd);
        let append = |key| Step::Append { key, value: self.value(), length: None };
        let read = |key| Step::Read { key, found: Vec::new() };
        match random.random_range(0..10) {
            0..4 => vec![append(one)],
            4..6 => vec![read(one)],
            6..8 => vec![append(one), read(two)],
            8 => vec![read(one), read(two)],
            _ => vec![read(one), append(two), append(one)],
        }
    }
}

// Redis.

fn found(items: &[Value]) -> Option<Vec<u64>> {
    items.iter().map(|item| String::from_utf8(item.bytes()?).ok()?.parse().ok()).collect()
}

/// Puts what a command has answered into its step.
fn answered(step: &mut Step, reply: &Value) -> bool {
    match (step, reply) {
        (Step::Append { length, .. }, Value::Integer(now)) => *length = usize::try_from(*now).ok(),
        (Step::Read { found: into, .. }, Value::Array(items)) => match found(items) {
            Some(values) => *into = values,
            None => return false,
        },
        _ => return false,
    }
    true
}

/// Asks a node until it does not refuse: a leader may be lost at any time, on a machine that is busy.
fn insist(address: SocketAddr, args: &[&str]) -> Value {
    let started = Instant::now();
    loop {
        let reply = Connection::open(address, PATIENCE).map_or(Value::Closed, |mut connection| connection.ask(args));
        if !reply.is_end() && !matches!(reply, Value::Error(_)) {
            return reply;
        }
        assert!(started.elapsed() < PATIENCE, "{args:?} at {address}: {reply}");
        thread::sleep(Duration::from_millis(50));
    }
}

impl Shared {
    fn redis_client(&self, number: u64, mut random: StdRng) {
        while !self.stopped() {
            let node = random.random_range(0..self.redis.len());
            let Ok(mut connection) = Connection::open(self.redis[node], ANSWER) else {
                thread::sleep(Duration::from_millis(20));
                continue;
            };
            let who = format!("redis client {number} at n{}", node + 1);
            for _ in 0..random.random_range(5..40) {
                let goes_on = match random.random_range(0..8) {
                    0 => self.count(&mut connection),
                    _ => self.redis_transaction(&mut connection, &who, self.steps(&mut random, 0)),
                };
                if !goes_on || self.stopped() {
                    break;
                }
                thread::sleep(Duration::from_millis(random.random_range(0..5)));
            }
        }
    }

    /// Gives whether the connection is of further use.
    fn redis_transaction(&self, connection: &mut Connection, who: &str, mut steps: Vec<Step>) -> bool {
        let mut bytes = Vec::new();
        let multi = steps.len() > 1;
        if multi {
            bytes.extend(command(&["MULTI"]));
        }
        for step in &steps {
            bytes.extend(match step {
                Step::Append { key, value, .. } => command(&["RPUSH", &format!("list{key}"), &value.to_string()]),
                Step::Read { key, .. } => command(&["LRANGE", &format!("list{key}"), "0", "-1"]),
            });
        }
        if multi {
            bytes.extend(command(&["EXEC"]));
        }
        let began = self.history.now();
        let mut last = match connection.send(&bytes) {
            Ok(()) => connection.receive(),
            Err(_) => Value::Closed,
        };
        for _ in 0..if multi { steps.len() + 1 } else { 0 } {
            if !last.is_end() {
                last = connection.receive();
            }
        }
        let end = match &last {
            Value::Error(text) => self.refusal(text),
            reply if reply.is_end() => End::Unknown,
            reply => {
                let replies = if multi { reply.items().unwrap_or_default() } else { std::slice::from_ref(reply) };
                let all = replies.len() == steps.len();
                let all = all && steps.iter_mut().zip(replies).all(|(step, reply)| answered(step, reply));
                if !all {
                    self.say(format!("{who}: {steps:?} was answered with {reply}"));
                }
                End::Done
            }
        };
        let goes_on = end == End::Done;
        self.history.add(who.to_owned(), began, steps, end);
        goes_on
    }

    fn refusal(&self, text: &str) -> End {
        if !["nothing was written", "stopping", "CLUSTERDOWN", "EXECABORT"].iter().any(|known| text.contains(known)) {
            self.say(format!("a Redis client was told: {text}"));
        }
        End::Refused
    }

    fn count(&self, connection: &mut Connection) -> bool {
        let began = self.history.now();
        match connection.ask(&["INCR", "counter"]) {
            Value::Integer(value) => {
                self.counted.lock().unwrap().push((began, self.history.now(), value));
                true
            }
            Value::Error(text) => {
                self.refusal(&text);
                false
            }
            _ => {
                self.uncertain.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// Reads every list at every node, and the counter.
    fn read_all_keys(&self) {
        let counted = self.counted.lock().unwrap();
        self.check_counts(&counted);
        let (least, uncertain) = (counted.len() as i64, self.uncertain.load(Ordering::Relaxed) as i64);
        for (node, address) in self.redis.iter().enumerate() {
            for key in self.history.keys().into_iter().filter(|key| key & 1 == 0) {
                let began = self.history.now();
                let reply = insist(*address, &["LRANGE", &format!("list{key}"), "0", "-1"]);
                let mut step = Step::Read { key, found: Vec::new() };
                assert!(answered(&mut step, &reply), "LRANGE list{key} at n{}: {reply}", node + 1);
                self.history.add(format!("the last read at n{}", node + 1), began, vec![step], End::Done);
            }
            let counter = insist(*address, &["GET", "counter"]).bytes();
            let counter = counter.map_or(0, |bytes| String::from_utf8(bytes).unwrap().parse::<i64>().unwrap());
            if !(least..=least + uncertain).contains(&counter) {
                self.say(format!("counted {least} times and perhaps {uncertain} more; n{} has {counter}", node + 1));
            }
        }
    }

    /// No count was given twice, none that was asked for behind another's answer is lower.
    fn check_counts(&self, counted: &[(u64, u64, i64)]) {
        let mut by_value = counted.to_vec();
        by_value.sort_unstable_by_key(|(_, _, value)| std::cmp::Reverse(*value));
        for pair in by_value.windows(2).filter(|pair| pair[0].2 == pair[1].2) {
            self.say(format!("two clients were told that they counted to {}", pair[0].2));
        }
        let mut ended = u64::MAX;
        for (began, end, value) in by_value {
            if ended < began {
                self.say(format!("a count to {value} began when a higher one had been answered"));
            }
            ended = ended.min(end);
        }
    }
}

// SQL.

/// Why a transaction has no result.
enum Stop {
    Refused,
    Unknown,
    /// The connection is of no more use; nothing was committed.
    Lost,
}

/// What went wrong before COMMIT was sent: nothing is written.
fn before_commit(error: tokio_postgres::Error) -> Stop {
    if error.as_db_error().is_some() && !error.is_closed() { Stop::Refused } else { Stop::Lost }
}

/// What is said of a COMMIT, or of a statement that is a transaction by itself.
fn at_commit(error: tokio_postgres::Error) -> Stop {
    match error.as_db_error().map(DbError::code).map(tokio_postgres::error::SqlState::code) {
        // Serialization failure, deadlock, no leader, a failed block: nothing was written.
        Some("40001" | "40P01" | "57P03" | "25P02") => Stop::Refused,
        _ => Stop::Unknown,
    }
}

async fn step(client: &impl tokio_postgres::GenericClient, step: &mut Step) -> Result<(), tokio_postgres::Error> {
    match step {
        Step::Append { key, value, .. } => {
            let sql =
                "INSERT INTO lists VALUES ($1, $2) ON CONFLICT (k) DO UPDATE SET v = lists.v || ',' || excluded.v";
            client.execute(sql, &[&(*key as i64), &value.to_string()]).await.map(drop)
        }
        Step::Read { key, found } => {
            let row = client.query_opt("SELECT v FROM lists WHERE k = $1", &[&(*key as i64)]).await?;
            let text = row.map_or_else(String::new, |row| row.get::<_, String>(0));
            *found = text.split(',').filter(|value| !value.is_empty()).map(|value| value.parse().unwrap()).collect();
            Ok(())
        }
    }
}

impl Shared {
    async fn tables(&self) {
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS lists (k bigint PRIMARY KEY, v text NOT NULL);
             CREATE TABLE IF NOT EXISTS accounts (id bigint PRIMARY KEY, balance bigint NOT NULL);
             INSERT INTO accounts SELECT x, {BALANCE} FROM generate_series(0, {ACCOUNTS} - 1) AS g(x) ON CONFLICT DO NOTHING"
        );
        let started = Instant::now();
        // Again when a leader is lost meanwhile, on a machine that is busy.
        while let Err(error) = self.run(&sql).await {
            assert!(started.elapsed() < PATIENCE, "the tables cannot be made: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn run(&self, sql: &str) -> Result<(), TestkitError> {
        Ok(Client::connect(self.pg[0]).await?.batch_execute(sql).await?)
    }

    fn sql_client(&self, number: u64, mut random: StdRng) {
        on_a_runtime(async {
            while !self.stopped() {
                let node = random.random_range(0..self.pg.len());
                let Ok(Ok(mut client)) = timeout(ANSWER, Client::connect(self.pg[node])).await else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                let who = format!("SQL client {number} at n{}", node + 1);
                for _ in 0..random.random_range(5..40) {
                    let goes_on = match random.random_range(0..8) {
                        0 => {
                            timeout(ANSWER, self.transfer(&mut client, &mut random)).await.is_ok_and(|goes_on| goes_on)
                        }
                        _ => self.sql_transaction(&mut client, &who, self.steps(&mut random, 1)).await,
                    };
                    if !goes_on || self.stopped() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(random.random_range(0..5))).await;
                }
            }
        });
    }

    async fn sql_transaction(&self, client: &mut Client, who: &str, mut steps: Vec<Step>) -> bool {
        let began = self.history.now();
        // Once COMMIT is on its way, silence means that nobody knows.
        let mut committing = steps.len() == 1;
        let run = timeout(ANSWER, async {
            if let [only] = &mut steps[..] {
                return step(&**client, only).await.map_err(at_commit);
            }
            let begun = client.build_transaction().isolation_level(IsolationLevel::Serializable).start().await;
            let transaction = begun.map_err(before_commit)?;
            for one in &mut steps {
                step(&transaction, one).await.map_err(before_commit)?;
            }
            committing = true;
            transaction.commit().await.map_err(at_commit)
        });
        let (end, goes_on) = match run.await {
            Ok(Ok(())) => (End::Done, true),
            Ok(Err(Stop::Refused)) => (End::Refused, !client.is_closed()),
            Ok(Err(Stop::Lost)) => (End::Refused, false),
            Ok(Err(Stop::Unknown)) => (End::Unknown, !client.is_closed()),
            Err(_) => (if committing { End::Unknown } else { End::Refused }, false),
        };
        self.history.add(who.to_owned(), began, steps, end);
        goes_on
    }

    /// Moves money, or looks whether it is all there.
    async fn transfer(&self, client: &mut Client, random: &mut StdRng) -> bool {
        if random.random_range(0..3) == 0 {
            let Ok(sum) = client.value("SELECT sum(balance) FROM accounts").await else { return !client.is_closed() };
            if sum != (ACCOUNTS * BALANCE).to_string() {
                self.say(format!("the balances add up to {sum}"));
            }
            return true;
        }
        let from = random.random_range(0..ACCOUNTS);
        let to = (from + random.random_range(1..ACCOUNTS)) % ACCOUNTS;
        let moved = async {
            let transaction = client.transaction().await?;
            let take = "UPDATE accounts SET balance = balance - 1 WHERE id = $1";
            transaction.execute(take, &[&from]).await?;
            let give = "UPDATE accounts SET balance = balance + 1 WHERE id = $1";
            transaction.execute(give, &[&to]).await?;
            transaction.commit().await
        };
        moved.await.is_ok() || !client.is_closed()
    }

    /// Reads every list and all accounts at every node, through the leader and from what the node has itself.
    async fn read_all_rows(&self) {
        for (node, address) in self.pg.iter().enumerate() {
            let started = Instant::now();
            // A leader may be lost here too, on a machine that is busy.
            while let Err(error) = self.read_rows_of(node, *address).await {
                assert!(started.elapsed() < PATIENCE, "n{} does not answer: {error}", node + 1);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let started = Instant::now();
        while !self.same_everywhere().await.unwrap_or(false) {
            assert!(started.elapsed() < PATIENCE, "the nodes do not come to hold the same rows");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn read_rows_of(&self, node: usize, address: SocketAddr) -> Result<(), TestkitError> {
        let client = Client::connect(address).await?;
        for key in self.history.keys().into_iter().filter(|key| key & 1 == 1) {
            let began = self.history.now();
            let mut read = Step::Read { key, found: Vec::new() };
            step(&*client, &mut read).await?;
            self.history.add(format!("the last read at n{}", node + 1), began, vec![read], End::Done);
        }
        for consistency in ["linearizable", "local"] {
            client.batch_execute(&format!("SET perigee.read_consistency = {consistency}")).await?;
            let sum = client.value("SELECT sum(balance) FROM accounts").await?;
            if sum != (ACCOUNTS * BALANCE).to_string() {
                self.say(format!("n{}: the balances add up to {sum}", node + 1));
            }
        }
        Ok(())
    }

    /// Whether all nodes hold the same by themselves.
    async fn same_everywhere(&self) -> Result<bool, TestkitError> {
        let mut held = Vec::new();
        for address in &self.pg {
            let client = Client::connect(*address).await?;
            client.batch_execute("SET perigee.read_consistency = local").await?;
            let mut rows = client.rows("SELECT k, v FROM lists ORDER BY k").await?;
            rows.extend(client.rows("SELECT id, balance FROM accounts ORDER BY id").await?);
            held.push(rows);
        }
        Ok(held.windows(2).all(|pair| pair[0] == pair[1]))
    }
}
