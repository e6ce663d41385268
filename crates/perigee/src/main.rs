//! The `perigee` binary: command line, assembly of a node, signals.
//!
//! - `cli`: the command line; scripts depend on it
//! - `node`: the life of a node, from its data directory to its last fsync
//! - `assembly`: log, consensus, storage, engine and doors, put together
//! - `admin_command`: asks a running node over its gRPC door
//! - `backup_command`: backups, and restores from them
//! - `client`: statements over the same door, from a prompt or a script
//! - `cert_command`: certificates for the members of a cluster
//! - `gateway`, `inquiry`: to the doors of other members, and what members ask each other for operators
//! - `health_command`: whether a cluster is healthy, over the same door
//! - `key_command`: API keys, over the same door
//! - `repair`: a member whose data is damaged begins anew
//! - `ready_command`: whether a node can serve
//! - `reload`: what SIGHUP reads again
//! - `ops`: health, readiness, metrics over HTTP
//! - `failure`: why the process ends, and with which exit code

mod admin_command;
mod assembly;
mod backup_command;
mod banner;
mod cert_command;
mod cli;
mod client;
mod config_command;
mod data_dir;
mod failure;
mod gateway;
mod health_command;
mod inquiry;
mod key_command;
mod log_command;
mod measure;
mod node;
mod ops;
mod ready_command;
mod redis_door;
mod reload;
mod repair;
mod shutdown;
mod status;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::cli::{Cli, Command, ConfigCommand, LogCommand};

// The system's allocator fragments under many threads that free what others allocated.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    perigee_security::install_crypto_provider();
    let result = match Cli::parse().command {
        Command::Node(arguments) => node::run(&arguments),
        Command::Config(ConfigCommand::Check(settings)) => config_command::check(&settings),
        Command::Config(ConfigCommand::Print(settings)) => config_command::print(&settings),
        Command::Log(LogCommand::Verify(arguments)) => log_command::verify(&arguments),
        Command::Admin(arguments) => admin_command::run(&arguments),
        Command::Client(arguments) => client::run(&arguments),
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
