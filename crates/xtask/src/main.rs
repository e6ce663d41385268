//! `cargo run -p xtask -- tidy`

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::CHECKS;
use xtask::tree::Tree;

/// Checks of this repository.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every check and print what is wrong.
    Tidy,
}

fn main() -> ExitCode {
    let Command::Tidy = Cli::parse().command;
    let tree = match Tree::of_repository() {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("xtask: cannot read the repository: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut failed = false;
    for (name, check) in CHECKS {
        let findings = check(&tree);
        let errors = findings.iter().filter(|finding| finding.fatal).count();
        failed |= errors > 0;
        println!("{} {name}", if errors == 0 { "ok    " } else { "FAILED" });
        for finding in findings {
            println!("       {finding}");
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
