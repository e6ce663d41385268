//! The `perigee` binary: command line, assembly of a node, signals.
//!
//! - `cli`: the command line; scripts depend on it
//! - `node`: the life of a node, from its data directory to its last fsync
//! - `assembly`: log, consensus, storage, engine and doors, put together
//! - `admin_command`: asks a running node over its gRPC door; `admin_json`: its answers for scripts
//! - `backup_command`: backups, and restores from them
//! - `client`: statements over the same door, from a prompt or a script
//! - `cert_command`: certificates for the members of a cluster
//! - `gateway`, `inquiry`: to the doors of other members, and what members ask each other for operators
//! - `health_command`: whether a cluster is healthy, over the same door
//! - `key_command`, `schema_command`, `diagnostics_command`: API keys; tiers, definitions and migrations; an archive for who
//!   helps; over the same door
//! - `full_disk`: a leader without room lets another one lead
//! - `repair`: a member whose data is damaged begins anew
//! - `ready_command`: whether a node can serve
//! - `report`: what of a node is in that archive and is not the engine's
//! - `reload`: what SIGHUP reads again
//! - `open_files`: how many connections leave files for the data
//! - `ops`, `threads`: health, readiness, metrics over HTTP; what threads do
//! - `failure`: why the process ends, and with which exit code

mod admin_command;
mod admin_json;
mod assembly;
mod backup_command;
mod banner;
mod cert_command;
mod checks;
mod cli;
mod client;
mod config_command;
mod data_dir;
mod diagnostics_command;
mod failure;
mod full_disk;
mod gateway;
mod health_command;
mod inquiry;
mod key_command;
mod log_command;
mod measure;
mod node;
mod open_files;
mod ops;
mod ready_command;
mod redis_door;
mod reload;
mod repair;
mod report;
mod schema_command;
mod shutdown;
mod single_node;
mod status;
mod threads;
mod traces;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::cli::{Cli, Command, ConfigCommand, LogCommand};

// The system's allocator fragments under many threads that free what others allocated.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What shells say of a process that SIGPIPE has ended.
const ENDED_BY_SIGPIPE: i32 = 128 + 13;

fn main() -> ExitCode {
    perigee_security::install_crypto_provider();
    let command = Cli::parse().command;
    if !matches!(command, Command::Node(_)) {
        end_with_the_reader();
    }
    let result = match command {
        Command::Node(arguments) => node::run(&arguments),
        Command::Config(ConfigCommand::Check(settings)) => config_command::check(&settings),
        Command::Config(ConfigCommand::Print(settings)) => config_command::print(&settings),
        Command::Log(LogCommand::Verify(arguments)) => log_command::verify(&arguments),
        Command::Admin(arguments) => admin_command::run(&arguments),
        Command::Client(arguments) => client::run(&arguments),
        Command::SingleNode(arguments) => single_node::run(&arguments),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "perigee", &mut std::io::stdout());
            Ok(())
        }
        Command::Ready(arguments) => ready_command::run(&arguments),
        Command::Backup(command) => backup_command::run(&command),
        Command::Restore(arguments) => backup_command::restore(&arguments),
        Command::Cert(command) => cert_command::run(&command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Whoever reads standard output may go before its end (`perigee … | head`). Other programs end by SIGPIPE then; here printing
/// panics.
fn end_with_the_reader() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        if text.starts_with("failed printing to stdout") && text.contains("Broken pipe") {
            std::process::exit(ENDED_BY_SIGPIPE);
        }
        usual(panic);
    }));
}
