//! pgbench itself, from Debian: no error, and the sums agree. The long runs are in `integration/pgbench`.

use std::process::Command;

use perigee_testkit::Server;

fn pgbench(server: &Server, flags: &[&str]) -> String {
    let mut command = Command::new("pgbench");
    command.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &server.pg().to_string().replace("127.0.0.1:", "")]);
    let output = command.args(flags).arg("postgres").output().expect("pgbench is installed: see integration/tools");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "pgbench {flags:?}:\n{text}");
    text
}

async fn sums_agree(server: &Server) {
    let client = server.client().await.unwrap();
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches), \
         (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT coalesce(sum(delta), 0) FROM pgbench_history)";
    let rows = client.rows(sums).await.unwrap();
    assert!(rows[0].iter().all(|sum| *sum == rows[0][0] && sum.is_some()), "{rows:?}");
}

#[tokio::test]
async fn every_mode_runs_without_an_error() {
    let mut server = perigee_tests::server();
    pgbench(&server, &["-i", "-s", "1", "-q"]);
    for mode in ["simple", "extended", "prepared"] {
        pgbench(&server, &["-n", "-M", mode, "-S", "-c", "4", "-T", "2"]);
        let text = pgbench(&server, &["-n", "-M", mode, "-c", "8", "-T", "3"]);
        assert!(text.contains("number of failed transactions: 0 "), "{text}");
        sums_agree(&server).await;
    }
    server.kill();
    server.restart().unwrap();
    sums_agree(&server).await;
}
