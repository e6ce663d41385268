//! Passwords and TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use perigee_testkit::{Client, Server, binary};
use perigee_tests::options;
use rustls_pki_types::{CertificateDer, ServerName};

const PASSWORD: &str = "correct horse";

fn config(server: &Server, user: &str, password: Option<&str>) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(server.pg().port()).user(user).dbname("postgres");
    if let Some(password) = password {
        config.password(password);
    }
    config
}

fn code(result: Result<Client, perigee_testkit::TestkitError>) -> String {
    match result {
        Err(perigee_testkit::TestkitError::Postgres(error)) => {
            error.code().map(|code| code.code().to_owned()).unwrap_or_else(|| error.to_string())
        }
        Err(other) => panic!("{other}"),
        Ok(_) => "connected".to_owned(),
    }
}

#[tokio::test]
async fn a_password_is_asked_for() {
    let server = options()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", PASSWORD)
        .start()
        .unwrap();
    let client = Client::with(&config(&server, "postgres", Some(PASSWORD))).await.unwrap();
    assert_eq!(client.value("SELECT current_user").await.unwrap(), "postgres");
    assert_eq!(code(Client::with(&config(&server, "postgres", Some("wrong"))).await), "28P01");
    assert_eq!(code(Client::with(&config(&server, "nobody", Some(PASSWORD))).await), "28P01");
    assert_ne!(code(Client::with(&config(&server, "postgres", None)).await), "connected");
    let log = server.log();
    assert!(!log.contains(PASSWORD), "{log}");
}

#[tokio::test]
async fn roles_made_in_sql_log_in_with_their_passwords() {
    let mut server = options()
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", PASSWORD)
        .start()
        .unwrap();
    let client = Client::with(&config(&server, "postgres", Some(PASSWORD))).await.unwrap();
    client
        .batch_execute(
            "CREATE ROLE ann LOGIN PASSWORD 'first' CONNECTION LIMIT 1; ALTER ROLE ann SET search_path = aside;
             CREATE ROLE late LOGIN PASSWORD 'late' VALID UNTIL '2000-01-01'; CREATE ROLE shut PASSWORD 'shut';
             CREATE ROLE away LOGIN PASSWORD 'away'; REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
             GRANT CONNECT ON DATABASE postgres TO ann, late, shut; CREATE TABLE t (a int)",
        )
        .await
        .unwrap();
    let ann = Client::with(&config(&server, "ann", Some("first"))).await.unwrap();
    assert_eq!(ann.value("SELECT current_user").await.unwrap(), "ann");
    assert_eq!(ann.value("SHOW is_superuser").await.unwrap(), "off");
    assert_eq!(ann.value("SHOW search_path").await.unwrap(), "aside");
    assert_eq!(code(Client::with(&config(&server, "ann", Some("first"))).await), "53300");
    assert_eq!(code(Client::with(&config(&server, "late", Some("late"))).await), "28P01");
    assert_eq!(code(Client::with(&config(&server, "shut", Some("shut"))).await), "28000");
    assert_eq!(code(Client::with(&config(&server, "away", Some("away"))).await), "42501");
    // A privilege that goes is gone at the next statement, and one's own password is one's own.
    client.batch_execute("GRANT SELECT ON t TO ann").await.unwrap();
    assert_eq!(ann.value("SELECT count(*) FROM public.t").await.unwrap(), "0");
    client.batch_execute("REVOKE SELECT ON t FROM ann").await.unwrap();
    let refused = ann.value("SELECT count(*) FROM public.t").await.unwrap_err();
    assert!(format!("{refused:?}").contains("42501"), "{refused:?}");
    ann.batch_execute("ALTER ROLE ann PASSWORD 'second'").await.unwrap();
    drop((client, ann));
    let log = server.log();
    assert!(!log.contains("'first'") && !log.contains("'second'"), "{log}");
    server.kill();
    server.restart().unwrap();
    assert_eq!(code(Client::with(&config(&server, "ann", Some("first"))).await), "28P01");
    let ann = Client::with(&config(&server, "ann", Some("second"))).await.unwrap();
    assert_eq!(ann.value("SELECT count(*) FROM pg_roles WHERE rolname = 'late'").await.unwrap(), "1");
}

#[tokio::test]
async fn connections_are_encrypted_when_there_is_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let server = options()
        .env("PERIGEE_SECURITY__TLS_CERTIFICATE", certificate.to_str().unwrap())
        .env("PERIGEE_SECURITY__TLS_KEY", key.to_str().unwrap())
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", PASSWORD)
        .start()
        .unwrap();
    let psql = |options: &str| {
        let port = server.pg().port();
        // libpq checks certificate and password.
        let connection = format!(
            "host=localhost hostaddr=127.0.0.1 port={port} user=postgres dbname=postgres {options} \
             sslrootcert={}",
            certificate.display()
        );
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-c", "SELECT 40 + 2", &connection]).env("PGPASSWORD", PASSWORD);
        command.output().unwrap()
    };
    for options in ["sslmode=verify-full", "sslmode=disable", "sslmode=require channel_binding=require"] {
        let output = psql(options);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.trim(), "42", "{options}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // Without encryption there is nothing to bind to.
    let output = psql("sslmode=disable channel_binding=require");
    assert!(!output.status.success());
}

type Encrypted = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

/// A connection that begins with TLS, as libpq's `sslnegotiation=direct` does.
fn direct(address: SocketAddr, certificate: &CertificateDer<'static>, protocols: &[&str]) -> Encrypted {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let session = rustls::ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    rustls::StreamOwned::new(session, stream)
}

/// A message without a type: its length, a number, and what follows.
fn packet(code: u32, rest: &[u8]) -> Vec<u8> {
    [&(rest.len() as u32 + 8).to_be_bytes()[..], &code.to_be_bytes(), rest].concat()
}

/// The messages up to one of `last`.
fn messages(stream: &mut impl Read, last: u8) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let mut head = [0; 5];
        stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
        stream.read_exact(&mut body).unwrap();
        all.push((head[0], body));
        if head[0] == last {
            return all;
        }
    }
}

#[tokio::test]
async fn clients_may_begin_with_tls() {
    const START_UP: &[u8] = b"user\0postgres\0database\0postgres\0\0";
    let folder = tempfile::tempdir().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    let server = options()
        .env("PERIGEE_SECURITY__TLS_CERTIFICATE", certificate.to_str().unwrap())
        .env("PERIGEE_SECURITY__TLS_KEY", key.to_str().unwrap())
        .start()
        .unwrap();
    let certificate = pair.cert.der();
    let mut client = direct(server.pg(), certificate, &["postgresql"]);
    client.write_all(&packet(0x0003_0002, START_UP)).unwrap();
    let started = messages(&mut client, b'Z');
    let (_, secret) = started.iter().find(|(kind, _)| *kind == b'K').unwrap();
    client.write_all(b"Q\0\0\0\x19SELECT pg_sleep(600)\0").unwrap();
    // A request to cancel comes over TLS as well. What is not running yet is not canceled: it is asked for again.
    let canceled = std::thread::spawn(move || messages(&mut client, b'Z'));
    while !canceled.is_finished() {
        direct(server.pg(), certificate, &["postgresql"]).write_all(&packet(80_877_102, secret)).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answers = canceled.join().unwrap();
    let is_canceled = |(kind, body): &(u8, Vec<u8>)| *kind == b'E' && body.windows(6).any(|part| part == b"C57014");
    assert!(answers.iter().any(is_canceled), "{answers:?}");
    // Who does not say which protocol it speaks may have been led here from elsewhere.
    for protocols in [&[][..], &["h2"]] {
        let mut client = direct(server.pg(), certificate, protocols);
        drop(client.write_all(&packet(0x0003_0000, START_UP)));
        assert!(!matches!(client.read(&mut [0; 1]), Ok(1..)), "{protocols:?}");
    }
}

/// A certificate for `localhost`, and its key.
fn write_pair(folder: &Path, name: &str) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join(format!("{name}.crt")), pair.cert.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), pair.signing_key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn a_certificate_is_renewed_on_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["old", "new", "server"] {
        write_pair(folder.path(), name);
    }
    let put = |name: &str, ending: &str| {
        std::fs::copy(path(&format!("{name}.{ending}")), path(&format!("server.{ending}"))).unwrap();
    };
    put("old", "crt");
    put("old", "key");
    let server = options()
        .env("PERIGEE_SECURITY__TLS_CERTIFICATE", path("server.crt").to_str().unwrap())
        .env("PERIGEE_SECURITY__TLS_KEY", path("server.key").to_str().unwrap())
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", PASSWORD)
        .start()
        .unwrap();
    // libpq checks the certificate, and that the password is bound to it.
    let trusts = |name: &str| {
        let connection = format!(
            "host=localhost hostaddr=127.0.0.1 port={} user=postgres dbname=postgres sslmode=verify-full \
             channel_binding=require sslrootcert={}",
            server.pg().port(),
            path(&format!("{name}.crt")).display()
        );
        let mut command = Command::new("psql");
        command.args(["-X", "-A", "-t", "-c", "SELECT 1", &connection]).env("PGPASSWORD", PASSWORD);
        command.output().unwrap().status.success()
    };
    assert!(trusts("old") && !trusts("new"));
    let until = |done: &dyn Fn() -> bool| {
        let since = std::time::Instant::now();
        while !done() {
            assert!(since.elapsed() < std::time::Duration::from_secs(60), "{}", server.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    // A key that is not the certificate's changes nothing.
    put("new", "crt");
    server.signal("HUP").unwrap();
    until(&|| server.log().contains("the TLS certificate stays as it was"));
    assert!(trusts("old"));
    put("new", "key");
    server.signal("HUP").unwrap();
    until(&|| trusts("new"));
    assert!(!trusts("old"));
}

#[tokio::test]
async fn log_lines_are_chosen_anew_on_sighup_and_go_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let settings = |level: &str| {
        let text = format!("[telemetry]\nlevel = \"{level}\"\nfile = {:?}\n", path("node.log"));
        std::fs::write(path("perigee.toml"), text).unwrap();
    };
    settings("info,slow=off");
    let server = options().flag(&["--config", path("perigee.toml").to_str().unwrap()]).start().unwrap();
    let log = || std::fs::read_to_string(path("node.log")).unwrap();
    let hears = |words: &str| {
        let since = std::time::Instant::now();
        while !log().contains(words) {
            assert!(since.elapsed() < std::time::Duration::from_secs(60), "{words}: {}", log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    let client = server.client().await.unwrap();
    client.batch_execute("SET log_min_duration_statement = 0; SELECT 'quiet'").await.unwrap();
    settings("loud");
    server.signal("HUP").unwrap();
    hears("the settings are wrong");
    settings("info,slow=info");
    server.signal("HUP").unwrap();
    hears("telemetry.level was read again");
    client.batch_execute("SELECT 'heard'").await.unwrap();
    hears("SELECT 'heard'");
    assert!(!log().contains("SELECT 'quiet'"), "{}", log());
}

#[tokio::test]
async fn clients_show_certificates_where_they_have_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let perigee = |arguments: &[&str]| {
        let output = Command::new(binary::perigee().unwrap()).args(arguments).env("PGPASSWORD", PASSWORD).output();
        let output = output.unwrap();
        (output.status.success(), format!("{output:?}"))
    };
    // Two authorities: one signs for clients, the other one is anybody's.
    for dir in ["ours", "theirs"] {
        assert!(perigee(&["cert", "authority", "--dir", &path(dir)]).0);
        assert!(perigee(&["cert", "node", "--dir", &path(dir), "localhost"]).0);
    }
    let server = options()
        .with_rest()
        .with_grpc()
        .with_redis()
        .env("PERIGEE_SECURITY__TLS_CERTIFICATE", path("ours/localhost.crt"))
        .env("PERIGEE_SECURITY__TLS_KEY", path("ours/localhost.key"))
        .env("PERIGEE_SECURITY__TLS_CLIENT_AUTHORITY", path("ours/authority.crt"))
        .env("PERIGEE_SECURITY__AUTHENTICATION", "scram-sha-256")
        .env("PERIGEE_SECURITY__SUPERUSER_PASSWORD", PASSWORD)
        .start()
        .unwrap();
    // Whose certificate is shown, if any; and whether that lets the client in.
    let cases = [(Some("ours"), true), (Some("theirs"), false), (None, false)];
    for (whose, expected) in cases {
        let pair = whose.map(|dir| (path(&format!("{dir}/localhost.crt")), path(&format!("{dir}/localhost.key"))));
        let authority = path("ours/authority.crt");

        let shows = pair.as_ref().map_or("sslcert=none".to_owned(), |(crt, key)| format!("sslcert={crt} sslkey={key}"));
        let connection = format!(
            "host=localhost hostaddr=127.0.0.1 port={} user=postgres dbname=postgres sslmode=verify-full sslrootcert={authority} {shows}",
            server.pg().port()
        );
        let mut psql = Command::new("psql");
        let output = psql.args(["-X", "-A", "-t", "-c", "SELECT 1", &connection]).env("PGPASSWORD", PASSWORD).output();
        let output = output.unwrap();
        assert_eq!(output.status.success(), expected, "psql {whose:?}: {output:?}");

        let mut curl = Command::new("curl");
        curl.args([
            "-s",
            "--cacert",
            &authority,
            "-u",
            &format!("postgres:{PASSWORD}"),
            "-H",
            "Content-Type: text/plain",
        ]);
        curl.args(["-d", "SELECT 1", "-o", "/dev/null", "-w", "%{http_code}"]);
        if let Some((crt, key)) = &pair {
            curl.args(["--cert", crt, "--key", key]);
        }
        let output = curl.arg(format!("https://localhost:{}/v1/sql", server.rest().port())).output().unwrap();
        assert_eq!(output.stdout == b"200", expected, "curl {whose:?}: {output:?}");

        let address = format!("localhost:{}", server.grpc().port());
        let mut arguments = vec!["client", "--address", &address, "-U", "postgres", "--tls-authority", &authority];
        if let Some((crt, key)) = &pair {
            arguments.extend(["--tls-certificate", crt, "--tls-key", key]);
        }
        arguments.extend(["-e", "SELECT 1"]);
        let (done, said) = perigee(&arguments);
        assert_eq!(done, expected, "perigee client {whose:?}: {said}");

        let mut redis = Command::new("redis-cli");
        redis.args(["-h", "localhost", "-p", &server.redis().port().to_string(), "--tls", "--cacert", &authority]);
        redis.args(["--no-auth-warning", "-a", PASSWORD]);
        if let Some((crt, key)) = &pair {
            redis.args(["--cert", crt, "--key", key]);
        }
        let output = redis.arg("PING").output().unwrap();
        assert_eq!(output.stdout == b"PONG\n", expected, "redis-cli {whose:?}: {output:?}");
    }
    // No way around it without TLS.
    let plain = Client::with(&config(&server, "postgres", Some(PASSWORD))).await;
    assert_eq!(code(plain), "28000");
}
