//! One flipped bit in every kind of file: refused by name, repaired, or without effect. Never served.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use perigee_testkit::resp::Connection;
use perigee_testkit::{Client, TestkitError, copy_folder};
use perigee_tests::admin::admin;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

/// Flips per kind of file.
const FLIPS: usize = 3;

/// All kinds of files that a node has, without their numbers. Left out is what is empty: locks, and fjall's journal, which
/// is not used.
const KINDS: [&str; 12] = [
    "log/.segment",
    "log/control",
    "lsm/keyspaces//blobs/",
    "lsm/keyspaces//current",
    "lsm/keyspaces//tables/",
    "lsm/keyspaces//v",
    "lsm/version",
    "meta/anchors",
    "meta/attested",
    "meta/format",
    "meta/identity",
    "meta/vote",
];

/// All that a client can see, in one text.
async fn content(client: &Client) -> Result<String, tokio_postgres::Error> {
    let mut all = String::new();
    for sql in [
        "SELECT id, name, price, body FROM item ORDER BY id",
        "SELECT id FROM item WHERE name = 'item 77'",
        "SELECT name FROM item WHERE id = 4321",
        "SELECT count(*), sum(value) FROM reading",
        "SELECT device, at, value FROM reading ORDER BY device, at LIMIT 100",
    ] {
        all += &format!("{:?}\n", client.rows(sql).await?);
    }
    Ok(all)
}

/// A data directory with everything in it: log, checkpoint, and entries behind the checkpoint.
async fn prepare(folder: &Path) -> String {
    let mut server = perigee_tests::options().on(folder).start().unwrap();
    let client = server.client().await.unwrap();
    for sql in [
        "CREATE TABLE item (id bigint PRIMARY KEY, name text, price numeric(12,2), body text)",
        "CREATE INDEX item_name ON item (name)",
        "CREATE TABLE reading (device int, at bigint, value double precision, PRIMARY KEY (device, at))",
        // What does not compress is kept in files of its own.
        "INSERT INTO item SELECT x, 'item ' || x, x * 1.25, md5(x::text) FROM generate_series(1, 5000) AS g(x)",
        "INSERT INTO reading SELECT x % 10, x, x / 7.0 FROM generate_series(1, 50000) AS g(x)",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    drop(client);
    tokio::task::block_in_place(|| server.stop()).unwrap();
    tokio::task::block_in_place(|| server.restart()).unwrap();
    let client = server.client().await.unwrap();
    client.batch_execute("UPDATE item SET price = price + 1 WHERE id % 10 = 0").await.unwrap();
    client.batch_execute("DELETE FROM reading WHERE at % 100 = 0").await.unwrap();
    let started = Instant::now();
    while !folder.join("meta/attested").exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing was attested");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let content = content(&client).await.unwrap();
    drop(client);
    tokio::task::block_in_place(|| server.kill());
    content
}

/// The kind of a file: its folder, and its name without numbers.
fn kinds(root: &Path) -> BTreeMap<String, Vec<PathBuf>> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let mut files = Vec::new();
    walk(root, &mut files);
    let mut kinds: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in files {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let empty = fs::metadata(&path).unwrap().len() == 0;
        if !empty && !name.starts_with("tmp/") {
            kinds.entry(name.replace(|c: char| c.is_ascii_digit(), "")).or_default().push(path);
        }
    }
    kinds
}

/// Flips a bit where the file has something; gives the place.
fn flip(path: &Path, random: &mut StdRng) -> usize {
    let mut bytes = fs::read(path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |last| last + 1);
    let place = random.random_range(0..used);
    bytes[place] ^= 1 << random.random_range(0..8);
    fs::write(path, bytes).unwrap();
    place
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_never_served() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    let expected = prepare(&good).await;
    let mut random = StdRng::seed_from_u64(3);
    let mut wrong = Vec::new();
    let kinds = kinds(&good);
    let known: Vec<&str> = kinds.keys().map(String::as_str).collect();
    assert_eq!(known, KINDS);
    for (kind, paths) in kinds {
        for _ in 0..FLIPS {
            let bad = folder.path().join("bad");
            drop(fs::remove_dir_all(&bad));
            copy_folder(&good, &bad).unwrap();
            let name = paths[random.random_range(0..paths.len())].strip_prefix(&good).unwrap();
            let place = flip(&bad.join(name), &mut random);
            let verdict = judge(&bad, &expected, name).await;
            println!("{:<60} byte {place:>8}: {}", name.display(), verdict.as_deref().unwrap_or("WRONG"));
            if let Err(text) = verdict {
                wrong.push(format!("{kind}: {} byte {place}: {text}", name.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Starts a node on a damaged folder and says how it has dealt with it.
async fn judge(folder: &Path, expected: &str, file: &Path) -> Result<String, String> {
    let started = tokio::task::block_in_place(|| perigee_tests::options().on(folder).start());
    let mut server = match started {
        Ok(server) => server,
        Err(TestkitError::Server { log, .. }) => {
            // The file, or at least the folder of the part that refuses: the LSM has several files for one thing.
            let part = file.components().next().unwrap().as_os_str().to_str().unwrap();
            let last = log.lines().rfind(|line| line.starts_with("perigee: ")).unwrap_or_default().to_owned();
            let named =
                last.contains(file.file_name().unwrap().to_str().unwrap()) || last.to_lowercase().contains(part);
            return if named { Ok(format!("refused: {last}")) } else { Err(format!("refused without a name: {log}")) };
        }
        Err(error) => return Err(error.to_string()),
    };
    let client = server.client().await.map_err(|error| error.to_string())?;
    let verdict = match content(&client).await {
        Ok(content) if content == expected => Ok("no effect, or repaired".to_owned()),
        Ok(_) => Err("other rows were served".to_owned()),
        Err(error) => match error.code().map(|code| code.code().to_owned()) {
            Some(code) if code.starts_with("XX") || code == "58030" => Ok(format!("refused by the statement: {error}")),
            _ => Err(format!("an unclear error: {error:?}")),
        },
    };
    drop(client);
    tokio::task::block_in_place(|| server.kill());
    verdict
}

/// Also what no statement asks for just now: keys, and rows that are in memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_finds_a_flipped_bit_in_the_lsm() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    let mut server = perigee_tests::options().on(&good).with_redis().start().unwrap();
    let client = server.client().await.unwrap();
    let create = "CREATE TABLE item (id int PRIMARY KEY, body text);
        INSERT INTO item SELECT x, md5(x::text) FROM generate_series(1, 20000) AS g(x)";
    client.batch_execute(create).await.unwrap();
    drop(client);
    let mut connection = Connection::open(server.redis(), Duration::from_secs(30)).unwrap();
    for key in 0..2_000 {
        connection.line(&format!("SET key:{key} {key:0>100}"));
    }
    tokio::task::block_in_place(|| server.stop()).unwrap();
    let mut random = StdRng::seed_from_u64(5);
    let mut found = 0;
    for name in kinds(&good)
        .iter()
        .filter(|(kind, _)| ["lsm/keyspaces//tables/", "lsm/keyspaces//blobs/"].contains(&kind.as_str()))
        .flat_map(|(_, paths)| paths)
    {
        let bad = folder.path().join("bad");
        drop(fs::remove_dir_all(&bad));
        copy_folder(&good, &bad).unwrap();
        let path = bad.join(name.strip_prefix(&good).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        // Blocks of data come first in a file.
        let place = random.random_range(0..bytes.len() / 3);
        bytes[place] ^= 1;
        fs::write(&path, bytes).unwrap();
        let started = tokio::task::block_in_place(|| perigee_tests::options().on(&bad).with_grpc().start());
        let Ok(mut server) = started else {
            found += 1;
            continue;
        };
        let (text, code) = tokio::task::block_in_place(|| admin(&server.grpc().to_string(), &["verify"]));
        assert!(code == Some(5) && text.contains("damaged"), "{} byte {place}: {text}", name.display());
        found += 1;
        tokio::task::block_in_place(|| server.kill());
    }
    assert!(found > 0, "there is nothing in the LSM");
}

/// What a crash leaves of a write that was never acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_is_cut_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let expected = prepare(folder.path()).await;
    let segments = kinds(folder.path()).remove("log/.segment").unwrap();
    let last = segments.iter().max().unwrap();
    let mut bytes = fs::read(last).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let frame = used.next_multiple_of(512);
    // The beginning of the first frame once more, where the next one would be.
    bytes.copy_within(512..512 + 200, frame);
    fs::write(last, bytes).unwrap();
    let mut server = tokio::task::block_in_place(|| perigee_tests::options().on(folder.path()).start()).unwrap();
    assert!(server.log().contains("torn write"), "{}", server.log());
    assert_eq!(content(&server.client().await.unwrap()).await.unwrap(), expected);
    tokio::task::block_in_place(|| server.kill());
}
