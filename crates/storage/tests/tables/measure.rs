//! Numbers, not verdicts: `cargo test --test tables measure -- --ignored --nocapture`, with optimization.

use std::time::Instant;

use perigee_storage::arrow_value::rows_to_batch;
use perigee_storage::entry::RowBlock;
use perigee_storage::table::LATEST;
use perigee_types::SqlType;

use crate::support::{Node, PRIMARY, all_indexes, change, id_key, row};

fn each(what: &str, count: u32, mut work: impl FnMut(u32)) {
    let started = Instant::now();
    for n in 0..count {
        work(n);
    }
    eprintln!("{what:50} {:>10.0?} each, {count} times", started.elapsed() / count);
}

#[test]
#[ignore = "prints times"]
fn measure() {
    let mut node = Node::new();
    node.create(&all_indexes()[..1]);
    let total = 400_000u32;
    let columns = [(1, &SqlType::Int4, "id"), (2, &SqlType::Text, "word"), (3, &SqlType::Int8, "number")];
    let parts: Vec<_> = (0..total as i32)
        .step_by(8_000)
        .map(|from| {
            let rows: Vec<_> =
                (from..from + 8_000).map(|id| row(id, Some("a word of some length"), i64::from(id))).collect();
            change(Vec::new(), RowBlock::Batch(rows_to_batch(&columns, &rows).unwrap()))
        })
        .collect();
    each("apply a batch of 8,000 rows, one index", parts.len() as u32, |n| {
        node.commit(&parts[n as usize]);
    });
    let mut at = 1u32;
    let mut next = || {
        at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (at >> 8) % total
    };
    let table = node.table();
    let point = |id: u32| {
        let vid = table.get(PRIMARY, &id_key(id as i32), LATEST).unwrap().unwrap();
        table.row(vid, &[1, 2, 3]).unwrap().unwrap()
    };
    each("point read, key in the delta", 200_000, |_| drop(point(next())));
    let started = Instant::now();
    node.checkpoint();
    eprintln!("{:50} {:>10.0?}", "checkpoint of everything", started.elapsed());
    each("point read, key in the LSM twin", 100_000, |_| drop(point(next())));
    each("point read, key in the cache", 200_000, |_| drop(point(next())));
    let scan = || {
        let chunks = table.scan(LATEST).chunks;
        chunks.iter().map(|chunk| chunk.batch(&[1, 2, 3], false).unwrap().num_rows()).sum::<usize>()
    };
    each("scan of all chunks, hot", 50, |_| assert_eq!(scan(), total as usize));
    node.store.evict_all();
    each("scan of all chunks, warm, once", 1, |_| assert_eq!(scan(), total as usize));
    each("scan of all chunks, warm, cached", 50, |_| assert_eq!(scan(), total as usize));
    each("point read, warm column cached", 100_000, |_| drop(point(next())));
    drop(table);
    each("update of one row: get, row, encode, apply, publish", 100_000, |n| {
        let id = next();
        let vid = node.find(id as i32).unwrap();
        node.update(vid, row(id as i32, Some("a word of some length"), i64::from(n)));
        node.log.drain(..node.log.len() - 1);
    });
    each("insert of one row", 100_000, |n| {
        node.insert(vec![row((total + n) as i32, Some("a word of some length"), 0)]);
        node.log.drain(..node.log.len() - 1);
    });
    let started = Instant::now();
    let rewritten = node.store.maintain().unwrap();
    eprintln!("{:50} {:>10.0?} ({rewritten} chunks)", "maintain", started.elapsed());
    eprintln!("{:?}", node.store.statistics());
}
