//! The examples of README and guide, as a person would type them.

use std::path::Path;
use std::process::Command;

use super::server;

/// The commands of a page's blocks that are marked `curl`, each with what it prints.
fn examples(page: &str) -> Vec<(String, String)> {
    let mut examples: Vec<(String, String)> = Vec::new();
    let (mut inside, mut goes_on) = (false, false);
    for line in page.lines() {
        match (line, inside) {
            ("```curl", _) => inside = true,
            ("```", _) => inside = false,
            (_, false) => continue,
            (line, true) => {
                if let Some(command) = line.strip_prefix("$ ") {
                    examples.push((command.to_owned(), String::new()));
                } else if let Some((command, printed)) = examples.last_mut() {
                    let text = if goes_on { command } else { printed };
                    text.push_str(line);
                    text.push('\n');
                }
                goes_on = line.ends_with('\\');
                if goes_on && line.starts_with("$ ") {
                    examples.last_mut().unwrap().0.push('\n');
                }
            }
        }
    }
    examples
}

#[test]
fn every_example_does_what_the_page_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for page in ["README.md", "docs/guide/rest.md", "docs/operations.md"] {
        let server = server();
        let examples = examples(&std::fs::read_to_string(root.join(page)).unwrap());
        assert!(examples.len() > 2, "{page}: {examples:?}");
        for (command, printed) in examples {
            let command = command.replace("127.0.0.1:8080", &server.rest().to_string());
            let command = command.replace("127.0.0.1:9090", &server.ops().to_string());
            let output = Command::new("bash").args(["-c", &command]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(text.trim_end(), printed.trim_end(), "{page}: {command}\n{error}");
        }
    }
}
