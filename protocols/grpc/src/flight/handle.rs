//! What tickets and handles of prepared statements hold.

use arrow_flight::sql::{ProstMessageExt as _, TicketStatementQuery};
use arrow_flight::{FlightEndpoint, Ticket};
use prost::Message;
use prost::bytes::Bytes;
use tonic::Status;

/// A statement that is to be run.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Handle {
    /// Its text.
    #[prost(string, tag = "1")]
    pub(crate) sql: String,
    /// The transaction that it belongs to; empty for one of its own.
    #[prost(string, tag = "2")]
    pub(crate) transaction: String,
    /// Its parameters, a row of them as an IPC stream; empty where there are none.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) parameters: Vec<u8>,
    /// It has run, and has no rows.
    #[prost(bool, tag = "4")]
    pub(crate) is_done: bool,
    /// What it is cancelled by.
    #[prost(bytes = "vec", tag = "5")]
    pub(crate) id: Vec<u8>,
}

impl Handle {
    /// A statement of a transaction, or of its own.
    pub(crate) fn new(sql: String, transaction: Option<&Bytes>) -> Result<Self, Status> {
        let transaction = transaction.map(|id| transaction_of(id)).transpose()?.unwrap_or_default();
        Ok(Self { sql, transaction, ..Self::default() })
    }

    /// What a client has sent back.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Status> {
        Self::decode(bytes).map_err(|_| Status::invalid_argument("the handle is none of this server"))
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// An endpoint that gives its rows.
    pub(crate) fn endpoint(&self) -> FlightEndpoint {
        let ticket = TicketStatementQuery { statement_handle: self.bytes() }.as_any();
        FlightEndpoint::new().with_ticket(Ticket::new(ticket.encode_to_vec()))
    }
}

/// The name of a transaction.
pub(crate) fn transaction_of(id: &[u8]) -> Result<String, Status> {
    String::from_utf8(id.to_vec())
        .map_err(|_| Status::invalid_argument("the transaction's name is none of this server"))
}
