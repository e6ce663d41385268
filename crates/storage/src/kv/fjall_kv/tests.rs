//! fjall as an engine, and what is its own: files.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::super::suite;
use super::*;

struct Folder(TempDir);

impl suite::Fixture for Folder {
    fn open(&mut self) -> Arc<dyn KvEngine> {
        Arc::new(open(self.0.path()).unwrap())
    }
}

fn open(dir: &Path) -> Result<FjallKv, KvError> {
    FjallKv::open(dir, &KvOptions { cache_bytes: 1 << 20, ..KvOptions::default() })
}

fn put(key: u32, value: &[u8]) -> RunItem {
    Ok((key.to_be_bytes().to_vec(), Some(Bytes::copy_from_slice(value))))
}

/// A run of small values and of some that are kept apart, with `version` in each.
fn write(kv: &FjallKv, version: u32) -> Result<u64, KvError> {
    let bytes = |key: u32| if key.is_multiple_of(500) { 40_000 } else { 8 };
    let value = |key: u32| [version.to_be_bytes().to_vec(), vec![key as u8; bytes(key)]].concat();
    kv.ingest(&mut (0..2_000).map(|key| put(key, &value(key))))
}

/// The one version that all keys have.
fn read(kv: &FjallKv) -> Result<Option<u32>, KvError> {
    let mut versions = BTreeMap::new();
    for pair in kv.scan(Bound::Unbounded, Bound::Unbounded) {
        let (_, value) = pair?;
        let version = value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).unwrap();
        *versions.entry(version).or_insert(0) += 1;
    }
    assert!(versions.len() <= 1, "a run is torn: {versions:?}");
    assert!(versions.values().all(|count| *count == 2_000), "keys are lost: {versions:?}");
    Ok(versions.into_keys().next())
}

fn files(dir: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.insert(entry.path(), (meta.len(), meta.modified().unwrap()));
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if !entry.file_name().to_string_lossy().ends_with(".jnl") {
            fs::copy(entry.path(), target).unwrap();
        } else {
            // 64 MiB of nothing.
            fs::File::create(target).unwrap().set_len(entry.metadata().unwrap().len()).unwrap();
        }
    }
}

#[test]
fn behaves_as_an_engine() {
    suite::run(|| Folder(TempDir::new().unwrap()));
}

#[test]
fn a_second_process_is_refused() {
    let dir = TempDir::new().unwrap();
    let _first = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(KvError::Locked)));
}

#[test]
fn an_idle_engine_writes_nothing() {
    let dir = TempDir::new().unwrap();
    let kv = open(dir.path()).unwrap();
    write(&kv, 1).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let before = files(dir.path());
    std::thread::sleep(Duration::from_millis(700));
    kv.check().unwrap();
    read(&kv).unwrap();
    assert_eq!(before, files(dir.path()));
}

/// Every file, one flipped bit each: found when it is read, or of no consequence, never another value.
#[test]
fn a_flipped_bit_is_never_served() {
    let dir = TempDir::new().unwrap();
    let kv = open(dir.path()).unwrap();
    for version in 1..=3 {
        write(&kv, version).unwrap();
    }
    drop(kv);
    let mut found = 0;
    let all = files(dir.path());
    for (n, (path, (len, _))) in all.iter().enumerate() {
        if path.extension().is_some_and(|e| e == "jnl") || *len == 0 {
            continue;
        }
        // More of the small files that say which tables there are: fjall itself does not check them whole.
        let large = path.parent().is_some_and(|folder| folder.ends_with("tables") || folder.ends_with("blobs"));
        let parts = if large { 4 } else { (*len).min(32) };
        for part in 0..parts {
            let broken = TempDir::new().unwrap();
            copy(dir.path(), broken.path());
            let target = broken.path().join(path.strip_prefix(dir.path()).unwrap());
            let mut bytes = fs::read(&target).unwrap();
            let at = (len * part / parts + n as u64) % len;
            bytes[at as usize] ^= 1 << (n % 8);
            fs::write(&target, bytes).unwrap();
            let outcome = std::panic::catch_unwind(|| open(broken.path()).and_then(|kv| read(&kv)));
            match outcome {
                Ok(Ok(version)) => assert_eq!(version, Some(3), "{} at {at}", path.display()),
                Ok(Err(error)) => {
                    assert!(error.is_damage(), "{error:?} for {} at {at}", path.display());
                    found += 1;
                }
                Err(_) => panic!("{} at {at}", path.display()),
            }
        }
    }
    assert!(found > 10, "only {found} flips were found");
}

#[test]
fn a_missing_file_is_damage_and_nothing_is_deleted() {
    let dir = TempDir::new().unwrap();
    let kv = open(dir.path()).unwrap();
    write(&kv, 1).unwrap();
    drop(kv);
    for path in files(dir.path()).into_keys().filter(|path| path.extension().is_none()) {
        if path.ends_with("lock") {
            continue;
        }
        let broken = TempDir::new().unwrap();
        copy(dir.path(), broken.path());
        fs::remove_file(broken.path().join(path.strip_prefix(dir.path()).unwrap())).unwrap();
        let tables = fs::read_dir(broken.path().join("keyspaces/1/tables")).unwrap().count();
        let outcome = open(broken.path()).and_then(|kv| read(&kv));
        assert!(
            matches!(&outcome, Ok(Some(1))) || matches!(&outcome, Err(e) if e.is_damage()),
            "{}: {outcome:?}",
            path.display()
        );
        assert_eq!(tables, fs::read_dir(broken.path().join("keyspaces/1/tables")).unwrap().count());
    }
}

/// `cargo test -p perigee-storage --release -- --ignored --nocapture rates`
#[test]
#[ignore = "prints rates; slow without optimization"]
fn rates() {
    for cache_bytes in [1 << 20, 64 << 20] {
        println!("block cache of {} MiB", cache_bytes >> 20);
        print_rates(&KvOptions { cache_bytes, ..KvOptions::default() });
    }
}

fn print_rates(options: &KvOptions) {
    let dir = TempDir::new().unwrap();
    let kv = FjallKv::open(dir.path(), options).unwrap();
    let per_second = |n: u32, start: std::time::Instant| f64::from(n) / start.elapsed().as_secs_f64();
    let start = std::time::Instant::now();
    kv.ingest(&mut (0..1_000_000).map(|key| put(key, &[7; 16]))).unwrap();
    println!("ingest, 20 bytes: {:.1} M keys/s", per_second(1_000_000, start) / 1e6);
    let column = Bytes::from(vec![7; 256 << 10]);
    let start = std::time::Instant::now();
    let large =
        (0..1_000u32).map(|key| Ok(([b"x".to_vec(), key.to_be_bytes().to_vec()].concat(), Some(column.clone()))));
    kv.ingest(&mut { large }).unwrap();
    println!("ingest, 256 KiB: {:.0} MB/s", per_second(1_000, start) * 0.262);
    let start = std::time::Instant::now();
    for key in 0..100_000u32 {
        assert!(kv.get(&key.wrapping_mul(7_919).rem_euclid(1_000_000).to_be_bytes()).unwrap().is_some());
    }
    println!("get, present: {:.2} us", 1e6 / per_second(100_000, start));
    let start = std::time::Instant::now();
    for key in 0..100_000u32 {
        assert!(kv.get(&[&key.to_be_bytes()[..], b"x"].concat()).unwrap().is_none());
    }
    println!("get, absent: {:.2} us", 1e6 / per_second(100_000, start));
    let start = std::time::Instant::now();
    for key in 0..1_000u32 {
        kv.get(&[b"x".to_vec(), key.to_be_bytes().to_vec()].concat()).unwrap().unwrap();
    }
    println!("get, 256 KiB: {:.1} GB/s", per_second(1_000, start) * 0.262 / 1e3);
    let start = std::time::Instant::now();
    let small = kv.scan(Bound::Unbounded, Bound::Excluded(b"x")).count();
    println!("scan, 20 bytes: {:.1} M keys/s", per_second(small as u32, start) / 1e6);
}

/// The other half of [`a_killed_process_leaves_whole_runs`]: writes runs until it is killed.
#[test]
#[ignore = "run by another test"]
fn writes_until_killed() {
    let Some(dir) = std::env::var_os("PERIGEE_TEST_KILL_DIR") else { return };
    let kv = open(Path::new(&dir)).unwrap();
    let first = read(&kv).unwrap().unwrap_or_default();
    for version in first + 1.. {
        write(&kv, version).unwrap();
        fs::write(Path::new(&dir).with_extension("done"), version.to_string()).unwrap();
    }
}

#[test]
fn a_killed_process_leaves_whole_runs() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("lsm");
    let mut last = 0;
    for round in 0..6u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kv::fjall_kv::tests::writes_until_killed", "--ignored"])
            .env("PERIGEE_TEST_KILL_DIR", &dir)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(400 + round * 137));
        child.kill().unwrap();
        child.wait().unwrap();
        let Ok(done) = fs::read_to_string(dir.with_extension("done")) else { continue };
        let version = read(&open(&dir).unwrap()).unwrap().unwrap_or_default();
        // The process may die between the run and its note, or inside the note.
        assert!(version >= done.parse().unwrap_or(last) && version >= last, "{version} after {done}");
        last = version;
    }
    assert!(last > 3, "the child wrote {last} runs");
}
