//! The first line of a script or a library: `#!lua name=… flags=…`.

use bitflags::bitflags;
use bytes::Bytes;

bitflags! {
    /// What a script says of itself.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct ScriptFlags: u8 {
        const NO_WRITES = 1;
        const ALLOW_OOM = 1 << 1;
        const ALLOW_STALE = 1 << 2;
        const NO_CLUSTER = 1 << 3;
        const ALLOW_CROSS_SLOT_KEYS = 1 << 4;
        /// It says nothing: it may do whatever the command that runs it may.
        const COMPATIBLE = 1 << 7;
    }
}

/// Flags by their names.
pub(crate) const FLAG_NAMES: [(&str, ScriptFlags); 5] = [
    ("no-writes", ScriptFlags::NO_WRITES),
    ("allow-oom", ScriptFlags::ALLOW_OOM),
    ("allow-stale", ScriptFlags::ALLOW_STALE),
    ("no-cluster", ScriptFlags::NO_CLUSTER),
    ("allow-cross-slot-keys", ScriptFlags::ALLOW_CROSS_SLOT_KEYS),
];

impl ScriptFlags {
    /// The flag with a name.
    pub(crate) fn named(name: &[u8]) -> Option<ScriptFlags> {
        FLAG_NAMES.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, flag)| *flag)
    }

    /// The names of the flags that are set.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        FLAG_NAMES.iter().filter(move |(_, flag)| self.contains(*flag)).map(|(name, _)| *name)
    }
}

/// The first line of a script, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) flags: ScriptFlags,
    pub(crate) name: Option<Bytes>,
    /// Its bytes, without the end of the line: the lines behind it keep their numbers.
    pub(crate) len: usize,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The words of the first line, which may be quoted; none where a quote is not closed.
fn words(line: &[u8]) -> Vec<Bytes> {
    crate::words::split(line).unwrap_or_default()
}

/// Of a script for EVAL; it may have none.
pub(crate) fn eval_header(code: &[u8]) -> Result<Header, String> {
    if !code.starts_with(b"#!") {
        return Ok(Header { flags: ScriptFlags::COMPATIBLE, name: None, len: 0 });
    }
    let len = code.iter().position(|byte| *byte == b'\n').ok_or("Invalid script shebang")?;
    let parts = words(&code[..len]);
    let (engine, options) = parts.split_first().ok_or("Invalid engine in script shebang")?;
    if engine != "#!lua" {
        return Err(format!("Unexpected engine in script shebang: {}", text(engine)));
    }
    let mut flags = ScriptFlags::empty();
    for option in options {
        let Some(names) = option.strip_prefix(b"flags=") else {
            return Err(format!("Unknown lua shebang option: {}", text(option)));
        };
        for name in names.split(|byte| *byte == b',').filter(|_| !names.is_empty()) {
            let wrong = || format!("Unexpected flag in script shebang: {}", text(name));
            flags |= ScriptFlags::named(name).ok_or_else(wrong)?;
        }
    }
    Ok(Header { flags, name: None, len })
}

/// Whether a name may be that of a library or a function.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// What is said of other names.
pub(crate) const WRONG_NAME: &str =
    "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";

/// Of a library for FUNCTION LOAD.
pub(crate) fn library_header(code: &[u8]) -> Result<Header, String> {
    if !code.starts_with(b"#!") {
        return Err("Missing library metadata".to_owned());
    }
    let len = code.iter().position(|byte| *byte == b'\n').ok_or("Invalid library metadata")?;
    let parts = words(&code[..len]);
    let (engine, options) = parts.split_first().ok_or("Invalid library metadata")?;
    let mut name = None;
    for option in options {
        let Some(value) = option.strip_prefix(b"name=") else {
            return Err(format!("Invalid metadata value given: {}", text(option)));
        };
        if name.replace(Bytes::copy_from_slice(value)).is_some() {
            return Err("Invalid metadata value, name argument was given multiple times".to_owned());
        }
    }
    let name = name.ok_or("Library name was not given")?;
    if !is_name(&name) {
        return Err(WRONG_NAME.to_owned());
    }
    if !engine[2..].eq_ignore_ascii_case(b"lua") {
        return Err(format!("Engine '{}' not found", text(&engine[2..])));
    }
    Ok(Header { flags: ScriptFlags::empty(), name: Some(name), len })
}
