//! A PostgreSQL client with its connection's task.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use tokio::task::JoinHandle;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use crate::TestkitError;

/// `tokio_postgres::Client`, whose connection ends with it.
pub struct Client {
    client: tokio_postgres::Client,
    connection: JoinHandle<()>,
}

impl Client {
    /// Connects as `postgres` to the database `postgres`, without TLS.
    ///
    /// # Errors
    /// What the server or the system says.
    pub async fn connect(address: SocketAddr) -> Result<Self, TestkitError> {
        let mut config = Config::new();
        config.host(address.ip().to_string()).port(address.port()).user("postgres").dbname("postgres");
        Self::with(&config).await
    }

    /// Connects with settings of one's own, without TLS.
    ///
    /// # Errors
    /// What the server or the system says.
    pub async fn with(config: &Config) -> Result<Self, TestkitError> {
        let (client, connection) = config.connect(NoTls).await?;
        // An error of the connection reaches the client's calls too.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { client, connection })
    }

    /// Rows of a statement in the simple protocol, as text; NULL is `None`.
    ///
    /// # Errors
    /// What the server says.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
        let messages = self.client.simple_query(sql).await?;
        let row = |message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        };
        Ok(messages.into_iter().filter_map(row).collect())
    }

    /// The one value of a statement's one row, as text.
    ///
    /// # Errors
    /// What the server says.
    ///
    /// # Panics
    /// When there is not exactly one row and one column, or it is NULL.
    pub async fn value(&self, sql: &str) -> Result<String, tokio_postgres::Error> {
        let rows = self.rows(sql).await?;
        match &rows[..] {
            [row] if row.len() == 1 => Ok(row[0].clone().unwrap_or_else(|| panic!("{sql}: NULL"))),
            _ => panic!("{sql}: not one value but {rows:?}"),
        }
    }
}

impl Deref for Client {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &tokio_postgres::Client {
        &self.client
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut tokio_postgres::Client {
        &mut self.client
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
