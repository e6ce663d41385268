//! What `perigee admin` and `perigee client` speak.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status, Streaming};

use crate::v1;
use crate::v1::admin_client::AdminClient;
use crate::v1::query_response::Part;
use crate::v1::sql_client::SqlClient;
use crate::v1::value::Kind;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Bytes of an answer: a report names every table.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is none, or nobody answers there.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The node refused.
    #[error("{0}")]
    Refused(String),
}

/// How a client proves who it is, and who the node is.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The value of `authorization`; nothing is sent where it is not there.
    pub authorization: Option<String>,
    /// The authority that the node's certificate is of, PEM: TLS is spoken then.
    pub tls_authority: Option<PathBuf>,
    /// The client's own certificate and its key, PEM, for a node that asks for one.
    pub tls_identity: Option<(PathBuf, PathBuf)>,
}

impl Access {
    /// What a role's name and password are sent as.
    #[must_use]
    pub fn basic(user: &str, password: &str) -> String {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
    }
}

/// A channel to `HOST:PORT`, with TLS where an authority is given.
///
/// # Errors
/// [`ClientError::Unreachable`]
pub async fn connect(address: &str, tls_authority: Option<&PathBuf>) -> Result<Channel, ClientError> {
    connect_as(address, tls_authority, None).await
}

/// The same with a certificate and a key that are the client's own.
async fn connect_as(
    address: &str,
    tls_authority: Option<&PathBuf>,
    tls_identity: Option<&(PathBuf, PathBuf)>,
) -> Result<Channel, ClientError> {
    let unreachable = |reason: String| ClientError::Unreachable { address: address.to_owned(), reason };
    let refused = |error: tonic::transport::Error| {
        unreachable(std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string))
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(refused)?.connect_timeout(CONNECT);
    let Some(authority) = tls_authority else { return endpoint.connect().await.map_err(refused) };
    let tls =
        connector(authority, tls_identity).map_err(|error| unreachable(format!("{}: {error}", authority.display())))?;
    let connect = tower::service_fn(move |to: Uri| {
        let tls = tls.clone();
        async move {
            let host = to.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
            let stream = TcpStream::connect((host.as_str(), to.port_u16().unwrap_or(443))).await?;
            let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
        }
    });
    endpoint.connect_with_connector(connect).await.map_err(refused)
}

/// A channel over connections that `open` makes: to who is at their other end in this process.
///
/// # Errors
/// [`ClientError::Unreachable`] when nobody is.
pub async fn connect_within<S>(open: impl Fn() -> S + Send + Sync + 'static) -> Result<Channel, ClientError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let connect = tower::service_fn(move |_: Uri| std::future::ready(Ok::<_, std::io::Error>(TokioIo::new(open()))));
    let unreachable = |error: tonic::transport::Error| ClientError::Unreachable {
        address: "the node in this process".to_owned(),
        reason: error.to_string(),
    };
    Endpoint::from_static("http://localhost").connect_with_connector(connect).await.map_err(unreachable)
}

fn connector(
    authority: &PathBuf,
    identity: Option<&(PathBuf, PathBuf)>,
) -> Result<TlsConnector, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authority)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = builder.with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key)?)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config).into())
}

/// A client of a node's Sql service.
pub struct Sql {
    client: SqlClient<Channel>,
    authorization: Option<MetadataValue<Ascii>>,
}

impl Sql {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn connect(address: &str, access: &Access) -> Result<Self, ClientError> {
        Self::over(connect_as(address, access.tls_authority.as_ref(), access.tls_identity.as_ref()).await?, access)
    }

    /// Over a channel that is there.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for a proof that cannot be sent.
    pub fn over(channel: Channel, access: &Access) -> Result<Self, ClientError> {
        let wrong = |_| ClientError::Refused("name, password or token cannot be sent".to_owned());
        let authorization = access.authorization.as_deref().map(|text| text.parse().map_err(wrong)).transpose()?;
        Ok(Self { client: SqlClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX), authorization })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }

    /// Runs a statement; its result comes as it is made. Dropping it cancels the statement.
    ///
    /// # Errors
    /// The node's status, or that of a connection that is lost.
    pub async fn query(&mut self, request: v1::QueryRequest) -> Result<Streaming<v1::QueryResponse>, Status> {
        let request = self.request(request);
        self.client.query(request).await.map(tonic::Response::into_inner)
    }

    /// Runs a statement once for an idempotency key, however often it is sent.
    ///
    /// # Errors
    /// As [`Sql::query`].
    pub async fn execute_once(&mut self, key: &str, statement: v1::Statement) -> Result<v1::ExecuteResponse, Status> {
        let mut request = self.request(v1::ExecuteRequest { statement: Some(statement) });
        let key = key.parse().map_err(|_| Status::invalid_argument("the idempotency key cannot be sent"))?;
        request.metadata_mut().insert("idempotency-key", key);
        self.client.execute(request).await.map(tonic::Response::into_inner)
    }

    /// Begins a transaction that statements may name.
    ///
    /// # Errors
    /// As [`Sql::query`].
    pub async fn begin(&mut self, request: v1::BeginRequest) -> Result<v1::BeginResponse, Status> {
        let request = self.request(request);
        self.client.begin(request).await.map(tonic::Response::into_inner)
    }
}

/// A client of a node's Admin service, and of statements that operators run.
pub struct Admin {
    client: AdminClient<Channel>,
    sql: Sql,
}

impl Admin {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn connect(address: &str, access: &Access) -> Result<Self, ClientError> {
        let channel = connect_as(address, access.tls_authority.as_ref(), access.tls_identity.as_ref()).await?;
        let sql = Sql::over(channel.clone(), access)?;
        let client = AdminClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Self { client, sql })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        self.sql.request(message)
    }

    /// Where the node stands.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn status(&mut self) -> Result<v1::StatusResponse, ClientError> {
        let request = self.request(v1::StatusRequest {});
        self.client.status(request).await.map(tonic::Response::into_inner).map_err(refused)
    }

    /// Whether all is well.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn verify(&mut self, request: v1::VerifyRequest) -> Result<v1::VerifyResponse, ClientError> {
        let request = self.request(request);
        self.client.verify(request).await.map(tonic::Response::into_inner).map_err(refused)
    }
}

impl Admin {
    /// Who is a member of the cluster, as the node knows it.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn cluster(&mut self) -> Result<v1::ClusterResponse, ClientError> {
        let request = self.request(v1::ClusterRequest {});
        self.client.cluster(request).await.map(tonic::Response::into_inner).map_err(refused)
    }

    /// Whether each member is there, and how it is.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn ping_cluster(&mut self) -> Result<v1::PingClusterResponse, ClientError> {
        let request = self.request(v1::PingClusterRequest {});
        self.client.ping_cluster(request).await.map(tonic::Response::into_inner).map_err(refused)
    }

    /// Which members hold something else than most at one entry of the log.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn verify_cluster(&mut self) -> Result<v1::VerifyClusterResponse, ClientError> {
        let request = self.request(v1::VerifyClusterRequest {});
        self.client.verify_cluster(request).await.map(tonic::Response::into_inner).map_err(refused)
    }

    /// Makes a base backup, at a URL or where the node's backups go.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn backup(&mut self, url: Option<&str>) -> Result<v1::BackupResponse, ClientError> {
        let request = v1::BackupRequest { url: url.unwrap_or_default().to_owned() };
        let request = self.request(request);
        self.client.backup(request).await.map(tonic::Response::into_inner).map_err(refused)
    }

    /// The rows of a statement whose columns are all texts; what is none is left out as NULL is.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, ClientError> {
        let statement = v1::Statement { sql: sql.to_owned(), ..v1::Statement::default() };
        let request = v1::QueryRequest { statement: Some(statement), ..v1::QueryRequest::default() };
        let mut stream = self.sql.query(request).await.map_err(refused)?;
        let mut rows = Vec::new();
        while let Some(message) = stream.message().await.map_err(refused)? {
            let Some(Part::Rows(some)) = message.part else { continue };
            let text = |value: v1::Value| match value.kind {
                Some(Kind::Text(text)) => Some(text),
                _ => None,
            };
            rows.extend(some.rows.into_iter().map(|row| row.values.into_iter().map(text).collect()));
        }
        Ok(rows)
    }

    /// What of each table is in which tier, or of one that is named as `schema.table`.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn tiers(&mut self, request: v1::TiersRequest) -> Result<Vec<v1::TableTier>, ClientError> {
        let request = self.request(request);
        self.client.tiers(request).await.map(|response| response.into_inner().tiers).map_err(refused)
    }

    /// Moves a table's rows to another tier, and says where they are then.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn migrate_tier(&mut self, request: v1::MigrateTierRequest) -> Result<Vec<v1::TableTier>, ClientError> {
        let request = self.request(request);
        self.client.migrate_tier(request).await.map(|response| response.into_inner().tiers).map_err(refused)
    }

    /// The statements that make what there is anew.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn schema(&mut self, request: v1::SchemaRequest) -> Result<Vec<v1::SchemaObject>, ClientError> {
        let request = self.request(request);
        self.client.schema(request).await.map(|response| response.into_inner().objects).map_err(refused)
    }

    /// Runs the statements of a migration, unless that was done before.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn apply_migration(
        &mut self,
        request: v1::ApplyMigrationRequest,
    ) -> Result<v1::ApplyMigrationResponse, ClientError> {
        let request = self.request(request);
        self.client.apply_migration(request).await.map(tonic::Response::into_inner).map_err(refused)
    }

    /// What helps to find out what is the matter with the node, as files.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn diagnostics(&mut self) -> Result<Vec<v1::DiagnosticsFile>, ClientError> {
        let request = self.request(v1::DiagnosticsRequest {});
        self.client.diagnostics(request).await.map(|response| response.into_inner().files).map_err(refused)
    }

    /// Changes who is a member, or who leads.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn change_cluster(&mut self, change: v1::change_cluster_request::Change) -> Result<(), ClientError> {
        let request = v1::ChangeClusterRequest { change: Some(change) };
        let request = self.request(request);
        self.client.change_cluster(request).await.map(drop).map_err(refused)
    }
}

fn refused(status: Status) -> ClientError {
    ClientError::Refused(format!("{}: {}", status.code(), status.message()))
}
