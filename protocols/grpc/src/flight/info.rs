//! What this server can do, and the types that it has.

use arrow::record_batch::RecordBatch;
use arrow_flight::sql::metadata::{SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetSqlInfo, CommandGetXdbcTypeInfo, Nullable, Searchable, SqlInfo, SqlSupportedTransaction, XdbcDataType,
    XdbcDatetimeSubcode,
};
use tonic::Status;

use super::query::internal;

/// Names are folded to lower case, unless they are quoted: the values of `SqlSupportedCaseSensitivity`.
const CASE_FOLDED: i64 = 3;
const CASE_KEPT: i64 = 1;
/// NULL comes last: a value of `SqlNullOrdering`.
const NULL_IS_GREATEST: i64 = 0;

/// Answers GetSqlInfo.
pub(crate) fn sql_info(wanted: CommandGetSqlInfo) -> Result<RecordBatch, Status> {
    let mut infos = SqlInfoDataBuilder::new();
    infos.append(SqlInfo::FlightSqlServerName, "Perigee");
    infos.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    infos.append(SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION);
    for (info, has) in [
        (SqlInfo::FlightSqlServerReadOnly, false),
        (SqlInfo::FlightSqlServerSql, true),
        (SqlInfo::FlightSqlServerSubstrait, false),
        (SqlInfo::FlightSqlServerCancel, true),
        (SqlInfo::FlightSqlServerBulkIngestion, true),
        (SqlInfo::FlightSqlServerIngestTransactionsSupported, true),
        (SqlInfo::SqlDdlCatalog, true),
        (SqlInfo::SqlDdlSchema, true),
        (SqlInfo::SqlDdlTable, true),
        (SqlInfo::SqlAllTablesAreSelectable, false),
        (SqlInfo::SqlSupportsColumnAliasing, true),
        (SqlInfo::SqlNullPlusNullIsNull, true),
    ] {
        infos.append(info, has);
    }
    infos.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::Savepoint as i32);
    infos.append(SqlInfo::SqlIdentifierCase, CASE_FOLDED);
    infos.append(SqlInfo::SqlQuotedIdentifierCase, CASE_KEPT);
    infos.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    infos.append(SqlInfo::SqlNullOrdering, NULL_IS_GREATEST);
    infos.append(SqlInfo::SqlSearchStringEscape, "\\");
    let infos = infos.build().map_err(internal)?;
    wanted.into_builder(&infos).build().map_err(internal)
}

/// Answers GetXdbcTypeInfo.
pub(crate) fn types(wanted: CommandGetXdbcTypeInfo) -> Result<RecordBatch, Status> {
    use XdbcDataType as Xdbc;
    let mut types = XdbcTypeInfoDataBuilder::new();
    // Name, type, size, what stands around a literal.
    for (name, ty, size, quoted) in [
        ("boolean", Xdbc::XdbcBit, Some(1), false),
        ("smallint", Xdbc::XdbcSmallint, Some(16), false),
        ("integer", Xdbc::XdbcInteger, Some(32), false),
        ("bigint", Xdbc::XdbcBigint, Some(64), false),
        ("numeric", Xdbc::XdbcNumeric, Some(1_000), false),
        ("real", Xdbc::XdbcReal, Some(24), false),
        ("double precision", Xdbc::XdbcDouble, Some(53), false),
        ("text", Xdbc::XdbcLongvarchar, None, true),
        ("character varying", Xdbc::XdbcVarchar, Some(10_485_760), true),
        ("character", Xdbc::XdbcChar, Some(10_485_760), true),
        ("bytea", Xdbc::XdbcVarbinary, None, true),
        ("date", Xdbc::XdbcDate, Some(13), true),
        ("time", Xdbc::XdbcTime, Some(15), true),
        ("timestamp", Xdbc::XdbcTimestamp, Some(29), true),
        ("timestamptz", Xdbc::XdbcTimestamp, Some(35), true),
        ("interval", Xdbc::XdbcInterval, Some(49), true),
        ("json", Xdbc::XdbcUnknownType, None, true),
        ("jsonb", Xdbc::XdbcUnknownType, None, true),
        ("uuid", Xdbc::XdbcUnknownType, Some(36), true),
    ] {
        let is_number = !quoted && ty != Xdbc::XdbcBit;
        let subcode = match ty {
            // Its number is that of a date.
            Xdbc::XdbcDate => Some(XdbcDatetimeSubcode::XdbcSubcodeYear),
            Xdbc::XdbcTime => Some(XdbcDatetimeSubcode::XdbcSubcodeTime),
            Xdbc::XdbcTimestamp => Some(XdbcDatetimeSubcode::XdbcSubcodeTimestamp),
            _ => None,
        };
        let quote = quoted.then(|| "'".to_owned());
        types.append(XdbcTypeInfo {
            type_name: name.to_owned(),
            data_type: ty,
            column_size: size,
            literal_prefix: quote.clone(),
            literal_suffix: quote,
            create_params: match name {
                "numeric" => Some(vec!["precision".to_owned(), "scale".to_owned()]),
                "character" | "character varying" => Some(vec!["length".to_owned()]),
                _ => None,
            },
            nullable: Nullable::NullabilityNullable,
            case_sensitive: quoted,
            searchable: Searchable::Full,
            unsigned_attribute: is_number.then_some(false),
            auto_increment: is_number.then_some(false),
            local_type_name: Some(name.to_owned()),
            sql_data_type: ty,
            datetime_subcode: subcode,
            num_prec_radix: is_number.then(|| if name == "numeric" { 10 } else { 2 }),
            ..XdbcTypeInfo::default()
        });
    }
    let types = types.build().map_err(internal)?;
    wanted.into_builder(&types).build().map_err(internal)
}
