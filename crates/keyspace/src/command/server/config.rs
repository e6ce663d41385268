//! CONFIG SET name value …, for settings that every node must have alike; CONFIG GET name … of those that were set

use bytes::Bytes;

use crate::spec::{Category, Flags, Group, Run, Spec};
use crate::{Error, Reader, Reply, Result, Writer};

/// The longest name or value of a setting.
const BYTES_MAX: usize = 4_096;

/// CONFIG
pub(super) static CONFIG: Spec = Spec {
    name: "config",
    arity: -2,
    group: Group::Server,
    since: "2.0.0",
    summary: "Parameters",
    subcommands: &[&GET, &SET],
    run: Run::Container,
    ..Spec::DEFAULT
};

const FLAGS: Flags = Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE);

static GET: Spec = Spec {
    name: "config|get",
    arity: -3,
    flags: FLAGS,
    category: Category::empty(),
    group: Group::Server,
    since: "2.0.0",
    summary: "Values of parameters",
    run: Run::Read(get),
    ..Spec::DEFAULT
};

static SET: Spec = Spec {
    name: "config|set",
    arity: -4,
    flags: FLAGS,
    category: Category::empty(),
    group: Group::Server,
    since: "2.0.0",
    summary: "Sets parameters",
    run: Run::Write(set),
    ..Spec::DEFAULT
};

fn get(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    let values = &reader.state().settings.values;
    let found = args[2..].iter().filter_map(|name| {
        let value = values.get(std::str::from_utf8(name).ok()?)?;
        Some((Reply::Bulk(name.clone()), Reply::bulk(value)))
    });
    Ok(Reply::Map(found.collect()))
}

fn set(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let mut wanted = Vec::new();
    for pair in args[2..].chunks(2) {
        let [name, value] = pair else { return Err(Error::SYNTAX) };
        let text =
            |bytes: &Bytes| std::str::from_utf8(bytes).ok().filter(|text| text.len() <= BYTES_MAX).map(str::to_owned);
        let (Some(name), Some(value)) = (text(name), text(value)) else { return Err(Error::SYNTAX) };
        wanted.push((name.to_ascii_lowercase(), value));
    }
    writer.set_settings(wanted);
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use crate::twin::Twin;

    #[test]
    fn what_was_set_is_given_back() {
        let mut twin = Twin::new();
        twin.check(
            "CONFIG SET Hash-Max-Listpack-Entries 7 zset-max-listpack-value 9 => OK
             CONFIG GET hash-max-listpack-entries x => {\"hash-max-listpack-entries\": \"7\"}
             CONFIG SET a b c => (error) ERR syntax error",
        );
        assert_eq!(twin.state.settings.number("hash-max-listpack-entries", 128), 7);
    }
}
