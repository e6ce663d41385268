//! FUNCTION DUMP and FUNCTION RESTORE: libraries as bytes.
//!
//! As bytes: `PFN1` | libraries: count, then the length and the code of each | checksum of all before it, 8 bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};
use xxhash_rust::xxh3::xxh3_64;

use super::function::{refuse_doubles, wrong_count};
use crate::args::is;
use crate::script::Library;
use crate::{Error, Reader, Reply, Result, Writer};

const MAGIC: &[u8; 4] = b"PFN1";

pub(super) fn dump(reader: &Reader<'_>, _: &[Bytes]) -> Result<Reply> {
    let known = reader.state().scripts.tenant(reader.context.db.tenant);
    let mut out = MAGIC.to_vec();
    put_varint(known.map_or(0, |known| known.libraries.len()) as u64, &mut out);
    for library in known.iter().flat_map(|known| known.libraries.values()) {
        put_bytes(&library.code.text, &mut out);
    }
    let sum = xxh3_64(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    Ok(Reply::bulk(out))
}

fn codes(payload: &[u8]) -> Option<Vec<&[u8]>> {
    let (body, sum) = payload.split_last_chunk::<8>()?;
    if xxh3_64(body) != u64::from_le_bytes(*sum) {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let mut codes = Vec::new();
    for _ in 0..get_varint(&mut rest).ok()? {
        codes.push(get_bytes(&mut rest).ok()?);
    }
    rest.is_empty().then_some(codes)
}

pub(super) fn restore(writer: &mut Writer<'_>, args: &[Bytes]) -> Result<Reply> {
    let (mut flush, mut replace) = (false, false);
    match args.get(3) {
        _ if args.len() > 4 => return Err(wrong_count(&args[1])),
        None => {}
        Some(policy) if is(policy, "append") => {}
        Some(policy) if is(policy, "replace") => replace = true,
        Some(policy) if is(policy, "flush") => flush = true,
        Some(_) => {
            let text = "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.";
            return Err(Error::reply(text));
        }
    }
    let codes = codes(&args[2]).ok_or(Error::reply("ERR DUMP payload version or checksum are wrong"))?;
    let error = |text: String| Error::reply(format!("ERR {text}"));
    let tenant = writer.context.db.tenant;
    let known = writer.state().scripts.tenant(tenant).filter(|_| !flush);
    let mut libraries: BTreeMap<Bytes, Library> = BTreeMap::new();
    for code in codes {
        let name = Library::name_of(code).map_err(error)?;
        if !replace && known.is_some_and(|known| known.libraries.contains_key(&name)) {
            return Err(error(format!("Library {} already exists", String::from_utf8_lossy(&name))));
        }
        let library = Library::load(code).map_err(error)?;
        refuse_doubles(&library.functions, libraries.iter())?;
        libraries.insert(name, library);
    }
    for library in libraries.values() {
        let others = known.into_iter().flat_map(|known| &known.libraries);
        refuse_doubles(&library.functions, others.filter(|(name, _)| !libraries.contains_key(*name)))?;
    }
    let all = &mut writer.scripts_mut().tenant_mut(tenant).libraries;
    if flush {
        all.clear();
    }
    all.extend(libraries);
    Ok(Reply::OK)
}
