//! TLS for doors: rustls with ring, certificates from PEM files.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, ServerName};

pub use rustls_pki_types::CertificateDer;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or what is in it is not what it should be.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not belong together, or the certificate cannot be used.
    #[error("the certificate in {certificate} cannot be used with the key in {key}: {reason}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        reason: String,
    },
}

/// A door's TLS. Its clones are one: what is read anew counts for all of them, for connections that begin behind that.
#[derive(Clone, Debug)]
pub struct ServerTls {
    files: Arc<Files>,
    current: Arc<RwLock<Arc<LoadedTls>>>,
}

/// What a door's TLS is read from, and the names for ALPN.
#[derive(Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    protocols: Vec<Vec<u8>>,
    /// Whose certificates clients have to show, where they have to.
    clients: Option<Arc<dyn ClientCertVerifier>>,
}

/// What one connection needs of a door's TLS.
#[derive(Debug)]
pub struct LoadedTls {
    /// For `tokio_rustls::TlsAcceptor`.
    pub config: Arc<ServerConfig>,
    /// The server's own certificate, DER, for SCRAM's channel binding.
    pub certificate: CertificateDer<'static>,
    /// Clients have to show a certificate, and so to speak TLS.
    pub asks_clients: bool,
}

/// Makes ring the process's crypto provider. Safe to call again; to be called first in `main` and in tests that use TLS.
pub fn install_crypto_provider() {
    // An error says that one is installed already, which is what we want.
    drop(CryptoProvider::install_default(rustls::crypto::ring::default_provider()));
}

impl ServerTls {
    /// Reads a certificate chain (the server's own first) and its private key (PKCS#8, PKCS#1 or SEC1), both PEM.
    ///
    /// `protocols` are the names for ALPN, e.g. `postgresql`; a client that names none is welcome.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn load(certificate: &Path, key: &Path, protocols: &[&str]) -> Result<Self, TlsError> {
        Self::load_for(certificate, key, protocols, None)
    }

    /// The same for a door whose clients have to show a certificate of an authority (PEM), where there is one. That file is not read
    /// again.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn load_for(
        certificate: &Path,
        key: &Path,
        protocols: &[&str],
        clients: Option<&Path>,
    ) -> Result<Self, TlsError> {
        let protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let clients = clients.map(|authority| verifier(authority, &read_roots(authority)?)).transpose()?;
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned(), protocols, clients };
        let loaded = Arc::new(files.load()?);
        Ok(Self { files: Arc::new(files), current: Arc::new(RwLock::new(loaded)) })
    }

    /// What a connection that begins now gets.
    #[must_use]
    pub fn current(&self) -> Arc<LoadedTls> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again. Where they cannot be used, what was there before stays.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn renew(&self) -> Result<(), TlsError> {
        let loaded = Arc::new(self.files.load()?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }
}

impl Files {
    fn load(&self) -> Result<LoadedTls, TlsError> {
        let chain = read_chain(&self.certificate)?;
        let own = chain[0].clone();
        let private = read_key(&self.key)?;
        let pair = |error: rustls::Error| TlsError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            reason: error.to_string(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(pair)?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
        };
        let mut config = builder.with_single_cert(chain, private).map_err(pair)?;
        config.alpn_protocols.clone_from(&self.protocols);
        Ok(LoadedTls { config: Arc::new(config), certificate: own, asks_clients: self.clients.is_some() })
    }
}

/// TLS between the members of a cluster: each shows a certificate of the cluster's own authority, made out to its node name.
#[derive(Clone, Debug)]
pub struct MemberTls {
    /// For who is connected to.
    pub server: Arc<ServerConfig>,
    /// For who connects.
    pub client: Arc<ClientConfig>,
}

impl MemberTls {
    /// Reads the authority's certificates, this member's certificate chain (its own first) and its private key, all PEM.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn load(authority: &Path, certificate: &Path, key: &Path, protocols: &[&str]) -> Result<Self, TlsError> {
        let pair = |reason: String| TlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), reason };
        let roots = read_roots(authority)?;
        let chain = read_chain(certificate)?;
        let private = read_key(key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = verifier(authority, &roots)?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| pair(error.to_string()))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), private.clone_key())
            .map_err(|error| pair(error.to_string()))?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| pair(error.to_string()))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private)
            .map_err(|error| pair(error.to_string()))?;
        server.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        client.alpn_protocols.clone_from(&server.alpn_protocols);
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }
}

/// Whether a certificate is made out to `name`. That its authority is the right one is checked with the connection.
#[must_use]
pub fn is_made_out_to(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let (Ok(certificate), Ok(name)) = (ParsedCertificate::try_from(certificate), ServerName::try_from(name)) else {
        return false;
    };
    rustls::client::verify_server_name(&certificate, &name).is_ok()
}

/// A certificate in PEM.
#[must_use]
pub fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().map(|b| char::from(*b)));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// Takes who shows a certificate of these.
fn verifier(authority: &Path, roots: &Arc<RootCertStore>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider).build();
    verifier.map_err(|error| TlsError::File { path: authority.to_owned(), reason: error.to_string() })
}

/// The certificates of an authority.
fn read_roots(authority: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(authority)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::File { path: authority.to_owned(), reason: error.to_string() })?;
    }
    Ok(Arc::new(roots))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    Ok(chain)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| TlsError::File { path: path.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pairs {
        folder: tempfile::TempDir,
    }

    impl Pairs {
        fn new() -> Self {
            let files = Self { folder: tempfile::tempdir().unwrap() };
            for name in ["a", "b"] {
                let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
                std::fs::write(files.path(&format!("{name}.crt")), pair.cert.pem()).unwrap();
                std::fs::write(files.path(&format!("{name}.key")), pair.signing_key.serialize_pem()).unwrap();
            }
            std::fs::write(files.path("empty"), "").unwrap();
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn load(&self, certificate: &str, key: &str) -> Result<ServerTls, TlsError> {
            ServerTls::load(&self.path(certificate), &self.path(key), &["postgresql"])
        }
    }

    #[test]
    fn a_certificate_and_its_key_are_loaded() {
        install_crypto_provider();
        install_crypto_provider();
        let tls = Pairs::new().load("a.crt", "a.key").unwrap().current();
        assert_eq!(tls.config.alpn_protocols, [b"postgresql".to_vec()]);
        let again = CertificateDer::from_pem_slice(pem(&tls.certificate).as_bytes()).unwrap();
        assert_eq!(again, tls.certificate);
    }

    #[test]
    fn files_that_were_replaced_count_from_then_on_if_they_are_good() {
        let files = Pairs::new();
        let tls = files.load("a.crt", "a.key").unwrap();
        let (shared, first) = (tls.clone(), tls.current());
        std::fs::copy(files.path("b.crt"), files.path("a.crt")).unwrap();
        assert!(tls.renew().is_err(), "the key is another one's");
        assert_eq!(shared.current().certificate, first.certificate);
        std::fs::copy(files.path("b.key"), files.path("a.key")).unwrap();
        tls.renew().unwrap();
        assert_eq!(shared.current().certificate, files.load("b.crt", "b.key").unwrap().current().certificate);
    }

    #[test]
    fn errors_name_the_file() {
        let files = Pairs::new();
        for (certificate, key, named) in [
            ("none.crt", "a.key", "none.crt"),
            ("a.crt", "none.key", "none.key"),
            ("empty", "a.key", "empty"),
            ("a.crt", "empty", "empty"),
            ("a.crt", "a.crt", "a.crt"),
            ("a.crt", "b.key", "b.key"),
        ] {
            let error = files.load(certificate, key).unwrap_err().to_string();
            assert!(error.contains(named), "{certificate} {key}: {error}");
        }
    }
}
