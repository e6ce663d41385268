//! What `perigee admin` speaks.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::v1;
use crate::v1::admin_client::AdminClient;

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

/// A client of a node's Admin service.
pub struct Admin(AdminClient<Channel>);

impl Admin {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`]
    pub async fn connect(address: &str) -> Result<Self, ClientError> {
        let unreachable = |error: tonic::transport::Error| ClientError::Unreachable {
            address: address.to_owned(),
            reason: std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
        };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(unreachable)?;
        let channel = endpoint.connect_timeout(CONNECT).connect().await.map_err(unreachable)?;
        Ok(Self(AdminClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)))
    }

    /// Where the node stands.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn status(&mut self) -> Result<v1::StatusResponse, ClientError> {
        self.0.status(v1::StatusRequest {}).await.map(tonic::Response::into_inner).map_err(refused)
    }

    /// Whether all is well.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn verify(&mut self, request: v1::VerifyRequest) -> Result<v1::VerifyResponse, ClientError> {
        self.0.verify(request).await.map(tonic::Response::into_inner).map_err(refused)
    }
}

impl Admin {
    /// Who is a member of the cluster, as the node knows it.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn cluster(&mut self) -> Result<v1::ClusterResponse, ClientError> {
        self.0.cluster(v1::ClusterRequest {}).await.map(tonic::Response::into_inner).map_err(refused)
    }

    /// Makes a base backup, at a URL or where the node's backups go.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn backup(&mut self, url: Option<&str>) -> Result<v1::BackupResponse, ClientError> {
        let request = v1::BackupRequest { url: url.unwrap_or_default().to_owned() };
        self.0.backup(request).await.map(tonic::Response::into_inner).map_err(refused)
    }

    /// Changes who is a member, or who leads.
    ///
    /// # Errors
    /// [`ClientError::Refused`]
    pub async fn change_cluster(&mut self, change: v1::change_cluster_request::Change) -> Result<(), ClientError> {
        let request = v1::ChangeClusterRequest { change: Some(change) };
        self.0.change_cluster(request).await.map(drop).map_err(refused)
    }
}

fn refused(status: tonic::Status) -> ClientError {
    ClientError::Refused(format!("{}: {}", status.code(), status.message()))
}
