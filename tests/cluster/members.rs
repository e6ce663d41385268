//! What operators do: certificates, members that come and go, a cluster that has lost its majority for good.

use std::process::Command;
use std::time::Instant;

use perigee_testkit::{Cluster, binary};
use perigee_tests::admin::admin;

use super::load::Load;
use super::{PATIENCE, at_itself, options, until};

/// Asks a node, any one, until it does what is wanted; gives what it prints. What is done although its answer was lost is done.
fn insist(cluster: &Cluster, number: usize, arguments: &[&str]) -> String {
    let started = Instant::now();
    loop {
        let (text, code) = admin(&cluster.servers()[number].grpc().to_string(), arguments);
        if code == Some(0) || (arguments.contains(&"demote") && text.contains("no voter has the name")) {
            return text;
        }
        assert!(started.elapsed() < PATIENCE, "{arguments:?}: {text}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// Waits until a node's status says one of these.
async fn shows(cluster: &Cluster, number: usize, texts: &[&str]) {
    until(&format!("n{} says {texts:?}", number + 1), || async {
        let said = insist(cluster, number, &["cluster", "status"]);
        texts.iter().any(|text| said.contains(text))
    })
    .await;
}

fn cert(arguments: &[&str]) -> (String, bool) {
    let output = Command::new(binary::perigee().unwrap()).arg("cert").args(arguments).output().unwrap();
    (String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(), output.status.success())
}

#[tokio::test]
async fn members_prove_themselves_with_certificates_of_perigee_cert() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    let (text, done) = cert(&["node", "--dir", dir, "n1"]);
    assert!(!done && text.contains("perigee cert authority"), "{text}");
    assert!(cert(&["authority", "--dir", dir]).1);
    assert!(cert(&["node", "--dir", dir, "n1", "n2", "n3"]).1);
    let (text, done) = cert(&["authority", "--dir", dir]);
    assert!(!done && text.contains("exists"), "an authority is never replaced: {text}");
    let (text, done) = cert(&["node", "--dir", dir, "../n4"]);
    assert!(!done, "{text}");

    let cluster = Cluster::each(3, |name| {
        let file = |name: &str, suffix: &str| format!("{dir}/{name}.{suffix}");
        options()
            .env("PERIGEE_SECURITY__CLUSTER_AUTHORITY", file("authority", "crt"))
            .env("PERIGEE_SECURITY__CLUSTER_CERTIFICATE", file(name, "crt"))
            .env("PERIGEE_SECURITY__CLUSTER_KEY", file(name, "key"))
    });
    let cluster = cluster.unwrap();
    let follower = (cluster.leader().unwrap() + 1) % 3;
    let client = cluster.servers()[follower].client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(client.value("SELECT count(*) FROM perigee.cluster_nodes WHERE voter").await.unwrap(), "3");
}

#[tokio::test]
async fn members_come_and_go_by_an_operators_word() {
    let options = options().with_grpc();
    let mut cluster = Cluster::start(&options).unwrap();
    let leader = cluster.leader().unwrap();
    let follower = (leader + 1) % 3;
    let client = cluster.servers()[follower].client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await.unwrap();

    // Another leads, asked of whoever does not. A busy machine may elect again at once.
    let next = format!("n{}", follower + 1);
    let own = at_itself(&cluster, follower).await.unwrap();
    let wanted = [next.as_str(), "leader", &next, "t"].map(|text| Some(text.to_owned()));
    until("the leader that was asked for", || async {
        let text = insist(&cluster, (leader + 2) % 3, &["cluster", "transfer", &next]);
        assert!(text.contains(" in term "), "{text}");
        let status = own.rows("SELECT node, role, leader, applied_index > 0 FROM perigee.raft_status").await.unwrap();
        status == [wanted.to_vec()]
    })
    .await;

    // A fourth learns, then votes; then one of the first goes.
    let (name, address) = cluster.another(&options, leader).unwrap();
    insist(&cluster, leader, &["cluster", "add", &name, &address.to_string()]);
    let (text, code) =
        admin(&cluster.servers()[leader].grpc().to_string(), &["cluster", "add", &name, &address.to_string()]);
    assert!(code != Some(0) && text.contains("member already"), "{text}");
    cluster.server(3).wait_ready().unwrap();
    until("the fourth has the rows", || async {
        let Ok(client) = at_itself(&cluster, 3).await else { return false };
        client.value("SELECT count(*) FROM t").await.is_ok_and(|count| count == "2")
    })
    .await;
    shows(&cluster, leader, &["n4 learner at"]).await;
    insist(&cluster, leader, &["cluster", "promote", "n4"]);
    shows(&cluster, 3, &["n4 voter at", "n4 leader at"]).await;
    let gone = format!("n{}", leader + 1);
    insist(&cluster, 3, &["cluster", "demote", &gone]);
    insist(&cluster, 3, &["cluster", "remove", &gone]);
    // It is alive, and does not come back by itself.
    client.batch_execute("INSERT INTO t VALUES (3)").await.unwrap();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let names = client.value("SELECT string_agg(name, ',' ORDER BY name) FROM perigee.cluster_nodes").await.unwrap();
    let left: Vec<String> = (1..=4).map(|number| format!("n{number}")).filter(|name| *name != gone).collect();
    assert_eq!(names, left.join(","));
    let (text, code) = admin(&cluster.servers()[3].grpc().to_string(), &["cluster", "remove", "n9"]);
    assert!(code != Some(0) && text.contains("no member has the name"), "{text}");
}

#[tokio::test]
async fn a_node_goes_on_alone_when_the_majority_is_gone_for_good() {
    let options = options().with_grpc();
    let mut cluster = Cluster::start(&options).unwrap();
    let leader = cluster.leader().unwrap();
    let client = cluster.servers()[leader].client().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await.unwrap();
    let (stays, gone) = ((leader + 1) % 3, (leader + 2) % 3);
    until("the rows are there", || async {
        let Ok(client) = at_itself(&cluster, stays).await else { return false };
        client.value("SELECT count(*) FROM t").await.is_ok_and(|count| count == "2")
    })
    .await;
    (0..3).for_each(|number| cluster.kill(number));

    let flags = cluster.servers()[stays].options().flags.clone();
    cluster.server(stays).options_mut().flags.push("--force-recover".to_owned());
    cluster.server(stays).restart().unwrap();
    let log = cluster.servers()[stays].log();
    assert!(log.contains("goes on as the only voter") && log.contains("left_behind"), "{log}");
    let client = cluster.servers()[stays].client().await.unwrap();
    client.batch_execute("INSERT INTO t VALUES (3)").await.unwrap();

    // Once: the next start is as always.
    cluster.server(stays).options_mut().flags = flags;
    cluster.server(stays).restart().unwrap();
    let client = cluster.servers()[stays].client().await.unwrap();
    assert_eq!(client.value("SELECT sum(a) FROM t").await.unwrap(), "6");

    // Another comes back with an empty folder, and is added.
    std::fs::remove_dir_all(cluster.servers()[gone].data_dir()).unwrap();
    cluster.spawn(gone).unwrap();
    let name = format!("n{}", gone + 1);
    let address = cluster.address(gone).to_string();
    insist(&cluster, stays, &["cluster", "add", &name, &address]);
    insist(&cluster, stays, &["cluster", "promote", &name]);
    client.batch_execute("INSERT INTO t VALUES (4)").await.unwrap();
    until("the rows are there", || async {
        let Ok(client) = at_itself(&cluster, gone).await else { return false };
        client.value("SELECT sum(a) FROM t").await.is_ok_and(|sum| sum == "10")
    })
    .await;
}

/// Voters become learners and voters again, leaders hand over, a fourth comes and goes.
#[test]
fn members_that_change_all_the_time_cost_nothing_that_was_acknowledged() {
    let options = super::faults::options().with_grpc();
    let mut cluster = Cluster::start(&options).unwrap();
    let load = Load::start(&cluster, 2, rand::random());
    load.progress(20, "at first");
    for round in 0..3 {
        let leader = cluster.leader().unwrap();
        let other = format!("n{}", (leader + 1 + round % 2) % 3 + 1);
        insist(&cluster, leader, &["cluster", "demote", &other]);
        load.progress(10, "with two voters");
        insist(&cluster, leader, &["cluster", "promote", &other]);
        load.progress(10, "with three voters");
        insist(&cluster, leader, &["cluster", "transfer", &other]);
        load.progress(10, "behind the transfer");
    }
    let (name, address) = cluster.another(&options, 0).unwrap();
    insist(&cluster, 1, &["cluster", "add", &name, &address.to_string()]);
    cluster.server(3).wait_ready().unwrap();
    insist(&cluster, 1, &["cluster", "promote", &name]);
    load.progress(20, "with a fourth");
    insist(&cluster, 1, &["cluster", "demote", &name]);
    insist(&cluster, 1, &["cluster", "remove", &name]);
    load.progress(20, "without it");
    load.check();
}
