//! The sections of INFO, with the names that clients and tools read.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use perigee_keyspace::DbId;
use perigee_types::Oid;

use crate::shared::Shared;

/// The version of Redis whose commands and replies these are.
pub const REDIS_VERSION: &str = "7.4.0";

/// `used_memory` is this and the keyspace.
pub(crate) use perigee_keyspace::MEMORY_BASE;

type Section = fn(&mut Report<'_>);

/// Sections, and whether INFO without arguments shows them.
const SECTIONS: &[(&str, bool, Section)] = &[
    ("server", true, server),
    ("clients", true, clients),
    ("memory", true, memory),
    ("persistence", true, persistence),
    ("stats", true, stats),
    ("replication", true, replication),
    ("cpu", true, cpu),
    ("modules", true, modules),
    ("commandstats", false, commandstats),
    ("errorstats", true, errorstats),
    ("latencystats", false, latencystats),
    ("cluster", true, cluster),
    ("keyspace", true, keyspace),
];

struct Report<'a> {
    shared: &'a Shared,
    tenant: Oid,
    text: String,
}

impl Report<'_> {
    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        // A String takes all that is written.
        let _ = write!(self.text, "{name}:{value}\r\n");
    }
}

/// The sections that are wanted; the usual ones when none is named.
pub(crate) fn report(shared: &Shared, tenant: Oid, wanted: &[String]) -> String {
    let mut report = Report { shared, tenant, text: String::new() };
    let all = wanted.iter().any(|word| word == "all" || word == "everything");
    let usual = wanted.is_empty() || wanted.iter().any(|word| word == "default");
    for (name, is_usual, section) in SECTIONS {
        if all || (usual && *is_usual) || wanted.iter().any(|word| word == name) {
            if !report.text.is_empty() {
                report.text.push_str("\r\n");
            }
            let mut title = (*name).to_owned();
            if let Some(first) = title.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            if *name == "cpu" {
                title.make_ascii_uppercase();
            }
            let _ = write!(report.text, "# {title}\r\n");
            section(&mut report);
        }
    }
    report.text
}

fn server(report: &mut Report<'_>) {
    let facts = report.shared.host.facts();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    report.line("redis_version", REDIS_VERSION);
    report.line("redis_git_sha1", "00000000");
    report.line("redis_git_dirty", 0);
    report.line("redis_build_id", "0");
    report.line("redis_mode", if report.shared.cluster_mode { "cluster" } else { "standalone" });
    report.line("os", std::env::consts::OS);
    report.line("arch_bits", usize::BITS);
    report.line("monotonic_clock", "POSIX clock_gettime");
    report.line("multiplexing_api", "epoll");
    report.line("process_id", std::process::id());
    report.line("process_supervised", "no");
    report.line("run_id", &facts.run_id);
    report.line("tcp_port", facts.port);
    report.line("server_time_usec", now.as_micros());
    report.line("uptime_in_seconds", facts.uptime.as_secs());
    report.line("uptime_in_days", facts.uptime.as_secs() / 86_400);
    report.line("hz", 10);
    report.line("configured_hz", 10);
    report.line("lru_clock", now.as_secs() & 0xff_ffff);
    report.line("executable", "");
    report.line("config_file", &facts.config_file);
    report.line("io_threads_active", 0);
    report.line("perigee_version", &facts.version);
}

fn clients(report: &mut Report<'_>) {
    let shared = report.shared;
    let (tracking, ..) = shared.tracking.totals();
    let all = shared.clients.all();
    let (mut input, mut output) = (0, 0);
    for client in &all {
        output = output.max(client.waiting_bytes());
        input = input.max(client.view.lock().input);
    }
    report.line("connected_clients", all.len());
    report.line("cluster_connections", 0);
    report.line("maxclients", shared.config.hot.clients_max.load(Ordering::Relaxed));
    report.line("client_recent_max_input_buffer", input);
    report.line("client_recent_max_output_buffer", output);
    report.line("blocked_clients", shared.stats.blocked.load(Ordering::Relaxed).max(0));
    report.line("tracking_clients", tracking);
    report.line("clients_in_timeout_table", 0);
    report.line("total_blocking_keys", 0);
    report.line("total_blocking_keys_on_nokey", 0);
}

fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "K", "M"] {
        if value < 1_024.0 {
            return if unit == "B" { format!("{bytes}B") } else { format!("{value:.2}{unit}") };
        }
        value /= 1_024.0;
    }
    format!("{value:.2}G")
}

/// Bytes of the keyspace with what a server without keys holds.
pub(crate) fn used_memory(shared: &Shared) -> u64 {
    let keys = shared.keyspace.with_state(|state| state.memory());
    (keys + MEMORY_BASE) as u64
}

fn memory(report: &mut Report<'_>) {
    let shared = report.shared;
    let facts = shared.host.facts();
    let used = used_memory(shared);
    let peak = shared.memory_peak.load(Ordering::Relaxed).saturating_add(MEMORY_BASE as u64).max(used);
    let max = shared.config.hot.memory_max.load(Ordering::Relaxed) as u64;
    report.line("used_memory", used);
    report.line("used_memory_human", human(used));
    report.line("used_memory_rss", facts.memory_rss);
    report.line("used_memory_rss_human", human(facts.memory_rss));
    report.line("used_memory_peak", peak);
    report.line("used_memory_peak_human", human(peak));
    report.line("used_memory_peak_perc", format!("{:.2}%", used as f64 * 100.0 / peak as f64));
    report.line("used_memory_overhead", MEMORY_BASE);
    report.line("used_memory_startup", MEMORY_BASE);
    report.line("used_memory_dataset", used - MEMORY_BASE as u64);
    report.line("used_memory_dataset_perc", if used > MEMORY_BASE as u64 { "100.00%" } else { "0.00%" });
    report.line("allocator_allocated", used);
    report.line("allocator_active", facts.memory_rss);
    report.line("allocator_resident", facts.memory_rss);
    report.line("total_system_memory", facts.memory_total);
    report.line("total_system_memory_human", human(facts.memory_total));
    report.line("used_memory_lua", 0);
    report.line("used_memory_vm_eval", 0);
    report.line("used_memory_lua_human", "0B");
    report.line("used_memory_scripts_eval", 0);
    let (scripts, libraries, functions) = shared.keyspace.with_state(|state| state.scripts.counts());
    report.line("number_of_cached_scripts", scripts);
    report.line("number_of_functions", functions);
    report.line("number_of_libraries", libraries);
    report.line("used_memory_vm_functions", 0);
    report.line("used_memory_vm_total", 0);
    report.line("used_memory_functions", 0);
    report.line("used_memory_scripts", 0);
    report.line("maxmemory", max);
    report.line("maxmemory_human", human(max));
    let policy = crate::config::find(b"maxmemory-policy").map(|param| {
        let set = shared.keyspace.with_state(|state| state.settings.values.get(param.name).cloned());
        set.unwrap_or_else(|| param.default.to_owned())
    });
    report.line("maxmemory_policy", policy.unwrap_or_default());
    report.line("allocator_frag_ratio", "1.00");
    report.line("mem_fragmentation_ratio", format!("{:.2}", facts.memory_rss as f64 / used as f64));
    report.line("mem_fragmentation_bytes", facts.memory_rss.saturating_sub(used));
    report.line("mem_not_counted_for_evict", 0);
    report.line("mem_replication_backlog", 0);
    report.line("mem_total_replication_buffers", 0);
    report.line("mem_clients_slaves", 0);
    let clients: usize = shared.clients.all().iter().map(|client| client.memory()).sum();
    report.line("mem_clients_normal", clients);
    report.line("mem_cluster_links", 0);
    report.line("mem_aof_buffer", 0);
    report.line("mem_allocator", "mimalloc");
    report.line("active_defrag_running", 0);
    report.line("lazyfree_pending_objects", 0);
    report.line("lazyfreed_objects", 0);
}

fn persistence(report: &mut Report<'_>) {
    let facts = report.shared.host.facts();
    for (name, value) in [
        ("loading", "0"),
        ("async_loading", "0"),
        ("current_cow_peak", "0"),
        ("current_cow_size", "0"),
        ("current_fork_perc", "0.00"),
        ("current_save_keys_processed", "0"),
        ("current_save_keys_total", "0"),
    ] {
        report.line(name, value);
    }
    // A checkpoint is what Redis calls a save.
    report.line("rdb_changes_since_last_save", report.shared.keyspace.with_state(|state| state.changes()));
    report.line("rdb_bgsave_in_progress", "0");
    report.line("rdb_last_save_time", facts.saved_s());
    for (name, value) in [
        ("rdb_last_bgsave_status", "ok"),
        ("rdb_last_bgsave_time_sec", "-1"),
        ("rdb_current_bgsave_time_sec", "-1"),
        ("rdb_saves", "0"),
        ("rdb_last_cow_size", "0"),
        ("rdb_last_load_keys_expired", "0"),
        ("rdb_last_load_keys_loaded", "0"),
        // The log is what Redis calls an append-only file.
        ("aof_enabled", "1"),
        ("aof_rewrite_in_progress", "0"),
        ("aof_rewrite_scheduled", "0"),
        ("aof_last_rewrite_time_sec", "-1"),
        ("aof_current_rewrite_time_sec", "-1"),
        ("aof_last_bgrewrite_status", "ok"),
        ("aof_rewrites", "0"),
        ("aof_last_write_status", "ok"),
        ("aof_last_cow_size", "0"),
        ("module_fork_in_progress", "0"),
        ("module_fork_last_cow_size", "0"),
    ] {
        report.line(name, value);
    }
}

fn stats(report: &mut Report<'_>) {
    let shared = report.shared;
    let stats = &shared.stats;
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (channels, patterns, shards) = shared.hub.totals();
    let (_, keys, items, prefixes) = shared.tracking.totals();
    let lines: Vec<(&str, u64)> = vec![
        ("total_connections_received", get(&stats.connection_total)),
        ("total_commands_processed", stats.command_total()),
        ("instantaneous_ops_per_sec", get(&stats.ops_per_second)),
        ("total_net_input_bytes", get(&stats.read_bytes)),
        ("total_net_output_bytes", get(&stats.sent_bytes)),
        ("rejected_connections", get(&stats.rejected_total)),
        ("sync_full", 0),
        ("sync_partial_ok", 0),
        ("sync_partial_err", 0),
        ("expired_keys", get(&stats.expired_total)),
        ("expired_stale_perc", 0),
        ("expired_time_cap_reached_count", 0),
        ("evicted_keys", get(&stats.evicted_total)),
        ("evicted_clients", get(&stats.evicted_clients)),
        ("total_eviction_exceeded_time", 0),
        ("current_eviction_exceeded_time", 0),
        ("keyspace_hits", get(&stats.hits)),
        ("keyspace_misses", get(&stats.misses)),
        ("pubsub_channels", channels as u64),
        ("pubsub_patterns", patterns as u64),
        ("pubsubshard_channels", shards as u64),
        ("latest_fork_usec", 0),
        ("total_forks", 0),
        ("migrate_cached_sockets", 0),
        ("slave_expires_tracked_keys", 0),
        ("active_defrag_hits", 0),
        ("active_defrag_misses", 0),
        ("active_defrag_key_hits", 0),
        ("active_defrag_key_misses", 0),
        ("tracking_total_keys", keys as u64),
        ("tracking_total_items", items as u64),
        ("tracking_total_prefixes", prefixes as u64),
        ("unexpected_error_replies", 0),
        ("total_error_replies", get(&stats.error_total)),
        ("dump_payload_sanitizations", 0),
        ("total_reads_processed", 0),
        ("total_writes_processed", 0),
        ("acl_access_denied_auth", get(&stats.acl_denied_auth)),
    ];
    for (name, value) in lines {
        report.line(name, value);
    }
}

fn replication(report: &mut Report<'_>) {
    let facts = report.shared.host.facts();
    report.line("role", "master");
    // Other voters are no replicas that a client of Redis could read.
    report.line("connected_slaves", 0);
    report.line("master_failover_state", "no-failover");
    report.line("master_replid", &facts.run_id);
    report.line("master_replid2", "0".repeat(40));
    report.line("master_repl_offset", facts.applied_index);
    report.line("second_repl_offset", -1);
    report.line("repl_backlog_active", 0);
    report.line("repl_backlog_size", 1_048_576);
    report.line("repl_backlog_first_byte_offset", 0);
    report.line("repl_backlog_histlen", 0);
}

fn cpu(report: &mut Report<'_>) {
    for name in [
        "used_cpu_sys",
        "used_cpu_user",
        "used_cpu_sys_children",
        "used_cpu_user_children",
        "used_cpu_sys_main_thread",
        "used_cpu_user_main_thread",
    ] {
        report.line(name, "0.000000");
    }
}

fn modules(report: &mut Report<'_>) {
    if crate::command::find_name("ts.add").is_some() {
        report.line("module", "name=timeseries,ver=11202,api=1,filters=0,usedby=[],using=[],options=[]");
    }
}

fn commandstats(report: &mut Report<'_>) {
    let shared = report.shared;
    crate::command::each(|entry| {
        let Some(counters) = shared.stats.commands.get(entry.number) else { return };
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let (calls, micros) = (get(&counters.calls), get(&counters.micros));
        let (rejected, failed) = (get(&counters.rejected), get(&counters.failed));
        if calls + rejected + failed > 0 {
            let each = if calls == 0 { 0.0 } else { micros as f64 / calls as f64 };
            report.line(
                &format!("cmdstat_{}", entry.spec.name),
                format!("calls={calls},usec={micros},usec_per_call={each:.2},rejected_calls={rejected},failed_calls={failed}"),
            );
        }
    });
}

fn errorstats(report: &mut Report<'_>) {
    let errors = report.shared.stats.errors.lock().clone();
    for (prefix, count) in errors {
        report.line(&format!("errorstat_{prefix}"), format!("count={count}"));
    }
}

fn latencystats(report: &mut Report<'_>) {
    let shared = report.shared;
    if shared.config.get_by_name("latency-tracking") == "no" {
        return;
    }
    let shares = shared.config.get_by_name("latency-tracking-info-percentiles");
    crate::command::each(|entry| {
        let Some(counters) = shared.stats.commands.get(entry.number) else { return };
        let calls = counters.calls.load(Ordering::Relaxed);
        if calls > 0 {
            let mean = counters.micros.load(Ordering::Relaxed) as f64 / calls as f64;
            report.line(
                &format!("latency_percentiles_usec_{}", entry.spec.name),
                // Only the mean is kept.
                shares.split(' ').map(|share| format!("p{share}={mean:.3}")).collect::<Vec<_>>().join(","),
            );
        }
    });
}

fn cluster(report: &mut Report<'_>) {
    report.line("cluster_enabled", i32::from(report.shared.cluster_mode));
}

fn keyspace(report: &mut Report<'_>) {
    let tenant = report.tenant;
    let dbs: Vec<(u32, u64, u64)> = report.shared.keyspace.with_state(|state| {
        (0..state.settings.databases)
            .filter_map(|number| {
                let db = state.db(DbId { tenant, number })?;
                (!db.is_empty()).then(|| (number, db.len(), db.expiring()))
            })
            .collect()
    });
    for (number, keys, expires) in dbs {
        report.line(&format!("db{number}"), format!("keys={keys},expires={expires},avg_ttl=0"));
    }
}
