//! The examples in `docs/guide` do what the pages say.

use std::path::Path;

use perigee_testkit::slt;

/// The blocks of a page that are marked `slt`, one behind the other.
fn examples(page: &str) -> String {
    let mut examples = String::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```slt" => inside = true,
            "```" => {
                inside = false;
                examples.push('\n');
            }
            line if inside => {
                examples.push_str(line);
                examples.push('\n');
            }
            _ => {}
        }
    }
    examples
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_example_of_the_guide_runs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide");
    let mut pages: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    let mut run = 0;
    for page in pages {
        let examples = examples(&std::fs::read_to_string(&page).unwrap());
        if examples.trim().is_empty() {
            continue;
        }
        let server = tokio::task::block_in_place(perigee_tests::server);
        let file = server.scratch().join("examples.slt");
        std::fs::write(&file, examples).unwrap();
        if let Err(error) = slt::run_file(server.pg(), "perigee", &file).await {
            panic!("{}:\n{error}", page.display());
        }
        run += 1;
    }
    assert!(run > 0);
}
