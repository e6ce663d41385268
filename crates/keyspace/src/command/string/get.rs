//! GET key

use bytes::Bytes;

use crate::object::Str;
use crate::spec::{Category, Flags, Group, KeyFlags, KeySpec, Run, Spec};
use crate::{Reader, Reply, Result};

/// GET
pub(super) static GET: Spec = Spec {
    name: "get",
    arity: 2,
    flags: Flags::READONLY.union(Flags::FAST),
    category: Category::STRING,
    keys: &[KeySpec::one(1, KeyFlags::RO.union(KeyFlags::ACCESS))],
    group: Group::String,
    since: "1.0.0",
    summary: "The string that a key holds",
    run: Run::Read(get),
    ..Spec::DEFAULT
};

fn get(reader: &Reader<'_>, args: &[Bytes]) -> Result<Reply> {
    Ok(Reply::bulk_or_null(reader.get::<Str>(&args[1])?.map(Str::to_bytes)))
}

#[cfg(test)]
mod tests {
    use crate::twin::Twin;

    #[test]
    fn a_key_that_is_absent_is_null() {
        Twin::new().check("GET k => nil");
    }
}
