//! What settings must fulfil together.

use std::net::IpAddr;

use crate::{Authentication, ByteSize, Config, ConfigError, Durability, MemoryPlan, Span, available_memory};

/// The shortest bearer token.
const TOKEN_BYTES_MIN: usize = 16;
/// The shortest secret of JSON Web Tokens: as many bytes as their hash has.
const JWT_SECRET_BYTES_MIN: usize = 32;

impl Config {
    /// Checks what no single setting can: that they can stand together on this machine.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`] with what to change.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check_node()?;
        self.check_log()?;
        self.check_security()?;
        self.memory_plan()?;
        if self.sessions.max == 0 {
            return conflict("sessions.max is 0: no session could be opened");
        }
        if self.storage.checkpoint_interval.get().is_none() {
            return conflict("storage.checkpoint_interval cannot be off: the log would never be cut on a quiet node");
        }
        if self.backup.interval.get().is_none() {
            return conflict("backup.interval cannot be off: without backup.url there are no backups by themselves");
        }
        if self.backup.log_keep < self.log.segment_size {
            return conflict("backup.log_keep must be at least log.segment_size");
        }
        self.telemetry.receiver().map_err(ConfigError::Conflict)?;
        if self.telemetry.file_size < ByteSize::mb(1) {
            return conflict("telemetry.file_size must be at least 1MB");
        }
        if self.telemetry.trace_every == 0 {
            return conflict("telemetry.trace_every is 0: without telemetry.otlp_endpoint nothing is traced");
        }
        if self.storage.checkpoint_size < ByteSize::mb(1) {
            return conflict("storage.checkpoint_size must be at least 1MB");
        }
        Ok(())
    }

    /// How this machine's memory is shared out.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`] when the shares do not fit.
    pub fn memory_plan(&self) -> Result<MemoryPlan, ConfigError> {
        MemoryPlan::new(&self.memory, available_memory())
    }

    fn check_node(&self) -> Result<(), ConfigError> {
        let id = &self.node.id;
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
        if id.is_empty() || id.len() > 63 || !id.chars().all(allowed) || id.starts_with('.') {
            return conflict(format!(
                "node.id (--id) is {id:?}: use 1 to 63 letters, digits, '-', '_' or '.', not starting with '.'"
            ));
        }
        let voters = self.node.peers.voters(id);
        if voters > 1 && (voters.is_multiple_of(2) || voters > 7) {
            return conflict(format!(
                "node.peers (--peers) makes a cluster of {voters}: use 3, 5 or 7, of which more than half must be up"
            ));
        }
        if voters > 1 && !self.node.peers.0.contains_key(id) {
            return conflict(format!(
                "node.peers (--peers) does not name this node, {id:?}: give all nodes the same list"
            ));
        }
        let (heartbeat, election) = (self.node.heartbeat, self.node.election_timeout);
        if heartbeat < Span::from_millis(10) || election > Span::from_secs(60) {
            return conflict(format!(
                "node.heartbeat is {heartbeat} and node.election_timeout {election}: use 10ms to 60s"
            ));
        }
        // A heartbeat that is late or lost must not cost the leader its place.
        if election < Span::from_millis(heartbeat.duration().as_millis() as u64 * 3) {
            return conflict(format!(
                "node.election_timeout is {election}: it must be at least three times node.heartbeat, {heartbeat}"
            ));
        }
        Ok(())
    }

    fn check_log(&self) -> Result<(), ConfigError> {
        let voters = self.node.peers.voters(&self.node.id);
        if self.log.durability == Durability::Interval {
            // A voter that forgets what it acknowledged can elect a leader without committed entries.
            if voters > 1 {
                return conflict(format!(
                    "log.durability (--durability) is interval with {voters} voters: only a single node may \
                     acknowledge before fsync"
                ));
            }
            if self.log.sync_interval.get().is_none() {
                return conflict("log.sync_interval cannot be off with durability interval");
            }
        }
        let segment = self.log.segment_size;
        if segment < ByteSize::mb(4) || segment > ByteSize::mb(4096) {
            return conflict(format!("log.segment_size is {segment}: use 4MB to 4GB"));
        }
        Ok(())
    }

    fn check_security(&self) -> Result<(), ConfigError> {
        let security = &self.security;
        if security.tls_certificate.is_some() != security.tls_key.is_some() {
            return conflict("security.tls_certificate and security.tls_key go together: set both or neither");
        }
        if security.tls_client_authority.is_some() && security.tls_certificate.is_none() {
            return conflict(
                "security.tls_client_authority asks clients for certificates, which takes tls_certificate and tls_key",
            );
        }
        let cluster = [&security.cluster_authority, &security.cluster_certificate, &security.cluster_key];
        let has_certificates = cluster.iter().all(|path| path.is_some());
        if !has_certificates && cluster.iter().any(|path| path.is_some()) {
            return conflict(
                "security.cluster_authority, cluster_certificate and cluster_key go together: set all or none",
            );
        }
        if security.superuser.is_empty() || security.superuser.len() > 63 {
            return conflict("security.superuser must be a role name of 1 to 63 bytes");
        }
        if security.authentication == Authentication::Trust && security.superuser_password.is_some() {
            return conflict(
                "security.superuser_password is set but security.authentication is trust: set it to scram-sha-256",
            );
        }
        let tokens = [("admin_token", &security.admin_token), ("read_only_token", &security.read_only_token)];
        for (name, token) in tokens {
            // What can be guessed is no secret.
            if token.as_ref().is_some_and(|token| token.reveal().len() < TOKEN_BYTES_MIN) {
                return conflict(format!("security.{name} must have at least {TOKEN_BYTES_MIN} bytes"));
            }
        }
        if security.admin_token.is_some() && security.admin_token == security.read_only_token {
            return conflict("security.admin_token and security.read_only_token are the same");
        }
        self.check_jwt()?;
        self.check_origins()?;
        if security.authentication != Authentication::Trust || security.insecure {
            return Ok(());
        }
        for (door, address) in self.listen.doors() {
            let Some(text) = address.get().filter(|_| door != "cluster" || !has_certificates) else { continue };
            let addresses = address
                .resolve()
                .map_err(|error| ConfigError::Conflict(format!("listen.{door}: cannot resolve {text:?}: {error}")))?;
            if let Some(public) = addresses.iter().find(|address| !is_loopback(address.ip())) {
                return conflict(format!(
                    "listen.{door} (--{door}-address) is {text} ({}), which others can reach, and \
                     security.authentication is trust: configure authentication, listen on loopback, or accept \
                     the risk with --insecure",
                    public.ip()
                ));
            }
        }
        Ok(())
    }
}

impl Config {
    fn check_jwt(&self) -> Result<(), ConfigError> {
        let security = &self.security;
        if security.jwt_secret.is_some() && security.jwt_secret_file.is_some() {
            return conflict("security.jwt_secret and security.jwt_secret_file are two places of one secret: set one");
        }
        if security.jwt_secret.as_ref().is_some_and(|secret| secret.reveal().len() < JWT_SECRET_BYTES_MIN) {
            return conflict(format!("security.jwt_secret must have at least {JWT_SECRET_BYTES_MIN} bytes"));
        }
        if security.jwt_role_claim.is_empty() {
            return conflict("security.jwt_role_claim is empty: name the claim of a token that has the role");
        }
        let has_key = security.jwt_secret.is_some()
            || security.jwt_secret_file.is_some()
            || security.jwt_public_key.is_some()
            || security.jwks_file.is_some();
        if !has_key && (security.jwt_issuer.is_some() || security.jwt_audience.is_some()) {
            return conflict(
                "security.jwt_issuer or jwt_audience is set, and no key: set jwt_secret, jwt_public_key or jwks_file",
            );
        }
        Ok(())
    }

    fn check_origins(&self) -> Result<(), ConfigError> {
        for origin in self.limits.origins() {
            // Where nobody is asked, a page of anybody could do everything.
            if origin == "*" && self.security.authentication == Authentication::Trust {
                return conflict(
                    "limits.cors_origins is * and security.authentication is trust: any web page could do everything",
                );
            }
            let is_origin = origin.split_once("://").is_some_and(|(scheme, authority)| {
                matches!(scheme, "http" | "https") && !authority.is_empty() && !authority.contains(['/', '*', ' '])
            });
            if origin != "*" && !is_origin {
                return conflict(format!(
                    "limits.cors_origins names {origin:?}: an origin is https://HOST or http://HOST:PORT, without a path"
                ));
            }
        }
        Ok(())
    }
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
        }
    }
}

fn conflict<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Conflict(text.into()))
}

#[cfg(test)]
mod tests {
    fn check(settings: &[(&'static str, &str)], expected: Result<(), &str>) {
        let flags = settings.iter().map(|(setting, value)| ("--test", *setting, (*value).to_owned())).collect();
        let layers = crate::Layers { flags, ..crate::Layers::default() };
        match (layers.load(), expected) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{settings:?}: {error}"),
            (result, _) => panic!("{settings:?}: {result:?}"),
        }
    }

    #[test]
    fn a_public_address_needs_authentication() {
        check(&[("listen.pg", "0.0.0.0:5432")], Err("--insecure"));
        check(&[("listen.pg", "[::]:5432")], Err("--insecure"));
        check(&[("listen.pg", "0.0.0.0:5432"), ("security.insecure", "true")], Ok(()));
        check(&[("listen.pg", "0.0.0.0:5432"), ("security.authentication", "scram-sha-256")], Ok(()));
        check(&[("listen.pg", "[::1]:5432")], Ok(()));
        check(&[("listen.pg", "127.8.9.10:5432")], Ok(()));
        check(&[("listen.ops", "0.0.0.0:9090")], Err("--ops-address"));
        check(&[("listen.rest", "0.0.0.0:8080")], Err("--rest-address"));
        check(&[("listen.pg", "off")], Ok(()));
    }

    #[test]
    fn interval_is_for_one_voter() {
        check(&[("log.durability", "interval")], Ok(()));
        check(&[("log.durability", "interval"), ("node.peers", "n1=a:1")], Ok(()));
        check(&[("log.durability", "interval"), ("node.peers", "n1=a:1,n2=b:1,n3=c:1")], Err("voters"));
        check(&[("log.durability", "fsync"), ("node.peers", "n1=a:1,n2=b:1,n3=c:1")], Ok(()));
        check(&[("log.durability", "async")], Err("async"));
    }

    #[test]
    fn clusters_are_odd_and_name_this_node() {
        check(&[("node.peers", "n1=a:1,n2=b:1")], Err("3, 5 or 7"));
        check(&[("node.peers", "n2=a:1,n3=b:1,n4=c:1")], Err("3, 5 or 7"));
        check(&[("node.peers", "n2=a:1,n3=b:1")], Err("does not name"));
        check(&[("node.heartbeat", "200ms"), ("node.election_timeout", "1s")], Ok(()));
        check(&[("node.heartbeat", "100ms")], Err("three times"));
        check(&[("node.heartbeat", "1ms")], Err("10ms to 60s"));
        check(&[("node.election_timeout", "2min")], Err("10ms to 60s"));
        check(&[("security.cluster_key", "key.pem")], Err("go together"));
    }

    #[test]
    fn the_rest_is_checked_too() {
        check(&[("node.id", "../up")], Err("node.id"));
        check(&[("node.id", "")], Err("node.id"));
        check(&[("security.tls_key", "key.pem")], Err("go together"));
        check(&[("security.tls_client_authority", "ca.pem")], Err("takes tls_certificate"));
        check(&[("security.superuser_password", "x")], Err("scram-sha-256"));
        check(&[("security.admin_token", "short")], Err("at least 16 bytes"));
        check(
            &[("security.admin_token", "0123456789abcdef"), ("security.read_only_token", "0123456789abcdef")],
            Err("same"),
        );
        check(&[("security.jwt_secret", "short")], Err("at least 32 bytes"));
        check(&[("security.jwt_secret_file", "x"), ("security.jwt_secret", &"x".repeat(32))], Err("one secret"));
        check(&[("security.jwt_issuer", "x")], Err("no key"));
        check(&[("security.jwt_issuer", "x"), ("security.jwks_file", "keys.json")], Ok(()));
        check(&[("security.jwt_role_claim", "")], Err("jwt_role_claim"));
        check(&[("limits.cors_origins", "https://a.example, http://b.example:8000")], Ok(()));
        check(&[("limits.cors_origins", "https://a.example/x")], Err("without a path"));
        check(&[("limits.cors_origins", "a.example")], Err("an origin is"));
        check(&[("limits.cors_origins", "*")], Err("any web page"));
        check(&[("limits.cors_origins", "*"), ("security.authentication", "scram-sha-256")], Ok(()));
        check(&[("limits.address_requests_per_minute", "-1")], Err("address_requests_per_minute"));
        check(&[("telemetry.otlp_endpoint", "http://127.0.0.1:4318")], Ok(()));
        check(&[("telemetry.otlp_endpoint", "http://[::1]:4318/v1/traces")], Ok(()));
        check(&[("telemetry.otlp_endpoint", "https://a:4318")], Err("http://HOST:PORT"));
        check(&[("telemetry.otlp_endpoint", "http://a/v1")], Err("http://HOST:PORT"));
        check(&[("telemetry.otlp_endpoint", "http://a:1/b c")], Err("path"));
        check(&[("telemetry.trace_every", "0")], Err("trace_every"));
        check(&[("telemetry.file_size", "1kB")], Err("telemetry.file_size"));
        check(&[("log.segment_size", "1kB")], Err("log.segment_size"));
        check(&[("sessions.max", "0")], Err("sessions.max"));
        check(&[("memory.root", "1MB")], Err("memory.root"));
        check(&[("storage.checkpoint_interval", "off")], Err("checkpoint_interval"));
    }
}
