//! Every setting with its default. `config/perigee.toml` says what each is for in a user's words.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Address, ByteSize, Networks, Peers, Secret, Span};

/// The whole configuration of a node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who the node is and where its data lies.
    pub node: Node,
    /// Where the doors listen.
    pub listen: Listen,
    /// How much memory there is for what.
    pub memory: Memory,
    /// The log: durability and files.
    pub log: Log,
    /// Tables: checkpoints, tiers, disk.
    pub storage: Storage,
    /// Rows in an object store.
    pub cold: Cold,
    /// Backups that are made unasked.
    pub backup: Backup,
    /// Queries.
    pub query: Query,
    /// Sessions.
    pub sessions: Sessions,
    /// Who may come in.
    pub security: Security,
    /// How much anybody may ask of REST and gRPC.
    pub limits: Limits,
    /// What the node says about itself.
    pub telemetry: Telemetry,
}

/// `[node]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Node {
    /// The node's name in its cluster.
    pub id: String,
    /// The node's own folder; `./data/<id>` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// The members of the cluster; empty for a single node.
    pub peers: Peers,
    /// How often a leader speaks.
    pub heartbeat: Span,
    /// A member that has heard no leader for this long, at most twice as long, asks for votes.
    pub election_timeout: Span,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            id: "n1".to_owned(),
            data_dir: None,
            peers: Peers::default(),
            heartbeat: Span::from_millis(50),
            election_timeout: Span::from_millis(150),
        }
    }
}

impl Node {
    /// The node's own folder.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| PathBuf::from("data").join(&self.id))
    }
}

/// Where the REST door listens when nobody says.
pub const REST_DEFAULT: &str = "127.0.0.1:8080";
/// Where the gRPC door listens when nobody says.
pub const GRPC_DEFAULT: &str = "127.0.0.1:8000";

/// `[listen]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// PostgreSQL's protocol.
    pub pg: Address,
    /// Redis's protocol.
    pub redis: Address,
    /// REST and the web console.
    pub rest: Address,
    /// gRPC.
    pub grpc: Address,
    /// The other members of the cluster.
    pub cluster: Address,
    /// Health, readiness, metrics.
    pub ops: Address,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            pg: Address::At("127.0.0.1:5432".to_owned()),
            redis: Address::At("127.0.0.1:6379".to_owned()),
            rest: Address::At(REST_DEFAULT.to_owned()),
            grpc: Address::At(GRPC_DEFAULT.to_owned()),
            cluster: Address::Off,
            ops: Address::At("127.0.0.1:9090".to_owned()),
        }
    }
}

impl Listen {
    /// All doors by name.
    #[must_use]
    pub fn doors(&self) -> [(&'static str, &Address); 6] {
        [
            ("pg", &self.pg),
            ("redis", &self.redis),
            ("rest", &self.rest),
            ("grpc", &self.grpc),
            ("cluster", &self.cluster),
            ("ops", &self.ops),
        ]
    }
}

/// `[memory]`; the rules are [`crate::MemoryPlan`]'s.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// The root budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<ByteSize>,
    /// Its hot share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hot: Option<ByteSize>,
}

/// `[cold]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cold {
    /// The object store: `file:///folder`, `s3://bucket/path`, `az://container/path`, `gs://bucket/path`; `cold/` in the
    /// node's own folder when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A folder is one mount of all members.
    #[serde(deserialize_with = "crate::lenient::boolean")]
    pub shared: bool,
    /// Cold rows are exported as Iceberg tables, for others to read.
    #[serde(deserialize_with = "crate::lenient::boolean")]
    pub iceberg: bool,
}

impl Default for Cold {
    fn default() -> Self {
        Self { url: None, shared: false, iceberg: true }
    }
}

/// `[backup]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backup {
    /// Where the log is archived and base backups go: `file:///folder`, `s3://bucket/path`, `az://container/path`,
    /// `gs://bucket/path`; nothing is backed up unasked when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How far the archive is behind, at most, while the store answers.
    pub interval: Span,
    /// Time between two base backups; `off` for the first one only.
    pub base_interval: Span,
    /// How much of the log is kept at most for an archive that is behind.
    pub log_keep: ByteSize,
}

impl Default for Backup {
    fn default() -> Self {
        Self {
            url: None,
            interval: Span::from_secs(1),
            base_interval: Span::from_secs(86_400),
            log_keep: ByteSize::mb(4096),
        }
    }
}

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// After its log entry is on disk.
    #[default]
    Fsync,
    /// At once; its log entry is on disk at most `sync_interval` later. One voter only.
    Interval,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// When a write is acknowledged.
    pub durability: Durability,
    /// With durability `interval`: how much time a power loss may cost.
    pub sync_interval: Span,
    /// Size of a segment file.
    pub segment_size: ByteSize,
    /// How much of the log is kept for who follows the change feed, also behind checkpoints.
    pub feed_retention: ByteSize,
    /// Entries kept behind the last checkpoint, for members of the cluster that are a little behind.
    #[serde(deserialize_with = "crate::lenient::number")]
    pub keep_entries: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            sync_interval: Span::from_secs(1),
            segment_size: ByteSize::mb(64),
            feed_retention: ByteSize::mb(128),
            keep_entries: 10_000,
        }
    }
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// How much changed data forces a checkpoint.
    pub checkpoint_size: ByteSize,
    /// How old changed data may get before a checkpoint; a node without changes makes none.
    pub checkpoint_interval: Span,
    /// How long rows stay in memory while there is room; `off` for as long as there is room.
    pub hot_retention: Span,
    /// Writes are refused when less disk is free than this; by default 2 % of it, at least 256 MB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_reserve: Option<ByteSize>,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            checkpoint_size: ByteSize::mb(64),
            checkpoint_interval: Span::from_secs(60),
            hot_retention: Span::OFF,
            disk_reserve: None,
        }
    }
}

/// `[query]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Query {
    /// Threads for queries; 0 for one per processor.
    #[serde(deserialize_with = "crate::lenient::number")]
    pub threads: usize,
    /// How much of the disk queries may use for what does not fit their memory.
    pub spill_size: ByteSize,
}

impl Default for Query {
    fn default() -> Self {
        Self { threads: 0, spill_size: ByteSize::mb(100 << 10) }
    }
}

/// `[sessions]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sessions {
    /// Sessions at a time; one more is refused with 53300.
    #[serde(deserialize_with = "crate::lenient::number")]
    pub max: usize,
    /// How long a graceful stop waits for open transactions.
    pub stop_timeout: Span,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { max: 500, stop_timeout: Span::from_secs(10) }
    }
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// Not at all. Listens on loopback only, unless `insecure` is set.
    #[default]
    Trust,
    /// By a password, with SCRAM-SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
}

impl Authentication {
    /// The name in configuration files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::ScramSha256 => "scram-sha-256",
        }
    }
}

/// `[security]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// How a client proves who it is.
    pub authentication: Authentication,
    /// The role that may do everything in a new data directory.
    pub superuser: String,
    /// Its password, or the `SCRAM-SHA-256$…` verifier of one; set at every start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superuser_password: Option<Secret>,
    /// A bearer token that acts as the superuser, over REST and gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_token: Option<Secret>,
    /// A bearer token that may read all tables and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_token: Option<Secret>,
    /// A secret that signs JSON Web Tokens (HS256), over REST and gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_secret: Option<Secret>,
    /// A file with that secret; white space around it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_secret_file: Option<PathBuf>,
    /// PEM file with a public key that tokens are signed for: RSA (RS256) or Ed25519 (EdDSA).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_public_key: Option<PathBuf>,
    /// A set of such keys, JSON (RFC 7517).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwks_file: Option<PathBuf>,
    /// What `iss` of a token has to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_issuer: Option<String>,
    /// What `aud` of a token has to be, or to hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jwt_audience: Option<String>,
    /// The claim that names the role.
    pub jwt_role_claim: String,
    /// PEM file with the server's certificate and its chain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// PEM file with an authority: clients have to show a certificate of it, beside what proves who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_client_authority: Option<PathBuf>,
    /// Proxies that are believed who their clients are: addresses and networks.
    pub trusted_proxies: Networks,
    /// Allows a public address without authentication.
    #[serde(deserialize_with = "crate::lenient::boolean")]
    pub insecure: bool,
    /// The authority whose certificates members of the cluster show each other, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_authority: Option<PathBuf>,
    /// This node's certificate for the cluster, made out to its name, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_certificate: Option<PathBuf>,
    /// Its key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_key: Option<PathBuf>,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            authentication: Authentication::Trust,
            superuser: "postgres".to_owned(),
            superuser_password: None,
            admin_token: None,
            read_only_token: None,
            jwt_secret: None,
            jwt_secret_file: None,
            jwt_public_key: None,
            jwks_file: None,
            jwt_issuer: None,
            jwt_audience: None,
            jwt_role_claim: "sub".to_owned(),
            tls_certificate: None,
            tls_key: None,
            tls_client_authority: None,
            trusted_proxies: Networks::default(),
            insecure: false,
            cluster_authority: None,
            cluster_certificate: None,
            cluster_key: None,
        }
    }
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Requests per minute of one address, over REST and gRPC; 0 for any number.
    #[serde(deserialize_with = "crate::lenient::number")]
    pub address_requests_per_minute: u32,
    /// Requests per minute of one identity: a role, an API key, a token of the configuration; 0 for any number.
    #[serde(deserialize_with = "crate::lenient::number")]
    pub identity_requests_per_minute: u32,
    /// Origins whose web pages may ask over REST, with commas between them; `*` for any.
    pub cors_origins: String,
    /// Bytes of what is loaded into a table at once over REST and gRPC, packed and unpacked.
    pub load_bytes_max: ByteSize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            address_requests_per_minute: 0,
            identity_requests_per_minute: 0,
            cors_origins: String::new(),
            load_bytes_max: ByteSize::mb(4 << 10),
        }
    }
}

impl Limits {
    /// The origins, one by one.
    pub fn origins(&self) -> impl Iterator<Item = &str> {
        self.cors_origins.split(',').map(str::trim).filter(|origin| !origin.is_empty())
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Which lines are written: a level, or a filter such as `info,perigee_storage=debug`.
    pub level: String,
    /// How they look.
    pub format: LogFormat,
    /// The file that they go to; standard error when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The size from which on another file is begun.
    pub file_size: ByteSize,
    /// How many full ones are kept.
    #[serde(deserialize_with = "crate::lenient::number")]
    pub file_count: u32,
    /// From which duration on a statement is logged, with the target `slow`; off for none.
    pub slow_statement: Span,
    /// Where traces go, as OTLP over HTTP: `http://HOST:PORT` or `http://HOST:PORT/PATH`. Not given: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
    /// One request out of so many is traced, of those whose clients do not say.
    #[serde(deserialize_with = "crate::lenient::number")]
    pub trace_every: u32,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
            file: None,
            file_size: ByteSize::mb(64),
            file_count: 8,
            slow_statement: Span::OFF,
            otlp_endpoint: None,
            trace_every: 1,
        }
    }
}

impl Telemetry {
    /// Host and port of the receiver of traces, and the path there.
    ///
    /// # Errors
    /// What is wrong with the endpoint.
    pub fn receiver(&self) -> Result<Option<(String, String)>, String> {
        let Some(text) = &self.otlp_endpoint else { return Ok(None) };
        let wrong = |why: &str| format!("telemetry.otlp_endpoint is {text:?}: {why}");
        // A collector stands beside the node, and speaks TLS to the world.
        let rest = text.strip_prefix("http://").ok_or_else(|| wrong("give http://HOST:PORT"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        match authority.parse::<crate::Address>() {
            Ok(crate::Address::At(_)) => {}
            Ok(crate::Address::Off) | Err(_) => return Err(wrong("give http://HOST:PORT")),
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("its path is none"));
        }
        let path = if path.is_empty() { "v1/traces" } else { path };
        Ok(Some((authority.to_owned(), format!("/{path}"))))
    }
}
