//! A node that has not what the others have.

use std::sync::Arc;

use bytes::Bytes;
use perigee_log::{Log, LogOptions, Meta, SEGMENT_BYTES};
use perigee_runtime::{Files, SystemFiles};
use perigee_testkit::Cluster;

use super::{at_itself, has_rows, options, until};

/// Writes another text of the same length into the log of a node that is down, with all checksums and hashes as they have to be. What
/// stands behind it stays, or one record of it only. What the node has noted of attestations is gone: there may have been one of this
/// record already, or none yet.
pub(crate) fn forge(cluster: &Cluster, number: usize, text: &[u8], other: &[u8], rest_stays: bool) {
    let folder = cluster.servers()[number].data_dir();
    let files: Arc<dyn Files> = Arc::new(SystemFiles);
    let identity = Meta::open(Arc::clone(&files), &folder.join("meta")).unwrap().identity().unwrap();
    let options = LogOptions { dir: folder.join("log"), cluster_id: identity.cluster_id, segment_bytes: SEGMENT_BYTES };
    let (log, _) = Log::open(files, options).unwrap();
    let (_, mut last) = log.last().unwrap();
    let mut records = log.read(log.first_index(), last + 1, usize::MAX).unwrap();
    let place = |payload: &[u8]| payload.windows(text.len()).position(|bytes| bytes == text);
    let at = records.iter().position(|record| place(&record.payload).is_some()).expect("it is in the log");
    let mut records = records.split_off(at);
    let mut payload = records[0].payload.to_vec();
    let from = place(&payload).unwrap();
    payload[from..from + other.len()].copy_from_slice(other);
    records[0].payload = Bytes::from(payload);
    if !rest_stays {
        // A record tells that the one before it is committed.
        records.truncate(2);
        last = records[0].index;
    }
    log.truncate_after(records[0].index - 1).unwrap();
    log.append(&records[..1], last).unwrap();
    log.sync().unwrap();
    log.append(&records[1..], last).unwrap();
    log.close().unwrap();
    for fact in ["meta/attested", "meta/anchors"] {
        drop(std::fs::remove_file(folder.join(fact)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_log_differs_finds_out_and_begins_anew() {
    // The log is what it starts from.
    let options = options().env("PERIGEE_STORAGE__CHECKPOINT_INTERVAL", "1h");
    let mut cluster = super::with_table(&options).await;
    let leader = cluster.leader().unwrap();
    let client = cluster.servers()[leader].client().await.unwrap();
    client.batch_execute("CREATE TABLE texts (t text); INSERT INTO texts VALUES ('planted')").await.unwrap();
    let differs = (leader + 1) % 3;
    until("the others have it", || async {
        let client = at_itself(&cluster, differs).await.unwrap();
        client.value("SELECT count(*) FROM texts").await.is_ok_and(|rows| rows == "1")
    })
    .await;
    cluster.server(differs).kill();
    forge(&cluster, differs, b"planted", b"changed", true);
    cluster.spawn(differs).unwrap();
    // What is attested is what was written since.
    client.batch_execute("INSERT INTO t VALUES (1)").await.unwrap();
    until("it begins anew", || async {
        cluster.servers()[differs].log().contains("begins anew as another incarnation")
    })
    .await;
    let log = cluster.servers()[differs].log();
    assert!(log.contains("differs from the leader's"), "{log}");
    client.batch_execute("INSERT INTO t VALUES (2)").await.unwrap();
    has_rows(&cluster, differs, 2).await;
    let own = at_itself(&cluster, differs).await.unwrap();
    assert_eq!(own.value("SELECT t FROM texts").await.unwrap(), "planted");
}
