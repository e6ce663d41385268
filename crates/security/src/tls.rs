//! TLS for doors: rustls with ring, certificates from PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use rustls::crypto::CryptoProvider;
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

/// A door's TLS: its configuration, and its certificate for SCRAM's channel binding.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// For `tokio_rustls::TlsAcceptor`.
    pub config: Arc<ServerConfig>,
    /// The server's own certificate, DER.
    pub certificate: CertificateDer<'static>,
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
        let chain = read_chain(certificate)?;
        let own = chain[0].clone();
        let private = read_key(key)?;
        let pair = |error: rustls::Error| TlsError::Pair {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            reason: error.to_string(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(pair)?;
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Self { config: Arc::new(config), certificate: own })
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
        let wrong = |reason: String| TlsError::File { path: authority.to_owned(), reason };
        let mut roots = RootCertStore::empty();
        for certificate in read_chain(authority)? {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        let roots = Arc::new(roots);
        let chain = read_chain(certificate)?;
        let private = read_key(key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| wrong(error.to_string()))?;
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

    struct Files {
        folder: tempfile::TempDir,
    }

    impl Files {
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
        let tls = Files::new().load("a.crt", "a.key").unwrap();
        assert_eq!(tls.config.alpn_protocols, [b"postgresql".to_vec()]);
        let again = CertificateDer::from_pem_slice(pem(&tls.certificate).as_bytes()).unwrap();
        assert_eq!(again, tls.certificate);
    }

    #[test]
    fn errors_name_the_file() {
        let files = Files::new();
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
