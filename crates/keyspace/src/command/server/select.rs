//! SELECT number, within a transaction or a script; a connection's own is the door's.

use bytes::Bytes;

use crate::spec::{Category, Flags, Group, Run, Spec};
use crate::{Error, Reply, Result, Writer, args};

/// SELECT
pub(super) static SELECT: Spec = Spec {
    name: "select",
    arity: 2,
    flags: Flags::LOADING.union(Flags::STALE).union(Flags::FAST),
    category: Category::CONNECTION,
    group: Group::Connection,
    since: "1.0.0",
    summary: "Chooses the database of the connection",
    run: Run::Write(select),
    ..Spec::DEFAULT
};

fn select(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let number = args::integer(&args[1])?;
    let databases = writer.state().settings.databases;
    let number = u32::try_from(number).ok().filter(|number| *number < databases);
    writer.context.db.number = number.ok_or_else(|| Error::reply("ERR DB index is out of range"))?;
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use crate::twin::Twin;

    #[test]
    fn a_database_is_a_number_below_the_limit() {
        Twin::new().check(
            "SELECT 3 => OK
             SELECT 16 => (error) ERR DB index is out of range
             SELECT -1 => (error) ERR DB index is out of range
             SELECT x => (error) ERR value is not an integer or out of range",
        );
    }
}
