//! What BI tools and IDEs ask when they start, look around and draw: the statements of `tests/tools`, each as one query and as a
//! prepared statement.
//!
//! Above a statement stands what it has to give: `-- rows 3`, `-- rows some`, `-- shows` and a part of a value.

use std::path::Path;

use perigee_testkit::Client;

/// A statement, and what stands above it.
struct Asked {
    text: String,
    rows: Option<String>,
    shows: Vec<String>,
}

fn statements(file: &str) -> Vec<Asked> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let mut all = Vec::new();
    for block in text.split(";\n") {
        let (comments, lines): (Vec<&str>, Vec<&str>) = block.lines().partition(|line| line.starts_with("--"));
        let text = lines.join("\n").trim().to_owned();
        if text.is_empty() {
            continue;
        }
        let rows = comments.iter().find_map(|line| line.strip_prefix("-- rows ")).map(str::to_owned);
        let shows = comments.iter().filter_map(|line| line.strip_prefix("-- shows ")).map(str::to_owned).collect();
        all.push(Asked { text, rows, shows });
    }
    assert!(!all.is_empty(), "{file} has no statements");
    all
}

/// What is wrong with the answers to a tool's statements.
async fn faults(client: &Client, file: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for asked in statements(file) {
        let mut wrong = |what: String| faults.push(format!("{file}: {what}\n    {}", asked.text));
        let rows = match client.rows(&asked.text).await {
            Ok(rows) => rows,
            Err(error) => {
                wrong(format!("{:?}", error.as_db_error()));
                continue;
            }
        };
        match asked.rows.as_deref() {
            Some("some") if rows.is_empty() => wrong("no rows".to_owned()),
            None | Some("some") => {}
            Some(count) if rows.len().to_string() == count => {}
            Some(count) => wrong(format!("{} rows instead of {count}", rows.len())),
        }
        for part in &asked.shows {
            let is_shown = |value: &Option<String>| value.as_ref().is_some_and(|value| value.contains(part));
            if !rows.iter().flatten().any(is_shown) {
                wrong(format!("{part:?} is not shown"));
            }
        }
        // What changes something was asked for once already.
        let reads = ["SELECT", "WITH", "SHOW"].iter().any(|word| asked.text.starts_with(word));
        if reads {
            match client.query(&asked.text, &[]).await {
                Ok(again) if again.len() == rows.len() => {}
                Ok(again) => wrong(format!("{} rows when prepared, {} when not", again.len(), rows.len())),
                Err(error) => wrong(format!("prepared: {error} {:?}", error.as_db_error())),
            }
        }
    }
    faults
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_get_their_answers() {
    let server = tokio::task::block_in_place(perigee_tests::server);
    let client = Client::connect(server.pg()).await.unwrap();
    for asked in statements("setup.sql") {
        client.batch_execute(&asked.text).await.unwrap();
    }
    let mut all = Vec::new();
    for tool in ["metabase", "grafana", "superset", "dbeaver", "datagrip", "tableau", "npgsql"] {
        // Each begins as a session of its own.
        let client = Client::connect(server.pg()).await.unwrap();
        all.extend(faults(&client, &format!("{tool}.sql")).await);
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}
