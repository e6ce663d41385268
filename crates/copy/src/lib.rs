//! What clients send to be loaded, as batches of a table's columns: COPY's formats, and Arrow.
//!
//! A door takes bytes off the wire, gives them to a decoder here, and the batches to [`perigee_engine::Session::copy_write`].
//!
//! - [`CopyDecoder`]: text, CSV and binary, cut into pieces anywhere; [`csv`] and [`text`] are also what COPY … TO is written by
//! - [`Column`]: values of one column, one after the other
//! - [`ForeignColumns`]: batches of others, whose types are Arrow's, as batches of a table's columns
//! - [`IpcMessages`]: messages of Arrow's IPC format, from who may lie about sizes

mod binary_format;
mod column;
pub mod csv;
mod decode;
mod foreign;
mod ipc;
pub mod text;

use perigee_types::{SqlError, SqlResult, SqlState, SqlType, Value};

pub use binary_format::SIGNATURE;
pub use column::Column;
pub use decode::{BATCH_ROWS, CopyDecoder, dialect, shown};
pub use foreign::ForeignColumns;
pub use ipc::{IpcMessages, IpcStream};

/// Decodes a value of PostgreSQL's binary format: given by the door that knows it.
pub type DecodeBinary = fn(&[u8], &SqlType) -> SqlResult<Value>;

/// Text that a client has sent.
///
/// # Errors
/// `22021`
pub fn utf8(bytes: &[u8]) -> SqlResult<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        // As many bytes as the first one says that the character has.
        let length = match bytes[at] {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf7 => 4,
            _ => 1,
        };
        let shown: Vec<String> = bytes[at..].iter().take(length).map(|b| format!("0x{b:02x}")).collect();
        SqlError::new(
            SqlState::CharacterNotInRepertoire,
            format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
        )
    })
}
