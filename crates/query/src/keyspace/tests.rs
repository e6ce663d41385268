//! Rows as commands.

use perigee_types::Value;

use super::KeyTable;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn ms(ms: i64) -> Value {
    Value::Timestamptz(ms * 1_000)
}

fn line(command: &[bytes::Bytes]) -> String {
    command.iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
}

fn inserted(table: KeyTable, row: &[Value]) -> String {
    let commands = table.insert(row, 2).unwrap();
    commands.iter().map(|command| line(command)).collect::<Vec<_>>().join("; ")
}

#[test]
fn rows_that_are_inserted_are_commands() {
    let db = || Value::Int4(0);
    let check = |table: KeyTable, row: Vec<Value>, want: &str| assert_eq!(inserted(table, &row), want);
    check(KeyTable::Strings, vec![db(), text("k"), text("v"), Value::Null], "SET k v");
    check(KeyTable::Strings, vec![db(), text("k"), text("\\xff00"), ms(5)], "SET k \\xff\\x00 PXAT 5");
    // Only what is no text is shown in hexadecimal digits.
    check(KeyTable::Strings, vec![db(), text("k"), text("\\x61"), Value::Null], "SET k \\\\x61");
    check(
        KeyTable::Hashes,
        vec![db(), text("k"), text("f"), text("v"), ms(7), ms(9)],
        "HSET k f v; HPEXPIREAT k 7 FIELDS 1 f; PEXPIREAT k 9",
    );
    check(KeyTable::Lists, vec![db(), text("k"), Value::Null, text("v"), Value::Null], "RPUSH k v");
    check(KeyTable::Lists, vec![db(), text("k"), Value::Int8(2), text("v"), Value::Null], "RPUSH k v");
    check(KeyTable::Lists, vec![db(), text("k"), Value::Int8(0), text("v"), Value::Null], "LPUSH k v");
    check(KeyTable::Sets, vec![db(), text("k"), text("m"), Value::Null], "SADD k m");
    check(
        KeyTable::SortedSets,
        vec![db(), text("k"), Value::Null, text("m"), Value::Float8(0.1), Value::Null],
        "ZADD k 0.1 m",
    );
    check(
        KeyTable::Samples,
        vec![db(), text("k"), ms(12), Value::Float8(1e300), Value::Null],
        &format!("TS.ADD k 12 {}", 1e300),
    );
    let elsewhere = [db(), text("k"), Value::Int8(1), text("v"), Value::Null];
    assert!(KeyTable::Lists.insert(&elsewhere, 2).is_err());
    assert!(KeyTable::Keys.insert(&elsewhere, 0).is_err());
}
