//! How large a value may be: as in PostgreSQL, and no larger than what all queries together may hold. Functions ask before
//! they make one, because a small statement may ask for a large one.

use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::error::{DataFusionError, Result};
use perigee_types::{SqlError, SqlResult, SqlState, Value};

use super::function::Call;
use crate::exec::error::from_sql;

/// The longest value, as in PostgreSQL.
const BYTES_MAX: usize = (1 << 30) - 5;
/// Elements of all arrays that a function may make for one batch of rows: they stand in one column.
const ELEMENTS_MAX: usize = 1 << 24;
/// Steps of a loop that makes a value between two looks at whether the statement is canceled.
const STEPS: usize = 1024;

/// What queries may hold together. One number for the process, because constants are folded where no query runs yet.
static MEMORY_BYTES: AtomicUsize = AtomicUsize::new(BYTES_MAX);

/// Tells how many bytes queries may hold together.
pub(in crate::exec) fn set_memory(bytes: usize) {
    MEMORY_BYTES.store(bytes, Ordering::Relaxed);
}

/// Refuses a value of so many bytes (`None`: more than can be counted) that would be too large.
///
/// # Errors
/// `54000` for what no value may have, `53200` for what does not fit the memory of queries.
pub(in crate::exec) fn check_bytes(bytes: Option<usize>) -> SqlResult<()> {
    match bytes {
        Some(bytes) if bytes <= BYTES_MAX => match bytes <= MEMORY_BYTES.load(Ordering::Relaxed) {
            true => Ok(()),
            false => Err(SqlError::new(SqlState::OutOfMemory, "out of memory")
                .detail(format!("Failed on request of size {bytes}."))),
        },
        _ => Err(SqlError::new(SqlState::ProgramLimitExceeded, "requested length too large")),
    }
}

/// [`check_bytes`] of a value that is made.
pub(in crate::exec) fn check_value(value: &Value) -> SqlResult<()> {
    match value {
        Value::Text(_) | Value::Bytea(_) | Value::Array(_) => check_bytes(Some(value.size_bytes())),
        _ => Ok(()),
    }
}

/// What a function has made so far for a batch of rows.
#[derive(Default)]
pub(super) struct Made {
    bytes: usize,
    elements: usize,
}

impl Made {
    /// Counts one more value.
    ///
    /// # Errors
    /// [`DataFusionError::ResourcesExhausted`] where a batch of fewer rows may do, `54000` for too many elements of arrays.
    pub(super) fn add(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Text(text) => self.bytes += text.len(),
            Value::Bytea(bytes) => self.bytes += bytes.len(),
            Value::Array(of) => {
                self.bytes = self.bytes.saturating_add(value.size_bytes());
                self.elements += of.len();
            }
            _ => return Ok(()),
        }
        if self.elements > ELEMENTS_MAX {
            return Err(from_sql(too_many_elements()));
        }
        if self.bytes > BYTES_MAX.min(MEMORY_BYTES.load(Ordering::Relaxed)) {
            return Err(DataFusionError::ResourcesExhausted(format!("a batch of rows takes {} bytes", self.bytes)));
        }
        Ok(())
    }
}

fn too_many_elements() -> SqlError {
    let message = format!("arrays of a batch of rows have more than {ELEMENTS_MAX} elements together");
    SqlError::new(SqlState::ProgramLimitExceeded, message)
}

/// An array of values, checked while they are made.
///
/// # Errors
/// As [`check_bytes`], `54000` for too many elements, `57014`.
pub(super) fn array(values: impl Iterator<Item = Value>, call: &Call<'_>) -> SqlResult<Value> {
    let mut elements = Vec::new();
    let mut bytes = 0_usize;
    for (step, value) in values.enumerate() {
        if step % STEPS == 0 {
            call.check_canceled()?;
            check_bytes(Some(bytes))?;
        }
        if step == ELEMENTS_MAX {
            return Err(too_many_elements());
        }
        bytes = bytes.saturating_add(value.size_bytes());
        elements.push(value);
    }
    Ok(Value::Array(elements))
}

/// A text that grows piece by piece.
pub(super) struct Growing<'a> {
    text: String,
    steps: usize,
    call: &'a Call<'a>,
}

impl<'a> Growing<'a> {
    pub(super) fn new(call: &'a Call<'a>) -> Self {
        Self { text: String::new(), steps: 0, call }
    }

    /// Puts one more piece behind what there is.
    ///
    /// # Errors
    /// As [`check_bytes`], `57014`.
    pub(super) fn push(&mut self, piece: &str) -> SqlResult<()> {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS) {
            self.call.check_canceled()?;
        }
        check_bytes(self.text.len().checked_add(piece.len()))?;
        self.text.push_str(piece);
        Ok(())
    }

    pub(super) fn finish(self) -> Value {
        Value::Text(self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_value_is_postgresqls() {
        assert!(check_bytes(Some(1024)).is_ok());
        for bytes in [None, Some(BYTES_MAX + 1)] {
            assert_eq!(check_bytes(bytes).unwrap_err().state(), SqlState::ProgramLimitExceeded);
        }
    }

    #[test]
    fn elements_are_counted_before_there_are_too_many() {
        let call = Call { types: &[], returned: &arrow::datatypes::DataType::Null, declared: None, view: None };
        let endless = std::iter::repeat_with(|| Value::Null);
        // Other tests of the process may have made its memory small.
        let refused = |state| matches!(state, SqlState::ProgramLimitExceeded | SqlState::OutOfMemory);
        assert!(refused(array(endless, &call).unwrap_err().state()));
        let large = std::iter::repeat_with(|| Value::Text("x".repeat(1 << 20)));
        assert!(refused(array(large, &call).unwrap_err().state()));
    }
}
