//! Composite types: CREATE TYPE … AS (…).
//!
//! A value is kept as bytes: its attributes in the encoding of rows. What the bytes are stands in the type.

use serde::{Deserialize, Serialize};

use crate::enum_type::quoted;
use crate::error::{SqlError, SqlResult, SqlState};
use crate::ids::Oid;
use crate::row;
use crate::sql_type::SqlType;
use crate::text::{self, OutputSettings, record};
use crate::value::Value;

/// A composite type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CompositeType {
    /// Its oid.
    pub oid: Oid,
    /// The oid of the type of its arrays.
    pub array: Oid,
    /// The oid under which `pg_class` and `pg_attribute` have it.
    pub relation: Oid,
    /// Its name.
    pub name: String,
    /// Names and types of its attributes, in order.
    pub attributes: Vec<(String, SqlType)>,
}

impl CompositeType {
    /// The bytes that are kept of attributes, which have the attributes' types.
    #[must_use]
    pub fn encode(&self, values: &[Value]) -> Vec<u8> {
        let mut kept = Vec::new();
        row::encode(values, &mut kept);
        kept
    }

    /// The attributes that are kept so.
    ///
    /// # Errors
    /// `XX000` for bytes that are none.
    pub fn decode(&self, kept: &[u8]) -> SqlResult<Vec<Value>> {
        let mut rest = kept;
        row::decode(&mut rest, self.attributes.len()).map_err(SqlError::internal)
    }

    /// Reads `(value,"other value",)`.
    ///
    /// # Errors
    /// `22P02` for another form or count, and what the attributes' types refuse.
    pub fn parse(&self, text: &str, settings: &OutputSettings) -> SqlResult<Vec<u8>> {
        let malformed = |why: &str| {
            let message = format!("malformed record literal: \"{text}\"");
            SqlError::new(SqlState::InvalidTextRepresentation, message).detail(why)
        };
        let fields = record::parse_fields(text).map_err(malformed)?;
        // Without attributes `()` has none, else one that is NULL.
        let fields = if self.attributes.is_empty() && fields == [None] { Vec::new() } else { fields };
        if fields.len() != self.attributes.len() {
            let many = fields.len() > self.attributes.len();
            return Err(malformed(if many { "Too many columns." } else { "Too few columns." }));
        }
        let values = fields.into_iter().zip(&self.attributes).map(|(field, (_, ty))| match field {
            Some(field) => text::parse_with(&field, ty, settings),
            None => Ok(Value::Null),
        });
        Ok(self.encode(&values.collect::<SqlResult<Vec<_>>>()?))
    }

    /// The text of bytes that are kept.
    #[must_use]
    pub fn format(&self, kept: &[u8], settings: &OutputSettings) -> String {
        let mut out = Vec::new();
        record::format_record(&mut out, &self.decode(kept).unwrap_or_default(), &self.attributes, settings);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// Its name as SQL needs it.
    #[must_use]
    pub fn display_name(&self) -> String {
        quoted(&self.name)
    }

    /// The place of an attribute.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.attributes.iter().position(|(known, _)| known == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let attributes = vec![("name".to_owned(), SqlType::Text), ("n".to_owned(), SqlType::Int4)];
        let ty = CompositeType { oid: Oid(1), array: Oid(2), relation: Oid(3), name: "t".to_owned(), attributes };
        let check = |text: &str, want: &str| {
            let settings = &OutputSettings::DEFAULT;
            let got = match ty.parse(text, settings) {
                Ok(kept) => ty.format(&kept, settings),
                Err(error) => error.state().code().to_owned(),
            };
            assert_eq!(got, want, "{text}");
        };
        check("(a,1)", "(a,1)");
        check(" ( a b ,1) ", "(\" a b \",1)");
        check("(,)", "(,)");
        check("(\"\",7)", "(\"\",7)");
        check("(\"say \"\"x\"\" \\\\\",7)", "(\"say \"\"x\"\" \\\\\",7)");
        check("(a)", "22P02");
        check("(a,1,2)", "22P02");
        check("a,1", "22P02");
        check("(a,1", "22P02");
        check("(a,1)x", "22P02");
        check("(a,x)", "22P02");
        assert!(ty.decode(&[255]).is_err());
    }
}
