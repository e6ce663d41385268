//! One suite for every engine: what [`KvEngine`] promises.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use perigee_types::Oid;

use super::keys::{Kind, key};
use super::{DroppedSet, KEY_BYTES_MAX, KvEngine, KvError, RUNS_WAITING_MAX, RunItem, keys};

/// Opens an engine, and opens it again as a restart would after it was dropped without a word.
pub(super) trait Fixture {
    fn open(&mut self) -> Arc<dyn KvEngine>;
}

/// Every promise, each on an engine of its own.
pub(super) fn run<F: Fixture>(mut fixture: impl FnMut() -> F) {
    type Case<F> = (&'static str, fn(&mut F));
    let cases: [Case<F>; 10] = [
        ("runs shadow one another", runs_shadow_one_another),
        ("tombstones over several runs", tombstones_over_several_runs),
        ("scans in both directions", scans_in_both_directions),
        ("a scan sees one snapshot", a_scan_sees_one_snapshot),
        ("a failed run leaves nothing", a_failed_run_leaves_nothing),
        ("what a run must not hold", what_a_run_must_not_hold),
        ("values of every size", values_of_every_size),
        ("readers see a run whole", readers_see_a_run_whole),
        ("dropped oids go", dropped_oids_go),
        ("many runs", many_runs),
    ];
    for (name, case) in cases {
        println!("{name}");
        case(&mut fixture());
    }
}

fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> RunItem {
    Ok((key.into(), Some(Bytes::from(value.into()))))
}

fn delete(key: impl Into<Vec<u8>>) -> RunItem {
    Ok((key.into(), None))
}

fn ingest(kv: &dyn KvEngine, run: impl IntoIterator<Item = RunItem>) -> Result<u64, KvError> {
    kv.ingest(&mut run.into_iter())
}

fn text(kv: &dyn KvEngine, from: Bound<&[u8]>, to: Bound<&[u8]>) -> String {
    let pairs = kv.scan(from, to).map(|pair| {
        let (key, value) = pair.unwrap();
        format!("{}={} ", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value))
    });
    pairs.collect()
}

fn all(kv: &dyn KvEngine) -> String {
    text(kv, Bound::Unbounded, Bound::Unbounded)
}

fn runs_shadow_one_another(fixture: &mut impl Fixture) {
    let kv = fixture.open();
    assert_eq!(ingest(&*kv, [put("a", "1"), put("b", "1"), put("c", "1")]).unwrap(), 6);
    assert_eq!(ingest(&*kv, []).unwrap(), 0);
    ingest(&*kv, [put("b", "22")]).unwrap();
    drop(kv);
    let kv = fixture.open();
    ingest(&*kv, [put("a", "3"), put("d", "3")]).unwrap();
    let want = "a=3 b=22 c=1 d=3 ";
    assert_eq!(all(&*kv), want);
    assert_eq!(kv.get(b"b").unwrap().unwrap(), "22");
    assert_eq!(kv.get(b"bb").unwrap(), None);
    assert_eq!(kv.get(b"").unwrap(), None);
    drop(kv);
    assert_eq!(all(&*fixture.open()), want);
}

fn tombstones_over_several_runs(fixture: &mut impl Fixture) {
    let kv = fixture.open();
    ingest(&*kv, [put("a", "1"), put("b", "1"), put("c", "1")]).unwrap();
    ingest(&*kv, [delete("a"), delete("b"), delete("nothing")]).unwrap();
    ingest(&*kv, [put("b", "3")]).unwrap();
    assert_eq!(all(&*kv), "b=3 c=1 ");
    assert_eq!(kv.get(b"a").unwrap(), None);
    drop(kv);
    let kv = fixture.open();
    assert_eq!(all(&*kv), "b=3 c=1 ");
    kv.compact().unwrap();
    assert_eq!(all(&*kv), "b=3 c=1 ");
    ingest(&*kv, [delete("b"), delete("c")]).unwrap();
    kv.compact().unwrap();
    drop(kv);
    assert_eq!(all(&*fixture.open()), "");
}

fn scans_in_both_directions(fixture: &mut impl Fixture) {
    let kv = fixture.open();
    ingest(&*kv, (0..50u8).map(|n| put([n * 2], [n]))).unwrap();
    ingest(&*kv, (0..50u8).map(|n| if n % 5 == 0 { delete([n * 2]) } else { put([n * 2 + 1], [n]) })).unwrap();
    let check = |from: Bound<&[u8]>, to: Bound<&[u8]>| {
        let forward: Vec<_> = kv.scan(from, to).map(Result::unwrap).collect();
        let mut backward: Vec<_> = kv.scan(from, to).rev().map(Result::unwrap).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        assert!(forward.is_sorted());
        // From both ends at once, they meet.
        let (mut scan, mut both) = (kv.scan(from, to), Vec::new());
        while let Some(front) = scan.next() {
            both.push(front.unwrap());
            both.extend(scan.next_back().map(Result::unwrap));
        }
        both.sort();
        assert_eq!(forward, both);
        forward.len()
    };
    assert_eq!(check(Bound::Unbounded, Bound::Unbounded), 80);
    assert_eq!(check(Bound::Included(&[10]), Bound::Excluded(&[20])), 8);
    assert_eq!(check(Bound::Excluded(&[12]), Bound::Included(&[14])), 2);
    assert_eq!(check(Bound::Included(&[200]), Bound::Unbounded), 0);
    assert_eq!(check(Bound::Included(&[]), Bound::Excluded(&[20])), 16);
    assert_eq!(check(Bound::Excluded(&[]), Bound::Excluded(&[])), 0);
    assert_eq!(check(Bound::Unbounded, Bound::Included(&[])), 0);
    // Bounds that a BTreeMap panics on.
    assert_eq!(check(Bound::Included(&[20]), Bound::Excluded(&[10])), 0);
    assert_eq!(check(Bound::Excluded(&[12]), Bound::Excluded(&[12])), 0);
    assert_eq!(check(Bound::Included(&[12]), Bound::Included(&[12])), 1);
    let (from, to) = keys::range_of(&[3]);
    assert_eq!(check(from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice)), 1);
}

fn a_scan_sees_one_snapshot(fixture: &mut impl Fixture) {
    let kv = fixture.open();
    ingest(&*kv, (0..200u8).map(|n| put([n], vec![1; 20_000]))).unwrap();
    let mut scan = kv.scan(Bound::Unbounded, Bound::Unbounded);
    let first = scan.next().unwrap().unwrap();
    ingest(&*kv, (0..200u8).map(|n| if n % 2 == 0 { delete([n]) } else { put([n], vec![2; 20_000]) })).unwrap();
    kv.compact().unwrap();
    assert_eq!(first.1[0], 1);
    let rest: Vec<_> = scan.map(Result::unwrap).collect();
    assert_eq!(rest.len(), 199);
    assert!(rest.iter().all(|(_, value)| value[0] == 1 && value.len() == 20_000));
    assert_eq!(kv.scan(Bound::Unbounded, Bound::Unbounded).count(), 100);
}

fn a_failed_run_leaves_nothing(fixture: &mut impl Fixture) {
    let kv = fixture.open();
    ingest(&*kv, [put("a", "1")]).unwrap();
    let failed = Err(KvError::Run("the caller's".to_owned()));
    let items = (0..1_000u32).map(|n| put(n.to_be_bytes(), vec![7; 30_000])).chain([failed]);
    assert!(matches!(ingest(&*kv, items), Err(KvError::Run(_))));
    assert_eq!(all(&*kv), "a=1 ");
    drop(kv);
    let kv = fixture.open();
    assert_eq!(all(&*kv), "a=1 ");
    ingest(&*kv, [put("b", "2")]).unwrap();
    assert_eq!(all(&*kv), "a=1 b=2 ");
}

fn what_a_run_must_not_hold(fixture: &mut impl Fixture) {
    let kv = fixture.open();
    let longest = vec![b'k'; KEY_BYTES_MAX];
    let too_long = vec![b'k'; KEY_BYTES_MAX + 1];
    ingest(&*kv, [put(longest.clone(), "1")]).unwrap();
    assert_eq!(kv.get(&longest).unwrap().unwrap(), "1");
    assert_eq!(kv.get(&too_long).unwrap(), None);
    assert_eq!(kv.scan(Bound::Included(&too_long), Bound::Unbounded).count(), 0);
    assert_eq!(kv.scan(Bound::Unbounded, Bound::Excluded(&too_long)).count(), 1);
    assert_eq!(kv.scan(Bound::Included(&longest), Bound::Excluded(&too_long)).count(), 1);
    assert!(matches!(ingest(&*kv, [put(too_long.clone(), "1")]), Err(KvError::KeyTooLong(_))));
    assert!(matches!(ingest(&*kv, [delete(too_long)]), Err(KvError::KeyTooLong(_))));
    assert!(matches!(ingest(&*kv, [put("", "1")]), Err(KvError::KeyEmpty)));
    assert!(matches!(ingest(&*kv, [put("b", "1"), put("b", "2")]), Err(KvError::KeyOrder)));
    assert!(matches!(ingest(&*kv, [put("b", "1"), delete("a")]), Err(KvError::KeyOrder)));
    kv.check().unwrap();
    assert_eq!(kv.scan(Bound::Unbounded, Bound::Unbounded).count(), 1);
}

fn values_of_every_size(fixture: &mut impl Fixture) {
    let kv = fixture.open();
    let sizes = [0, 1, 20, 21, 511, 512, 4_095, 4_096, 16_383, 16_384, 65_536, 1 << 20, 9 << 20];
    let value = |size: usize| (0..size).map(|n| ((n * n) >> 3) as u8).collect::<Vec<_>>();
    ingest(&*kv, sizes.map(|size| put((size as u64).to_be_bytes(), value(size)))).unwrap();
    assert!(kv.disk_bytes() > 10 << 20);
    drop(kv);
    let kv = fixture.open();
    for size in sizes {
        assert_eq!(kv.get(&(size as u64).to_be_bytes()).unwrap().unwrap(), value(size), "{size} bytes");
    }
    let scanned: Vec<_> = kv.scan(Bound::Unbounded, Bound::Unbounded).map(|p| p.unwrap().1.len()).collect();
    assert_eq!(scanned, sizes);
}

fn readers_see_a_run_whole(fixture: &mut impl Fixture) {
    let kv = fixture.open();
    let write = |version: u32| {
        let run = (0..100u8).map(|n| put([n], version.to_be_bytes().to_vec()));
        ingest(&*kv, run).unwrap();
    };
    write(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..300 {
                let seen: Vec<_> = kv.scan(Bound::Unbounded, Bound::Unbounded).map(|p| p.unwrap().1).collect();
                assert!(seen.len() == 100 && seen.iter().all(|value| *value == seen[0]));
            }
        });
        for version in 1..20 {
            write(version);
        }
        reader.join().unwrap();
    });
}

fn dropped_oids_go(fixture: &mut impl Fixture) {
    let kv = fixture.open();
    let column = |oid, n: u32| key(Kind::Column, 0, Oid(oid), &n.to_be_bytes());
    let rows = |oid| (0..100).map(move |n| put(column(oid, n), vec![1; if n % 2 == 0 { 10 } else { 20_000 }]));
    ingest(&*kv, rows(1).chain(rows(2)).chain(rows(3))).unwrap();
    ingest(&*kv, rows(1).chain(rows(2))).unwrap();
    let count = |oid| {
        let (from, to) = keys::range_of(&keys::prefix(Kind::Column, 0, Oid(oid)));
        kv.scan(from.as_ref().map(Vec::as_slice), to.as_ref().map(Vec::as_slice)).count()
    };
    kv.dropped(DroppedSet::from_iter([(0, Oid(2)), (1, Oid(3))]));
    kv.compact().unwrap();
    assert_eq!((count(1), count(2), count(3)), (100, 0, 100));
    drop(kv);
    let kv = fixture.open();
    assert_eq!(kv.scan(Bound::Unbounded, Bound::Unbounded).count(), 200);
}

fn many_runs(fixture: &mut impl Fixture) {
    let kv = fixture.open();
    for run in 0..40u32 {
        ingest(
            &*kv,
            (0..300u32).filter(|n| n.is_multiple_of(run + 1)).map(|n| put(n.to_be_bytes(), run.to_be_bytes().to_vec())),
        )
        .unwrap();
    }
    // Compaction keeps up by itself: no later write has to push it.
    for _ in 0..2_000 {
        if kv.runs_waiting() <= RUNS_WAITING_MAX {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(kv.runs_waiting() <= RUNS_WAITING_MAX);
    let newest = |n: u32| (0..40).rev().find(|run| n.is_multiple_of(run + 1)).unwrap_or_default();
    let check = |kv: &dyn KvEngine| {
        for (n, pair) in kv.scan(Bound::Unbounded, Bound::Unbounded).enumerate() {
            assert_eq!(pair.unwrap().1[..], newest(n as u32).to_be_bytes());
        }
    };
    check(&*kv);
    drop(kv);
    check(&*fixture.open());
}
