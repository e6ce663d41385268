//! All services of a node's gRPC door, asked as one client.

use perigee_api::client::connect;
use perigee_api::v1;
use perigee_api::v1::key_value_client::KeyValueClient;
use perigee_api::v1::query_response::Part;
use perigee_api::v1::sql_client::SqlClient;
use perigee_api::v1::time_series_client::TimeSeriesClient;
use perigee_api::v1::value::Kind;
use perigee_testkit::Server;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// All services of a node, asked as one client.
#[derive(Clone)]
pub struct Grpc {
    /// Statements and transactions.
    pub sql: SqlClient<Channel>,
    /// Keys.
    pub keys: KeyValueClient<Channel>,
    /// Series.
    pub series: TimeSeriesClient<Channel>,
    authorization: Option<String>,
}

/// What a query has given.
#[derive(Debug, Default)]
pub struct Answer {
    /// What the rows have.
    pub columns: Vec<v1::Column>,
    /// Typed values.
    pub rows: Vec<Vec<Option<Kind>>>,
    /// An Arrow IPC stream.
    pub arrow: Vec<u8>,
    /// What the command says of itself.
    pub summary: Option<v1::Summary>,
}

impl Grpc {
    /// Of nobody.
    pub async fn open(server: &Server) -> Self {
        Self::at(server, None).await
    }

    /// Of a role.
    pub async fn login(server: &Server, user: &str, password: &str) -> Self {
        Self::at(server, Some(perigee_api::client::Access::basic(user, password))).await
    }

    /// With any value of `authorization`.
    pub async fn at(server: &Server, authorization: Option<String>) -> Self {
        Self::over(connect(&server.grpc().to_string(), None).await.unwrap(), authorization)
    }

    /// Over a channel that is there.
    #[must_use]
    pub fn over(channel: Channel, authorization: Option<String>) -> Self {
        Self {
            sql: SqlClient::new(channel.clone()),
            keys: KeyValueClient::new(channel.clone()),
            series: TimeSeriesClient::new(channel),
            authorization,
        }
    }

    /// A request that says who sends it.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        }
        request
    }

    /// Runs a statement.
    pub async fn execute(&self, statement: v1::Statement) -> Result<v1::Summary, Status> {
        let request = self.request(v1::ExecuteRequest { statement: Some(statement) });
        Ok(self.sql.clone().execute(request).await?.into_inner().summary.unwrap())
    }

    /// Runs a statement that has to go well.
    pub async fn run(&self, sql: &str) -> v1::Summary {
        self.execute(statement(sql)).await.unwrap_or_else(|status| panic!("{sql}: {status:?}"))
    }

    /// Runs a statement and gathers its result.
    pub async fn query(&self, request: v1::QueryRequest) -> Result<Answer, Status> {
        let mut stream = self.sql.clone().query(self.request(request)).await?.into_inner();
        let mut answer = Answer::default();
        while let Some(message) = stream.message().await? {
            assert!(answer.summary.is_none(), "something stands behind the summary");
            match message.part.unwrap() {
                Part::Columns(columns) => answer.columns = columns.columns,
                Part::Rows(rows) => {
                    let row = |row: v1::Row| row.values.into_iter().map(|value| value.kind).collect();
                    answer.rows.extend(rows.rows.into_iter().map(row));
                }
                Part::Arrow(bytes) => answer.arrow.extend(bytes),
                Part::Summary(summary) => answer.summary = Some(summary),
            }
        }
        Ok(answer)
    }

    /// The rows of a query that has to go well.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<Option<Kind>>> {
        let request = v1::QueryRequest { statement: Some(statement(sql)), ..v1::QueryRequest::default() };
        self.query(request).await.unwrap_or_else(|status| panic!("{sql}: {status:?}")).rows
    }
}

/// A statement without parameters.
#[must_use]
pub fn statement(sql: &str) -> v1::Statement {
    v1::Statement { sql: sql.to_owned(), ..v1::Statement::default() }
}

/// The same, in a transaction.
#[must_use]
pub fn within(transaction: &str, sql: &str) -> v1::Statement {
    v1::Statement { transaction: transaction.to_owned(), ..statement(sql) }
}

/// A value that is not NULL.
#[must_use]
pub fn value(kind: Kind) -> v1::Value {
    v1::Value { kind: Some(kind) }
}

/// A text, as rows have it.
#[must_use]
pub fn text(text: &str) -> Option<Kind> {
    Some(Kind::Text(text.to_owned()))
}

/// The code of a status and its SQLSTATE.
pub fn told<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    let state = status.metadata().get("perigee-sqlstate").map(|state| state.to_str().unwrap().to_owned());
    (status.code(), state.unwrap_or_default())
}
