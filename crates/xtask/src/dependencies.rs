//! Arrows point one way: protocols -> engine -> {query, consensus, streams} -> {storage, plan, log} -> types.

use std::collections::BTreeSet;

use crate::Finding;
use crate::tree::Tree;

/// What a protocol crate may use of the server: it converts, calls the engine and converts back.
const PROTOCOL_MAY_USE: [&str; 13] = [
    "perigee-api",
    "perigee-copy",
    "perigee-door",
    "perigee-engine",
    "perigee-plan",
    "perigee-query",
    "perigee-types",
    "perigee-security",
    "perigee-streams",
    "perigee-telemetry",
    "perigee-config",
    "perigee-keyspace",
    "perigee-runtime",
];

/// Crates with what they may use of the server; crates at the edge (the binary, tests, tools) are free.
const LAYERS: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("runtime", &["types"]),
    ("config", &[]),
    ("telemetry", &[]),
    ("security", &[]),
    ("log", &["types", "runtime"]),
    ("consensus", &["types", "runtime", "log", "telemetry"]),
    ("storage", &["types", "runtime", "telemetry"]),
    ("backup", &["types", "runtime", "log", "consensus", "storage"]),
    ("streams", &["types", "storage"]),
    ("keyspace", &["types", "runtime", "storage", "telemetry"]),
    ("plan", &["types"]),
    ("iceberg", &[]),
    ("query", &["types", "runtime", "storage", "keyspace", "plan", "telemetry"]),
    (
        "engine",
        &[
            "types",
            "runtime",
            "log",
            "consensus",
            "backup",
            "storage",
            "streams",
            "keyspace",
            "plan",
            "query",
            "security",
            "telemetry",
            "config",
            "iceberg",
        ],
    ),
    ("api", &[]),
    ("copy", &["types", "plan", "engine"]),
    ("door", &["types", "plan", "engine", "copy", "security", "telemetry"]),
];

/// Each protocol crate uses the engine and what travels through it, and no other protocol.
#[must_use]
pub fn protocols(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, text) in tree.files().filter(|(file, _)| file.starts_with("protocols/") && file.ends_with("Cargo.toml"))
    {
        for name in used(file, text, &mut findings) {
            if !PROTOCOL_MAY_USE.contains(&name.as_str()) {
                findings.push(Finding::error(file, 0, format!("a protocol must not depend on {name}")));
            }
        }
    }
    findings
}

/// Each inner crate uses only what lies below it.
#[must_use]
pub fn layers(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (layer, below) in LAYERS {
        let file = format!("crates/{layer}/Cargo.toml");
        let Some(text) = tree.file(&file) else { continue };
        for name in used(&file, text, &mut findings) {
            let below_it = name.strip_prefix("perigee-").is_some_and(|name| below.contains(&name));
            if !below_it {
                findings.push(Finding::error(&file, 0, format!("{layer} must not depend on {name}")));
            }
        }
    }
    findings
}

/// Crates of the server that a manifest's `[dependencies]` name. Tests may use more.
fn used(file: &str, text: &str, findings: &mut Vec<Finding>) -> BTreeSet<String> {
    match text.parse::<toml::Table>() {
        Ok(manifest) => {
            let names = manifest.get("dependencies").and_then(toml::Value::as_table);
            names
                .into_iter()
                .flat_map(|table| table.keys())
                .filter(|name| name.starts_with("perigee"))
                .cloned()
                .collect()
        }
        Err(error) => {
            findings.push(Finding::error(file, 0, format!("not TOML: {error}")));
            BTreeSet::new()
        }
    }
}

/// ring is the only crypto provider: two of them make rustls panic, and the others need more than a Rust toolchain.
#[must_use]
pub fn crypto(tree: &Tree) -> Vec<Finding> {
    let banned = ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"];
    let lines = tree.file("Cargo.lock").unwrap_or_default().lines().enumerate();
    lines
        .filter_map(|(number, line)| {
            let name = line.strip_prefix("name = \"")?.strip_suffix('"')?;
            banned.contains(&name).then(|| Finding::error("Cargo.lock", number + 1, format!("{name} is banned")))
        })
        .collect()
}

/// Two versions of these would not fit together: the types of one are not those of the other.
#[must_use]
pub fn once(tree: &Tree) -> Vec<Finding> {
    let mut seen = BTreeSet::new();
    let lines = tree.file("Cargo.lock").unwrap_or_default().lines().enumerate();
    lines
        .filter_map(|(number, line)| {
            let name = line.strip_prefix("name = \"")?.strip_suffix('"')?;
            let once = matches!(name, "arrow" | "datafusion" | "tokio" | "rustls" | "sqlparser" | "tonic" | "prost");
            let twice = once && !seen.insert(name);
            twice.then(|| Finding::error("Cargo.lock", number + 1, format!("a second version of {name}")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_that_reaches_below_the_engine_is_found() {
        let tree = Tree::of(&[(
            "protocols/pgwire/Cargo.toml",
            "[dependencies]\nperigee-engine.workspace = true\nperigee-storage = { workspace = true }\nbytes = \"1\"\n\
             [dev-dependencies]\nperigee-log.workspace = true\n",
        )]);
        let found = protocols(&tree);
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("perigee-storage"));
    }

    #[test]
    fn an_arrow_upwards_is_found() {
        let tree = Tree::of(&[
            ("crates/log/Cargo.toml", "[dependencies]\nperigee-types.workspace = true\n"),
            ("crates/storage/Cargo.toml", "[dependencies]\nperigee-engine.workspace = true\n"),
        ]);
        let found = layers(&tree);
        assert_eq!(found.len(), 1);
        assert!(found[0].text.contains("storage must not depend on perigee-engine"));
    }

    #[test]
    fn a_second_arrow_is_found() {
        let tree = Tree::of(&[("Cargo.lock", "name = \"arrow\"\nname = \"syn\"\nname = \"syn\"\nname = \"arrow\"\n")]);
        assert_eq!(once(&tree), [Finding::error("Cargo.lock", 4, "a second version of arrow")]);
    }

    #[test]
    fn another_crypto_provider_is_found() {
        let tree = Tree::of(&[("Cargo.lock", "[[package]]\nname = \"ring\"\n[[package]]\nname = \"aws-lc-rs\"\n")]);
        assert_eq!(crypto(&tree), [Finding::error("Cargo.lock", 4, "aws-lc-rs is banned")]);
    }
}
