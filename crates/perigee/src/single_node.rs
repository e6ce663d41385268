//! `perigee single-node`: a node without doors in this process, and statements on its data: typed at a prompt, or from a script.
//!
//! ```text
//! prompt --gRPC over a pipe in memory--> the services of the gRPC door --> engine
//! ```
//!
//! It is the node that `perigee node` runs, on the same folder, which is locked as always: what is acknowledged is durable, and `kill -9`
//! costs nothing of it.

use std::sync::Arc;

use perigee_config::{Address, Authentication, Config};
use perigee_door::http::HttpServer;
use perigee_door::{Door, DoorOptions};
use perigee_grpc::GrpcOptions;
use perigee_runtime::{Runtime, SystemFiles};
use perigee_telemetry::logs;
use tokio_util::sync::CancellationToken;

use crate::assembly::{Assembly, Overrides};
use crate::cli::SingleNodeArguments;
use crate::client;
use crate::config_command;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::node::threads;
use crate::report::Report;

/// Log lines where nobody has asked for others: a person reads results.
const QUIET: &str = "warn,audit=off";
/// Bytes on their way between prompt and node.
const PIPE_BYTES: usize = 256 << 10;

/// Starts the node, runs what there is to run, and stops it.
pub(crate) fn run(arguments: &SingleNodeArguments) -> Result<(), Failure> {
    let mut config = config_command::load(&arguments.settings)?;
    if config.node.peers.voters(&config.node.id) > 1 {
        return Err(Failure::Refused(
            "single-node: the settings name peers; a member of a cluster is run by perigee node".to_owned(),
        ));
    }
    close_doors(&mut config);
    let told = config.telemetry.level != Config::default().telemetry.level;
    let level = if told { &config.telemetry.level } else { QUIET };
    logs::init(level, logs::LogFormat::Text, None)?;
    let dir = DataDir::open(&SystemFiles, &config.node.data_dir(), false)?;
    let network = threads()?;
    let closing = CancellationToken::new();
    let (assembly, server) = network.block_on(start(&config, &dir, closing.clone()))?;
    let handle = network.handle().clone();
    let open = move || {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        handle.spawn(Arc::clone(&server).serve_within(far));
        near
    };
    let name = format!("{} in {}", config.node.id, config.node.data_dir().display());
    let ran = client::run_within(open, &name, &arguments.script);
    closing.cancel();
    let stopped = network.block_on(assembly.stop());
    network.shutdown_background();
    ran.and(stopped)
}

/// Nobody comes from outside, so nobody is asked who it is: who may read the folder has its data.
fn close_doors(config: &mut Config) {
    let listen = &mut config.listen;
    for door in
        [&mut listen.pg, &mut listen.redis, &mut listen.rest, &mut listen.grpc, &mut listen.cluster, &mut listen.ops]
    {
        *door = Address::Off;
    }
    config.security.authentication = Authentication::Trust;
}

async fn start(
    config: &Config,
    dir: &DataDir,
    closing: CancellationToken,
) -> Result<(Arc<Assembly>, Arc<HttpServer>), Failure> {
    let plan = config.memory_plan()?;
    let assembly = Assembly::start(config, &plan, dir, Runtime::system(), &Overrides::default(), None).await?;
    let options = DoorOptions {
        load_dir: dir.tmp().join("load"),
        load_bytes_max: config.limits.load_bytes_max.bytes(),
        ..DoorOptions::default()
    };
    let door = Door::new(Arc::clone(assembly.engine()), &options);
    let members = Arc::new(assembly.gateway().clone());
    let (report, options) = (Report::alone(config), GrpcOptions::default());
    let server = perigee_grpc::server(door, config.node.id.clone(), members, report, options, closing).await;
    Ok((assembly, server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_door_is_open() {
        let mut config = Config::default();
        config.security.authentication = Authentication::ScramSha256;
        close_doors(&mut config);
        let text = toml::Table::try_from(&config).unwrap();
        let listen = text["listen"].as_table().unwrap();
        assert!(listen.values().all(|address| address.as_str() == Some("off")), "{listen}");
        assert_eq!(config.security.authentication, Authentication::Trust);
    }
}
