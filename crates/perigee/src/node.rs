//! The life of a node.
//!
//! ```text
//! configuration -> data directory (lock) -> listeners bound, operations door open (/health: starting)
//!   -> recovery -> doors open (/health: ok, /ready) -> SIGTERM | SIGINT | failure
//!   -> doors closed -> sessions end -> final checkpoint -> log closed
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use perigee_config::{Address, Config, GRPC_DEFAULT, Layers, LogFormat, REST_DEFAULT};
use perigee_door::{Door, DoorOptions};
use perigee_grpc::GrpcOptions;
use perigee_pgwire::{ForeignSessions, PgOptions, PgServer};
use perigee_resp::{RespOptions, RespServer};
use perigee_rest::{Origins, RestOptions};
use perigee_runtime::{Runtime, SystemFiles};
use perigee_security::{ServerTls, TrustedProxies};
use perigee_telemetry::{LogFile, LogLevel, Metrics, logs, trace};
use perigee_types::LogIndex;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::assembly::{Assembly, Overrides, SHARED_CORES};
use crate::banner;
use crate::cli::NodeArguments;
use crate::config_command;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::gateway::OpenDoors;
use crate::open_files;
use crate::ops;
use crate::redis_door::RedisHost;
use crate::reload::{self, DoorsTls, Reload};
use crate::repair;
use crate::report::Report;
use crate::shutdown::StopSignals;
use crate::status::Status;
use crate::traces::Receiver;

/// How long the end of a node waits until the receiver has its last traces.
const LAST_TRACES: std::time::Duration = std::time::Duration::from_secs(2);

/// Runs a node until it is told to stop.
pub(crate) fn run(arguments: &NodeArguments) -> Result<(), Failure> {
    let layers = arguments.settings.layers();
    let config = config_command::load_from(&layers)?;
    let format = match config.telemetry.format {
        LogFormat::Text => logs::LogFormat::Text,
        LogFormat::Json => logs::LogFormat::Json,
    };
    let lines = logs::init(&config.telemetry.level, format, log_file(&config).as_ref())?;
    let metrics = Metrics::install()?;
    open_files::share(config.sessions.max);
    let dir = DataDir::open(&SystemFiles, &config.node.data_dir(), arguments.clean)?;
    let overrides = Overrides {
        force_recover: arguments.force_recover,
        skip_entries: arguments.skip_entry.iter().copied().map(LogIndex).collect(),
    };
    let network = threads()?;
    let redis = redis_threads()?;
    let receiver = config.telemetry.receiver().map_err(Failure::Refused)?;
    let result = network.block_on(async {
        let ended = CancellationToken::new();
        let telling = receiver.map(|(authority, path)| {
            trace::enable(config.telemetry.trace_every);
            let receiver = Receiver { authority, path, node: config.node.id.clone() };
            tokio::spawn(receiver.run(ended.clone()))
        });
        let result = live(&config, layers, &dir, metrics, lines, &overrides, redis.handle()).await;
        ended.cancel();
        if let Some(telling) = telling {
            let _ = tokio::time::timeout(LAST_TRACES, telling).await;
        }
        result
    });
    // Connections that a client keeps open must not keep the process.
    network.shutdown_background();
    redis.shutdown_background();
    match result? {
        Ending::Stopped => Ok(()),
        Ending::Restart => Err(start_again()),
    }
}

/// The doors' own threads. The Redis door, queries, consensus and the log writer have theirs.
pub(crate) fn threads() -> Result<tokio::runtime::Runtime, Failure> {
    start_threads("network", None)
}

/// The Redis door's threads. A command takes less there than it costs to hand it to another thread: where cores are few there
/// is one, and consensus, which applies, has the other core.
fn redis_threads() -> Result<tokio::runtime::Runtime, Failure> {
    let are_few = std::thread::available_parallelism().is_ok_and(|cores| cores.get() <= SHARED_CORES);
    start_threads("redis", are_few.then_some(1))
}

/// So many threads, or one for each core.
fn start_threads(name: &str, count: Option<usize>) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(count) = count {
        builder.worker_threads(count);
    }
    builder
        .thread_name(name)
        .thread_stack_size(perigee_runtime::STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|error| Failure::fatal(format!("cannot start threads: {error}")))
}

/// Where log lines go, if not to standard error.
fn log_file(config: &Config) -> Option<LogFile> {
    let telemetry = &config.telemetry;
    let path = telemetry.file.clone()?;
    Some(LogFile { path, bytes_max: telemetry.file_size.bytes(), kept: telemetry.file_count })
}

/// How a node's life has ended.
enum Ending {
    /// It was told to.
    Stopped,
    /// What the others hold takes the place of what it held: a snapshot that it has received, or all of it.
    Restart,
}

/// Puts a new process in the place of this one, with the same number and the same arguments: nothing of the old state, in memory or
/// open, can live on beside the new one. Returns only when that fails.
fn start_again() -> Failure {
    use std::os::unix::process::CommandExt;
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // What was asked for the first start only was done then.
    command.args(arguments.filter(|argument| argument != "--clean"));
    Failure::fatal(format!("cannot start again: {}", command.exec()))
}

async fn live(
    config: &Config,
    layers: Layers,
    dir: &DataDir,
    metrics: Metrics,
    lines: LogLevel,
    overrides: &Overrides,
    redis_threads: &tokio::runtime::Handle,
) -> Result<Ending, Failure> {
    let plan = config.memory_plan()?;
    let mut signals = StopSignals::new()?;
    let reload_signals = reload::signals()?;
    // Read before recovery: what is wrong with it is told at once.
    let jwt = reload::jwt(&config.security)?;
    let tls = Arc::new(DoorsTls::load(&config.security)?);
    // Bound before recovery, so that an address in use is found at once.
    let ops_listener = bind("ops", &config.listen.ops).await?;
    let pg_listener = bind("pg", &config.listen.pg).await?;
    let redis_listener = bind("redis", &config.listen.redis).await?;
    let rest_listener = bind_unless_taken("rest", &config.listen.rest, REST_DEFAULT).await?;
    let grpc_listener = bind_unless_taken("grpc", &config.listen.grpc, GRPC_DEFAULT).await?;
    let cluster_listener = bind("cluster", &cluster_address(config)?).await?;
    let open = banner::Open {
        pg: address(pg_listener.as_ref()),
        redis: address(redis_listener.as_ref()),
        rest: address(rest_listener.as_ref()),
        grpc: address(grpc_listener.as_ref()),
        ops: address(ops_listener.as_ref()),
    };

    let status = Arc::new(Status::new(&config.node.id, metrics));
    if let Some(listener) = ops_listener {
        tokio::spawn(ops::serve(listener, Arc::clone(&status)));
    }

    let started = std::time::Instant::now();
    let starting = Assembly::start(config, &plan, dir, Runtime::system(), overrides, cluster_listener);
    let assembly = tokio::select! {
        assembly = starting => assembly,
        signal = signals.next() => {
            // Recovery only reads, apart from what is safe to repeat.
            tracing::info!(signal, "stopped during recovery");
            return Ok(Ending::Stopped);
        }
    };
    let assembly = match assembly {
        Err(Failure::Damaged(damage)) if repair::is_possible(config, overrides) => {
            return tokio::select! {
                set_aside = repair::run(config, dir, &damage) => set_aside.map(|()| Ending::Restart),
                signal = signals.next() => {
                    tracing::info!(signal, "stopped with damaged data, which is where it was");
                    Ok(Ending::Stopped)
                }
            };
        }
        assembly => assembly?,
    };
    tracing::info!(seconds = started.elapsed().as_secs_f64(), "recovered");
    let closing = CancellationToken::new();
    let doors = Arc::new(OpenDoors::new());
    let message_bytes_max = PgOptions::default().message_bytes_max;
    let engine = Arc::clone(assembly.engine());
    drop(doors.pg.set(ForeignSessions::new(Arc::clone(&engine), message_bytes_max, closing.clone())));
    drop(doors.engine.set(engine));
    drop(doors.gateway.set(assembly.gateway().clone()));
    let door = pg_listener
        .map(|listener| tokio::spawn(serve_pg(config, listener, tls.pg.clone(), &assembly, closing.clone())));
    let shutdown = Arc::new(Notify::new());
    let redis_door = match redis_listener {
        Some(listener) => {
            let total = plan.root.bytes();
            let listening = (listener, tls.redis.clone());
            let serving = serve_redis(config, listening, &assembly, total, &shutdown, closing.clone(), &doors)?;
            Some(redis_threads.spawn(serving))
        }
        None => None,
    };
    let door_options = DoorOptions {
        admin_token: token(&config.security.admin_token),
        read_only_token: token(&config.security.read_only_token),
        jwt,
        address_requests_per_minute: config.limits.address_requests_per_minute,
        identity_requests_per_minute: config.limits.identity_requests_per_minute,
        load_dir: dir.tmp().join("load"),
        load_bytes_max: config.limits.load_bytes_max.bytes(),
    };
    let shared = Door::new(Arc::clone(assembly.engine()), &door_options);
    let reload = Reload { layers, door: Arc::clone(&shared), tls: Arc::clone(&tls), lines };
    tokio::spawn(reload.run(reload_signals));
    let rest_door = rest_listener.map(|listener| {
        let shared = Arc::clone(&shared);
        tokio::spawn(serve_rest(config, listener, tls.rest.clone(), shared, closing.clone(), &doors))
    });
    let grpc_door = match grpc_listener {
        Some(listener) => {
            let listening = (listener, tls.grpc.clone());
            let report = Report::new(config, &status);
            Some(tokio::spawn(
                serve_grpc(config, listening, &assembly, (shared, report), closing.clone(), &doors).await,
            ))
        }
        None => None,
    };
    assembly.gateway().open(doors);
    status.serving(Arc::clone(&assembly));
    // Weak: the status has the assembly, and that the engine.
    let shown = Arc::downgrade(&status);
    assembly.engine().show_metrics(move || shown.upgrade().map(|status| status.metrics()).unwrap_or_default());
    banner::print(config, &plan, open);

    let result = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            Ok(())
        }
        () = shutdown.notified() => {
            tracing::info!("stopping: a client has sent SHUTDOWN");
            Ok(())
        }
        failure = assembly.failed() => Err(failure),
    };
    status.stopping();
    if result.is_err() && assembly.wants_restart() {
        return Ok(Ending::Restart);
    }
    if let Err(failure) = &result
        && assembly.has_diverged()?
    {
        tracing::error!(error = %failure, "this node is not what the leader attests: it stops, and starts again to be made anew");
        return Ok(Ending::Restart);
    }
    // What has failed cannot be closed in order; the log's own recovery is the way back.
    result?;
    assembly.hand_over().await;
    closing.cancel();
    if let Some(door) = redis_door {
        // The door has its own patience.
        let _ = door.await;
    }
    for door in [rest_door, grpc_door].into_iter().flatten() {
        // They too.
        let _ = door.await;
    }
    if let Some(door) = door {
        drain(config, &assembly, door, &mut signals).await;
    }
    tokio::select! {
        stopped = assembly.stop() => stopped?,
        signal = signals.next() => tracing::warn!(signal, "not waiting for the end of the graceful stop"),
    }
    tracing::info!("stopped");
    Ok(Ending::Stopped)
}

/// The PostgreSQL door.
fn serve_pg(
    config: &Config,
    listener: TcpListener,
    tls: Option<ServerTls>,
    assembly: &Arc<Assembly>,
    closing: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let options =
        PgOptions { tls, proxies: proxies(config), connections_max: config.sessions.max, ..PgOptions::default() };
    let engine = Arc::clone(assembly.engine());
    async move { PgServer::serve(listener, engine, options, closing).await }
}

/// The Redis door.
fn serve_redis(
    config: &Config,
    (listener, tls): (TcpListener, Option<ServerTls>),
    assembly: &Arc<Assembly>,
    memory_total: u64,
    shutdown: &Arc<Notify>,
    closing: CancellationToken,
    doors: &OpenDoors,
) -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let engine = assembly.engine();
    let keyspace = engine.keyspace().ok_or_else(|| Failure::fatal("the node has no keyspace"))?;
    let port = listener.local_addr().map_or(0, |address| address.port());
    let gateway = assembly.gateway().clone();
    let host = RedisHost::new(Arc::clone(engine), gateway, config, memory_total, port, Arc::clone(shutdown));
    let options = RespOptions { proxies: proxies(config), ..RespOptions::default() };
    let server = RespServer::new(Arc::clone(keyspace), Arc::new(host), options).map_err(Failure::fatal)?;
    drop(doors.redis.set(Arc::clone(&server)));
    Ok(async move { server.serve(listener, tls, closing).await })
}

/// The REST door.
fn serve_rest(
    config: &Config,
    listener: TcpListener,
    tls: Option<ServerTls>,
    shared: Arc<Door>,
    closing: CancellationToken,
    doors: &OpenDoors,
) -> impl Future<Output = ()> + Send + 'static {
    let origins = Origins::new(config.limits.origins());
    let options = RestOptions {
        tls,
        proxies: proxies(config),
        connections_max: config.sessions.max,
        origins,
        ..RestOptions::default()
    };
    let server = perigee_rest::server(shared, options, closing);
    drop(doors.rest.set(Arc::clone(&server)));
    server.serve(listener)
}

/// Who may say for whom it connects.
fn proxies(config: &Config) -> TrustedProxies {
    TrustedProxies::new(&config.security.trusted_proxies.0)
}

fn token(secret: &Option<perigee_config::Secret>) -> Option<String> {
    secret.as_ref().map(|secret| secret.reveal().to_owned())
}

/// The gRPC door.
async fn serve_grpc(
    config: &Config,
    (listener, tls): (TcpListener, Option<ServerTls>),
    assembly: &Arc<Assembly>,
    (shared, report): (Arc<Door>, Arc<Report>),
    closing: CancellationToken,
    doors: &OpenDoors,
) -> impl Future<Output = ()> + Send + 'static {
    let options = GrpcOptions {
        tls,
        proxies: proxies(config),
        connections_max: config.sessions.max,
        drain_timeout: RestOptions::default().drain_timeout,
    };
    let members = Arc::new(assembly.gateway().clone());
    let server = perigee_grpc::server(shared, config.node.id.clone(), members, report, options, closing).await;
    drop(doors.grpc.set(Arc::clone(&server)));
    server.serve(listener)
}

/// Lets open transactions end, for a while; what is still open then is ended.
async fn drain(
    config: &Config,
    assembly: &Arc<Assembly>,
    mut door: tokio::task::JoinHandle<()>,
    signals: &mut StopSignals,
) {
    let patience = config.sessions.stop_timeout.get().unwrap_or_default();
    tokio::select! {
        _ = &mut door => return,
        () = tokio::time::sleep(patience) => tracing::warn!("sessions are still open: they are ended"),
        signal = signals.next() => tracing::warn!(signal, "not waiting for open sessions"),
    }
    assembly.engine().sessions().close();
    let _ = tokio::time::timeout(std::time::Duration::from_secs(2), door).await;
}

/// Where other members find this node: as it was told, else at the address that the peers give it.
fn cluster_address(config: &Config) -> Result<Address, Failure> {
    let peers = &config.node.peers;
    if peers.voters(&config.node.id) == 1 {
        return Ok(Address::Off);
    }
    match (&config.listen.cluster, peers.0.get(&config.node.id)) {
        (Address::Off, Some(own)) => own.parse().map_err(Failure::Refused),
        (given, _) => Ok(given.clone()),
    }
}

async fn bind(door: &'static str, address: &Address) -> Result<Option<TcpListener>, Failure> {
    let Some(text) = address.get() else { return Ok(None) };
    let listener = TcpListener::bind(text).await;
    listener.map(Some).map_err(|source| Failure::Listen { door, address: text.to_owned(), source })
}

/// An address that nobody has chosen may be somebody else's: the door stays closed, and the database runs.
async fn bind_unless_taken(
    door: &'static str,
    address: &Address,
    default: &str,
) -> Result<Option<TcpListener>, Failure> {
    match bind(door, address).await {
        Err(Failure::Listen { source, .. }) if address.get() == Some(default) => {
            tracing::warn!(door, address = default, error = %source, "a door stays closed: its default address is taken");
            Ok(None)
        }
        other => other,
    }
}

fn address(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener.and_then(|listener| listener.local_addr().ok())
}
