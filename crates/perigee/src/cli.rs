//! The command line. Scripts depend on it: names and meanings stay.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use perigee_config::Layers;

/// A database server for data that has a time.
#[derive(Debug, Parser)]
#[command(name = "perigee", version, about, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node until SIGTERM or SIGINT.
    Node(NodeArguments),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look at the log.
    #[command(subcommand)]
    Log(LogCommand),
    /// Ask a running node over its gRPC door.
    Admin(AdminArguments),
    /// Send statements to a node over its gRPC door: typed at a prompt, or from a script.
    Client(ClientArguments),
    /// Run statements on a data directory that no node runs on: in this process, without ports.
    SingleNode(SingleNodeArguments),
    /// Print what a shell needs to complete this command line.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Ask a node's operations door whether it can serve: exit code 0, or 1 with the reason.
    Ready(ReadyArguments),
    /// Make backups of a running node, look at them, remove old ones.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Make a node's folder out of a backup: a new cluster, with this node as its only member.
    Restore(RestoreArguments),
    /// Make the certificates that members of a cluster prove themselves with.
    #[command(subcommand)]
    Cert(CertCommand),
}

/// `perigee backup …`
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Ask a running node for a base backup. Where backup.url is set the node makes them by itself, and archives its log.
    Create {
        #[command(flatten)]
        node: NodePlace,
        /// Where to: file:///folder, s3://bucket/path, az://container/path or gs://bucket/path [default: the node's backup.url].
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// Say what backups there are, and up to where the archived log brings them.
    List(BackupPlace),
    /// Read everything and compare all checksums.
    Verify(BackupPlace),
    /// Remove old backups, the log before the oldest that stays, and cold files that only they need.
    Prune {
        #[command(flatten)]
        place: BackupPlace,
        /// How many backups stay.
        #[arg(long, value_name = "COUNT")]
        keep: usize,
        /// What is younger stays: it may belong to a backup that is being made.
        #[arg(long, value_name = "DURATION", default_value = "1d")]
        grace: String,
    },
}

/// Where backups are.
#[derive(Debug, Args)]
pub(crate) struct BackupPlace {
    /// The place: file:///folder, s3://bucket/path, az://container/path or gs://bucket/path.
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// The cluster, where there are backups of several.
    #[arg(long, value_name = "ID")]
    pub(crate) cluster: Option<String>,
}

/// `perigee restore`
#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    #[command(flatten)]
    pub(crate) place: BackupPlace,

    /// Begin with this backup [default: the newest that is not behind the target].
    #[arg(long, value_name = "NAME")]
    pub(crate) backup: Option<String>,

    /// Restore what was committed up to this time, such as 2026-01-31T12:00:00Z [default: everything].
    #[arg(long, value_name = "TIME", conflicts_with = "to_index")]
    pub(crate) to_time: Option<String>,

    /// Restore up to this entry of the log.
    #[arg(long, value_name = "INDEX")]
    pub(crate) to_index: Option<u64>,

    /// Empty the folder first.
    #[arg(long)]
    pub(crate) force: bool,

    #[command(flatten)]
    pub(crate) settings: SettingArguments,
}

/// `perigee client`. Exit codes: 0, 1 for a statement that has failed, 2 for a wrong command line or a node that cannot be reached.
#[derive(Debug, Args)]
pub(crate) struct ClientArguments {
    /// Where the node's gRPC door listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8000")]
    address: String,

    /// A role; the environment has the password (PGPASSWORD). Without one PERIGEE_ADMIN_TOKEN is sent, where it is there.
    #[arg(long, short = 'U', value_name = "NAME")]
    user: Option<String>,

    #[command(flatten)]
    tls: TlsArguments,

    /// Keep statements in this file until the node has done them, each once and in their order; what waits there goes first.
    #[arg(long, value_name = "FILE")]
    pub(crate) queue: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) script: ScriptArguments,
}

/// What runs, and how its results are shown. Without `-e` and `-f` a prompt, or what standard input says.
#[derive(Debug, Args)]
pub(crate) struct ScriptArguments {
    /// The database [default: postgres].
    #[arg(long, short = 'd', value_name = "NAME")]
    pub(crate) database: Option<String>,

    /// Run these statements and end. May be given several times.
    #[arg(long, short = 'e', value_name = "SQL")]
    pub(crate) execute: Vec<String>,

    /// Run a file's statements and end; - is standard input. May be given several times.
    #[arg(long, short = 'f', value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,

    /// How results are shown.
    #[arg(long, value_enum, default_value_t = ResultForm::Table)]
    pub(crate) format: ResultForm,

    /// Show so many rows of a result, and count the rest.
    #[arg(long, value_name = "COUNT")]
    pub(crate) rows_max: Option<u64>,

    /// Say how long each statement took.
    #[arg(long)]
    pub(crate) timing: bool,
}

impl ClientArguments {
    /// The node that is asked.
    pub(crate) fn node(&self) -> NodePlace {
        NodePlace { address: self.address.clone(), user: self.user.clone(), tls: self.tls.clone() }
    }
}

/// `perigee single-node`. Exit codes: those of `perigee client` for statements, those of `perigee node` for its start.
#[derive(Debug, Args)]
pub(crate) struct SingleNodeArguments {
    #[command(flatten)]
    pub(crate) settings: SettingArguments,

    #[command(flatten)]
    pub(crate) script: ScriptArguments,
}

/// `--format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResultForm {
    /// A box.
    Table,
    /// An array of objects.
    Json,
    /// CSV with a line of names.
    Csv,
}

/// `perigee ready`
#[derive(Debug, Args)]
pub(crate) struct ReadyArguments {
    /// Where the node's operations door listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9090")]
    pub(crate) address: String,

    /// Only the node that takes writes is ready.
    #[arg(long)]
    pub(crate) leader: bool,

    /// Ask again until it is ready, for so long: 30s, 5min.
    #[arg(long, value_name = "DURATION")]
    pub(crate) wait: Option<String>,
}

/// `perigee cert …`
#[derive(Debug, Subcommand)]
pub(crate) enum CertCommand {
    /// Make a cluster's authority: authority.crt, and its key, which signs for the members.
    Authority {
        /// Where to. Made when it is not there.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Leave alone what is there already, and say so; else it is an error.
        #[arg(long)]
        missing: bool,
    },
    /// Make a certificate and a key for each node, signed with the key in DIR/authority.key.
    Node {
        /// Where the authority is, and where to.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Leave alone what is there already, and say so; else it is an error.
        #[arg(long)]
        missing: bool,
        /// Names of nodes, as in --peers.
        #[arg(required = true)]
        name: Vec<String>,
    },
}

/// A running node, and who asks it: a superuser. Without a user the token in `PERIGEE_ADMIN_TOKEN` (or
/// `PERIGEE_SECURITY__ADMIN_TOKEN`) is sent, where there is one.
#[derive(Debug, Args)]
pub(crate) struct NodePlace {
    /// Where the node's gRPC door listens.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) address: String,

    /// A superuser; the environment has the password (PGPASSWORD).
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    #[command(flatten)]
    pub(crate) tls: TlsArguments,
}

/// How TLS is spoken with a node, if it is.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct TlsArguments {
    /// Speak TLS with a node whose certificate is of this authority (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_authority: Option<PathBuf>,

    /// Show this certificate (PEM) to a node that asks for one.
    #[arg(long, value_name = "FILE", requires = "tls_authority", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,

    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// `perigee admin`
#[derive(Debug, Args)]
pub(crate) struct AdminArguments {
    #[command(flatten)]
    pub(crate) node: NodePlace,

    /// How the answer is shown: for people, or as JSON.
    #[arg(long, value_enum, global = true, default_value_t = AnswerForm::Text)]
    pub(crate) format: AnswerForm,

    /// What to ask.
    #[command(subcommand)]
    pub(crate) command: AdminCommand,
}

/// `perigee admin --format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AnswerForm {
    /// Lines for people.
    Text,
    /// One JSON value.
    Json,
}

/// `perigee admin …`
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Where the node stands.
    Status,
    /// Check that log, catalog, rows and indexes agree. Reads everything; writes go on meanwhile.
    Verify {
        /// Only this table, as schema.table. May be given several times.
        #[arg(long, value_name = "TABLE")]
        table: Vec<String>,
        /// Leave out the log's files.
        #[arg(long)]
        skip_log: bool,
        /// Compare what all members of the cluster hold at one entry of the log, instead of looking at one node.
        #[arg(long, conflicts_with_all = ["table", "skip_log"])]
        cluster: bool,
    },
    /// Who is a member of the cluster, and who leads.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// API keys, which prove roles over REST and gRPC.
    #[command(subcommand)]
    Key(KeyCommand),
    /// What of each table is in memory, in the LSM and in the object store. With `migrate`: move a table's rows.
    Tier {
        /// The database.
        #[arg(long, short = 'd', value_name = "NAME", global = true)]
        database: Option<String>,
        #[command(subcommand)]
        command: Option<TierCommand>,
    },
    /// What is defined in a database.
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// Run files of statements, each in one transaction and once. Which were applied stands in table `perigee_migrations`.
    Migrate {
        /// The file; its name is what it is known by. May be given several times: they run in this order.
        #[arg(long, value_name = "FILE", required = true)]
        file: Vec<PathBuf>,
        /// The database.
        #[arg(long, short = 'd', value_name = "NAME")]
        database: Option<String>,
    },
    /// What helps to find out what is the matter with a node.
    #[command(subcommand)]
    Diagnostics(DiagnosticsCommand),
}

/// `perigee admin … tier …`
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum TierCommand {
    /// The tiers of one table.
    Show {
        /// As schema.table.
        table: String,
    },
    /// Move the rows that a table has so far. Only cold is taken: between hot and warm they go by themselves.
    Migrate {
        /// As schema.table.
        table: String,
        /// hot, warm or cold.
        tier: String,
    },
}

/// `perigee admin … schema …`
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SchemaCommand {
    /// The statements that make it anew: types, sequences, tables, views, functions, indexes, constraints.
    Show {
        /// Only this table or view, as schema.table.
        table: Option<String>,
        /// The database.
        #[arg(long, short = 'd', value_name = "NAME")]
        database: Option<String>,
    },
}

/// `perigee admin … diagnostics …`
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DiagnosticsCommand {
    /// Write an archive (tar, gzip): configuration without secrets, version, status, metrics, members, tiers, sessions, statements, gaps, and
    /// the end of the log lines where they go to a file.
    Export {
        /// Where to; a file that is not there yet.
        file: PathBuf,
    },
}

/// `perigee admin … key …`
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key and print it, once.
    Create {
        /// The role that it proves.
        role: String,
        /// What people call it.
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// How long it lives: 12h, 90d [default: until it is revoked].
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<String>,
        /// Nothing is ever written with it.
        #[arg(long)]
        read_only: bool,
    },
    /// What keys there are.
    List,
    /// Revoke a key, from now on.
    Revoke {
        /// Its id, as the list has it.
        id: String,
    },
}

/// `perigee admin … cluster …`. Any node takes a change; the leader makes it.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// The members, as the node knows them.
    Status,
    /// Ask each member whether it is there; fail when one is not.
    Ping,
    /// Wait until there is a leader, and all voters are there and have applied what is committed.
    WaitHealthy {
        /// How long at most.
        #[arg(long, value_name = "DURATION", default_value = "60s")]
        timeout: String,
    },
    /// Let a node learn that was started with --peers that name a member.
    Add {
        /// Its name.
        name: String,
        /// Where other members reach it.
        #[arg(value_name = "HOST:PORT")]
        address: String,
    },
    /// Remove a member for good.
    Remove {
        /// Its name.
        name: String,
    },
    /// Let a learner vote that has caught up.
    Promote {
        /// Its name.
        name: String,
    },
    /// Take a voter's vote; it goes on learning.
    Demote {
        /// Its name.
        name: String,
    },
    /// Let another voter lead.
    Transfer {
        /// Its name.
        name: String,
    },
}

/// `perigee config …`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check file, environment and flags; say what is wrong.
    Check(SettingArguments),
    /// Print the settings that a node would run with, as TOML. Passwords are not printed.
    Print(SettingArguments),
}

/// `perigee log …`
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Recompute the hash chain of a data directory's log, from its first record to the last attestation and on.
    Verify(VerifyArguments),
}

/// `perigee log verify`
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The node's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
}

/// `perigee node`
#[derive(Debug, Args)]
pub(crate) struct NodeArguments {
    #[command(flatten)]
    pub(crate) settings: SettingArguments,

    /// Empty the data directory first. Refused for a folder that is not Perigee's.
    #[arg(long)]
    pub(crate) clean: bool,

    /// Go on as the only voter although the majority of the cluster is gone for good. What only they had is lost.
    #[arg(long)]
    pub(crate) force_recover: bool,

    /// Do not apply this log entry: the last resort when applying it ends the process. May be given several times.
    #[arg(long, value_name = "INDEX", requires = "i_lose_data")]
    pub(crate) skip_entry: Vec<u64>,

    /// Confirms that what --skip-entry skips is lost.
    #[arg(long, requires = "skip_entry")]
    pub(crate) i_lose_data: bool,
}

/// Flags that are settings. The file and the environment know more of them.
#[derive(Debug, Default, Args)]
pub(crate) struct SettingArguments {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Name of the node [default: n1].
    #[arg(long, value_name = "NAME")]
    id: Option<String>,

    /// The node's own folder [default: ./data/<id>].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,

    /// Where PostgreSQL's protocol listens, or "off" [default: 127.0.0.1:5432].
    #[arg(long, value_name = "HOST:PORT")]
    pg_address: Option<String>,

    /// Where Redis's protocol listens, or "off".
    #[arg(long, value_name = "HOST:PORT")]
    redis_address: Option<String>,

    /// Where REST listens, or "off" [default: 127.0.0.1:8080].
    #[arg(long, value_name = "HOST:PORT")]
    rest_address: Option<String>,

    /// Where gRPC listens, or "off" [default: 127.0.0.1:8000].
    #[arg(long, value_name = "HOST:PORT")]
    grpc_address: Option<String>,

    /// Where the node listens for the other members of the cluster, or "off".
    #[arg(long, value_name = "HOST:PORT")]
    cluster_address: Option<String>,

    /// Where /health, /ready and /metrics are served, or "off" [default: 127.0.0.1:9090].
    #[arg(long, value_name = "HOST:PORT")]
    ops_address: Option<String>,

    /// Members of the cluster: id=host:port,...
    #[arg(long, value_name = "PEERS")]
    peers: Option<String>,

    /// When a write is acknowledged [default: fsync].
    #[arg(long, value_enum)]
    durability: Option<DurabilityArgument>,

    /// The root memory budget [default: half of the machine's or control group's memory].
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,

    /// Its share for table data [default: half of the root]. Alone, it makes the root: SIZE + max(SIZE, 512MB).
    #[arg(long, value_name = "SIZE")]
    hot_memory: Option<String>,

    /// Allow a public address without authentication.
    #[arg(long)]
    insecure: bool,
}

/// `--durability`
#[derive(Clone, Copy, Debug, ValueEnum)]
enum DurabilityArgument {
    /// When its log entry is on disk.
    Fsync,
    /// At once; on disk within log.sync_interval. A single node only.
    Interval,
}

impl SettingArguments {
    /// File, environment and these flags.
    pub(crate) fn layers(&self) -> Layers {
        let durability = self.durability.map(|value| match value {
            DurabilityArgument::Fsync => "fsync".to_owned(),
            DurabilityArgument::Interval => "interval".to_owned(),
        });
        let flags = [
            ("--id", "node.id", self.id.clone()),
            ("--data-dir", "node.data_dir", self.data_dir.clone()),
            ("--pg-address", "listen.pg", self.pg_address.clone()),
            ("--redis-address", "listen.redis", self.redis_address.clone()),
            ("--rest-address", "listen.rest", self.rest_address.clone()),
            ("--grpc-address", "listen.grpc", self.grpc_address.clone()),
            ("--cluster-address", "listen.cluster", self.cluster_address.clone()),
            ("--ops-address", "listen.ops", self.ops_address.clone()),
            ("--peers", "node.peers", self.peers.clone()),
            ("--durability", "log.durability", durability),
            ("--memory", "memory.root", self.memory.clone()),
            ("--hot-memory", "memory.hot", self.hot_memory.clone()),
            ("--insecure", "security.insecure", self.insecure.then(|| "true".to_owned())),
        ];
        let given = flags.into_iter().filter_map(|(flag, setting, value)| Some((flag, setting, value?)));
        Layers::from_process(self.config.clone(), given.collect())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_that_scripts_use_is_there() {
        let line = "perigee node --id a --data-dir d --pg-address 127.0.0.1:1 --redis-address off --rest-address off \
             --grpc-address off --cluster-address off --ops-address 127.0.0.1:2 --peers a=h:1 --config f --clean \
             --durability interval --memory 1GB --hot-memory 256MB --insecure --force-recover --skip-entry 7 \
             --i-lose-data";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Node(arguments) = cli.command else { panic!("not a node") };
        assert!(arguments.clean && arguments.force_recover && arguments.i_lose_data);
        assert_eq!(arguments.skip_entry, [7]);
        let layers = arguments.settings.layers();
        assert_eq!(layers.flags.len(), 13);
        assert!(layers.file.is_some());
    }

    #[test]
    fn a_node_is_asked_over_its_address() {
        let cli = Cli::try_parse_from("perigee admin --address 127.0.0.1:1 verify --table s.t".split_whitespace());
        let Command::Admin(arguments) = cli.unwrap().command else { panic!("not admin") };
        assert_eq!(arguments.node.address, "127.0.0.1:1");
        assert!(
            matches!(arguments.command, AdminCommand::Verify { table, skip_log: false, cluster: false } if table == ["s.t"])
        );
        assert!(Cli::try_parse_from(["perigee", "admin", "status"]).is_err());
    }

    #[test]
    fn statements_run_on_a_folder_or_at_a_node() {
        let parse = |line: &str| Cli::try_parse_from(line.split_whitespace()).unwrap().command;
        let Command::SingleNode(alone) = parse("perigee single-node --data-dir d -e TABLE --format csv") else {
            panic!("not alone")
        };
        assert_eq!((alone.script.execute, alone.script.format), (vec!["TABLE".to_owned()], ResultForm::Csv));
        assert_eq!(alone.settings.layers().flags.len(), 1);
        let Command::Client(client) = parse("perigee client --address h:1 -d sales -f x.sql") else {
            panic!("no client")
        };
        assert_eq!((client.node().address.as_str(), client.script.database.as_deref()), ("h:1", Some("sales")));
    }

    #[test]
    fn a_cluster_is_asked_as_a_whole() {
        let parse = |line: &str| Cli::try_parse_from(format!("perigee admin --address h:1 {line}").split_whitespace());
        let asks = |line: &str| match parse(line).map(|cli| cli.command) {
            Ok(Command::Admin(arguments)) => format!("{:?}", arguments.command),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(asks("cluster ping"), "Cluster(Ping)");
        assert_eq!(asks("cluster wait-healthy"), "Cluster(WaitHealthy { timeout: \"60s\" })");
        assert_eq!(asks("cluster wait-healthy --timeout 2min"), "Cluster(WaitHealthy { timeout: \"2min\" })");
        assert!(asks("verify --cluster").contains("cluster: true"));
        assert!(parse("verify --cluster --table t").is_err());
    }

    #[test]
    fn operators_ask_for_tables_and_migrations() {
        let parse = |line: &str| Cli::try_parse_from(format!("perigee admin --address h:1 {line}").split_whitespace());
        let asks = |line: &str| match parse(line).map(|cli| cli.command) {
            Ok(Command::Admin(arguments)) => (arguments.format, format!("{:?}", arguments.command)),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(asks("tier"), (AnswerForm::Text, "Tier { database: None, command: None }".to_owned()));
        assert_eq!(asks("tier --format json").0, AnswerForm::Json);
        assert!(asks("tier migrate s.t cold -d sales").1.contains("database: Some(\"sales\")"));
        assert!(asks("schema show").1.contains("table: None") && asks("schema show s.t").1.contains("Some(\"s.t\")"));
        assert!(asks("migrate --file a.sql --file b.sql").1.contains("[\"a.sql\", \"b.sql\"]"));
        assert!(asks("diagnostics export x.tar.gz").1.contains("x.tar.gz"));
        assert!(parse("migrate").is_err() && parse("tier migrate s.t").is_err() && parse("tier --format xml").is_err());
    }

    #[test]
    fn an_entry_is_skipped_only_with_the_confirmation() {
        assert!(Cli::try_parse_from(["perigee", "node", "--skip-entry", "7"]).is_err());
        assert!(Cli::try_parse_from(["perigee", "node", "--i-lose-data"]).is_err());
        assert!(Cli::try_parse_from(["perigee", "node", "--durability", "async"]).is_err());
    }
}
