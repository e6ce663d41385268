//! What a person sees after starting a node.

use std::net::SocketAddr;

use perigee_config::{Authentication, Config, MemoryPlan};

/// Where the doors really listen: port 0 has become a number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Open {
    /// PostgreSQL.
    pub(crate) pg: Option<SocketAddr>,
    /// Redis.
    pub(crate) redis: Option<SocketAddr>,
    /// REST.
    pub(crate) rest: Option<SocketAddr>,
    /// gRPC.
    pub(crate) grpc: Option<SocketAddr>,
    /// Operations.
    pub(crate) ops: Option<SocketAddr>,
}

/// How to connect, on standard output.
pub(crate) fn print(config: &Config, plan: &MemoryPlan, open: Open) {
    print!("{}", text(config, plan, open));
}

fn text(config: &Config, plan: &MemoryPlan, open: Open) -> String {
    let mut lines = vec![
        format!("Perigee {} is ready.", env!("CARGO_PKG_VERSION")),
        format!("  node        {}, data in {}", config.node.id, config.node.data_dir().display()),
        format!("  memory      {}, {} of it for table data", plan.root, plan.hot),
        format!("  durability  {}", durability(config)),
    ];
    if let Some(ops) = open.ops {
        lines.push(format!("  operations  http://{ops}/health"));
    }
    if let Some(grpc) = open.grpc {
        lines.push(format!("  admin       perigee admin --address {grpc} status"));
    }
    if let Some(pg) = open.pg {
        let user = &config.security.superuser;
        lines.push(String::new());
        lines.push("Connect with:".to_owned());
        lines.push(format!("  psql -h {} -p {} -U {user} -d postgres", host(pg), pg.port()));
        if let Some(redis) = open.redis {
            lines.push(format!("  redis-cli -h {} -p {}", host(redis), redis.port()));
        }
        if let Some(rest) = open.rest {
            let scheme = if config.security.tls_certificate.is_some() { "https" } else { "http" };
            let login = if config.security.authentication == Authentication::Trust {
                String::new()
            } else {
                format!("-u {user} ")
            };
            lines.push(format!(
                "  curl {login}{scheme}://{}:{}/v1/sql --json '{{\"sql\": \"SELECT 1\"}}'",
                host(rest),
                rest.port()
            ));
        }
        if let Some(grpc) = open.grpc {
            let plain = if config.security.tls_certificate.is_some() { "" } else { "-plaintext " };
            lines.push(format!("  grpcurl {plain}{}:{} list", host(grpc), grpc.port()));
        }
        if config.security.authentication == Authentication::Trust {
            lines.push("No password is asked: no authentication is configured.".to_owned());
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn durability(config: &Config) -> String {
    match config.log.durability {
        perigee_config::Durability::Fsync => "fsync: a write is acknowledged when it is on disk".to_owned(),
        perigee_config::Durability::Interval => {
            format!("interval: a power loss may cost the last {}", config.log.sync_interval)
        }
    }
}

/// An address to connect to: what listens everywhere is reached on loopback.
fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => "127.0.0.1".to_owned(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => "::1".to_owned(),
        other => other.ip().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_says_how_to_connect() {
        let config = Config::default();
        let plan = config.memory_plan().unwrap();
        let open = Open { pg: Some("0.0.0.0:5433".parse().unwrap()), ..Open::default() };
        let text = text(&config, &plan, open);
        assert!(text.contains("psql -h 127.0.0.1 -p 5433 -U postgres -d postgres"), "{text}");
        assert!(text.contains("No password"), "{text}");
        assert!(text.ends_with('\n'), "{text}");
    }
}
