//! The scripts and libraries of all tenants; a part of the state.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use perigee_storage::store::ContentSum;
use perigee_types::Oid;
use perigee_types::row::{get_bytes, get_varint, put_bytes, put_varint};

use super::shebang::{ScriptFlags, eval_header, is_name, library_header};
use super::vm::{compile, load_library};

/// Code with what the compiler makes of it; that is made when it is needed, on each node.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    /// As the client sent it, with its first line.
    pub(crate) text: Bytes,
    compiled: Arc<OnceLock<Arc<[u8]>>>,
}

impl Code {
    /// Code, copied.
    pub(crate) fn new(text: &[u8]) -> Self {
        Self { text: Bytes::copy_from_slice(text), compiled: Arc::default() }
    }

    /// Its bytecode.
    pub(crate) fn bytecode(&self, compile: impl FnOnce(&[u8]) -> Result<Vec<u8>, String>) -> Result<Arc<[u8]>, String> {
        if let Some(bytecode) = self.compiled.get() {
            return Ok(Arc::clone(bytecode));
        }
        let bytecode: Arc<[u8]> = compile(&self.text)?.into();
        Ok(Arc::clone(self.compiled.get_or_init(|| bytecode)))
    }
}

/// A script.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) code: Code,
    pub(crate) flags: ScriptFlags,
    /// Bytes of its first line.
    pub(crate) header_len: usize,
    /// Whether only EVAL named it: such scripts are forgotten when there are many.
    by_eval: bool,
    /// Counts runs of all scripts: its last one.
    used: u64,
}

impl Script {
    fn new(text: &[u8], by_eval: bool, used: u64) -> Result<Self, String> {
        let header = eval_header(text)?;
        Ok(Self { code: Code::new(text), flags: header.flags, header_len: header.len, by_eval, used })
    }

    /// Its bytecode.
    pub(crate) fn bytecode(&self) -> Result<Arc<[u8]>, String> {
        self.code.bytecode(|text| {
            compile(text, self.header_len, "@user_script")
                .map_err(|text| format!("Error compiling script (new function): {text}"))
        })
    }
}

/// A function of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: Bytes,
    pub(crate) description: Option<Bytes>,
    pub(crate) flags: ScriptFlags,
}

/// A library.
#[derive(Clone, Debug)]
pub(crate) struct Library {
    pub(crate) code: Code,
    /// Bytes of its first line.
    pub(crate) header_len: usize,
    /// Its functions, by name.
    pub(crate) functions: Vec<Function>,
}

impl Library {
    /// The name that a library's code gives it.
    pub(crate) fn name_of(text: &[u8]) -> Result<Bytes, String> {
        library_header(text).map(|header| header.name.unwrap_or_default())
    }

    /// Compiles a library and runs its code once, to know its functions.
    pub(crate) fn load(text: &[u8]) -> Result<Self, String> {
        let header_len = library_header(text)?.len;
        let mut library = Self { code: Code::new(text), header_len, functions: Vec::new() };
        library.functions = load_library(&library.bytecode()?)?;
        if library.functions.is_empty() {
            return Err("No functions registered".to_owned());
        }
        Ok(library)
    }

    /// Its bytecode.
    pub(crate) fn bytecode(&self) -> Result<Arc<[u8]>, String> {
        self.code.bytecode(|text| {
            compile(text, self.header_len, "@user_function").map_err(|text| format!("Error compiling function: {text}"))
        })
    }
}

/// Scripts that only EVAL named are kept up to so many.
const EVAL_SCRIPTS_MAX: usize = 500;

/// The scripts and libraries of a tenant.
#[derive(Debug, Default)]
pub(crate) struct Tenant {
    pub(crate) scripts: BTreeMap<[u8; 40], Script>,
    pub(crate) libraries: BTreeMap<Bytes, Library>,
    /// Runs of scripts.
    runs: u64,
}

impl Tenant {
    /// Makes a script known, if it can be compiled. One that EVAL named takes the place of the one not used for longest.
    pub(crate) fn remember(&mut self, text: &[u8], by_eval: bool) -> Result<[u8; 40], String> {
        let digest = super::sha1_hex(text);
        if let Some(script) = self.scripts.get_mut(&digest) {
            script.by_eval &= by_eval;
            return Ok(digest);
        }
        let script = Script::new(text, by_eval, self.runs)?;
        script.bytecode()?;
        let of_eval = || self.scripts.iter().filter(|(_, script)| script.by_eval);
        if by_eval && of_eval().count() >= EVAL_SCRIPTS_MAX {
            let oldest = of_eval().min_by_key(|(_, script)| script.used).map(|(digest, _)| *digest);
            oldest.map(|digest| self.scripts.remove(&digest));
        }
        self.scripts.insert(digest, script);
        Ok(digest)
    }

    /// A script that is run now.
    pub(crate) fn use_script(&mut self, digest: &[u8; 40]) -> Option<Script> {
        let script = self.scripts.get_mut(digest)?;
        self.runs += 1;
        script.used = self.runs;
        Some(script.clone())
    }

    /// A function, in any case, with its library's name and its library.
    pub(crate) fn function(&self, name: &[u8]) -> Option<(&Bytes, &Library, &Function)> {
        self.libraries.iter().find_map(|(library_name, library)| {
            let function = library.functions.iter().find(|function| function.name.eq_ignore_ascii_case(name))?;
            Some((library_name, library, function))
        })
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct ScriptStore {
    tenants: BTreeMap<Oid, Tenant>,
}

impl ScriptStore {
    /// A tenant's.
    pub(crate) fn tenant(&self, tenant: Oid) -> Option<&Tenant> {
        self.tenants.get(&tenant)
    }

    /// A tenant's, to change.
    pub(crate) fn tenant_mut(&mut self, tenant: Oid) -> &mut Tenant {
        self.tenants.entry(tenant).or_default()
    }

    /// Whether a script is known, by its digest, and says that it does not write.
    #[must_use]
    pub fn script_never_writes(&self, tenant: Oid, digest: &[u8]) -> bool {
        let Ok(digest) = <[u8; 40]>::try_from(digest.to_ascii_lowercase()) else { return false };
        let script = self.tenant(tenant).and_then(|tenant| tenant.scripts.get(&digest));
        script.is_some_and(|script| script.flags.contains(ScriptFlags::NO_WRITES))
    }

    /// The same of a function, by its name.
    #[must_use]
    pub fn function_never_writes(&self, tenant: Oid, name: &[u8]) -> bool {
        let function = self.tenant(tenant).and_then(|tenant| tenant.function(name));
        function.is_some_and(|(_, _, function)| function.flags.contains(ScriptFlags::NO_WRITES))
    }

    /// Over the libraries of functions. Scripts are no part of it: they are forgotten by how they are used.
    pub(crate) fn library_sum(&self) -> ContentSum {
        let mut sum = ContentSum::default();
        let mut bytes = Vec::new();
        for (oid, tenant) in &self.tenants {
            for (name, library) in &tenant.libraries {
                bytes.clear();
                put_varint(u64::from(oid.0), &mut bytes);
                put_bytes(name, &mut bytes);
                put_bytes(&library.code.text, &mut bytes);
                sum.add(&bytes);
            }
        }
        sum
    }

    /// How many scripts, libraries and functions there are.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        self.tenants.values().fold((0, 0, 0), |(scripts, libraries, functions), tenant| {
            let own: usize = tenant.libraries.values().map(|library| library.functions.len()).sum();
            (scripts + tenant.scripts.len(), libraries + tenant.libraries.len(), functions + own)
        })
    }

    /// Writes it for a checkpoint.
    ///
    /// As bytes: tenants: count, then each oid | runs | scripts: count, then each code, whether only EVAL named it, last use
    /// | libraries: count, then each name, code, functions: count, then each name, flags, whether it has a description,
    /// description.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(self.tenants.len() as u64, out);
        for (oid, tenant) in &self.tenants {
            put_varint(u64::from(oid.0), out);
            put_varint(tenant.runs, out);
            put_varint(tenant.scripts.len() as u64, out);
            for script in tenant.scripts.values() {
                put_bytes(&script.code.text, out);
                put_varint(u64::from(script.by_eval), out);
                put_varint(script.used, out);
            }
            put_varint(tenant.libraries.len() as u64, out);
            for (name, library) in &tenant.libraries {
                put_bytes(name, out);
                put_bytes(&library.code.text, out);
                put_varint(library.functions.len() as u64, out);
                for function in &library.functions {
                    put_bytes(&function.name, out);
                    put_varint(u64::from(function.flags.bits()), out);
                    put_varint(u64::from(function.description.is_some()), out);
                    put_bytes(function.description.as_deref().unwrap_or_default(), out);
                }
            }
        }
    }

    /// Reads what [`ScriptStore::encode`] wrote, and moves behind it; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let mut store = Self::default();
        for _ in 0..get_varint(bytes).ok()? {
            let tenant = store.tenant_mut(Oid(u32::try_from(get_varint(bytes).ok()?).ok()?));
            tenant.runs = get_varint(bytes).ok()?;
            for _ in 0..get_varint(bytes).ok()? {
                let text = get_bytes(bytes).ok()?;
                let by_eval = get_varint(bytes).ok()? != 0;
                let script = Script::new(text, by_eval, get_varint(bytes).ok()?).ok()?;
                tenant.scripts.insert(super::sha1_hex(text), script);
            }
            for _ in 0..get_varint(bytes).ok()? {
                let name = Bytes::copy_from_slice(get_bytes(bytes).ok()?);
                let text = get_bytes(bytes).ok()?;
                let header = library_header(text).ok()?;
                let mut library = Library { code: Code::new(text), header_len: header.len, functions: Vec::new() };
                for _ in 0..get_varint(bytes).ok()? {
                    let name = Bytes::copy_from_slice(get_bytes(bytes).ok()?);
                    let flags = ScriptFlags::from_bits(u8::try_from(get_varint(bytes).ok()?).ok()?)?;
                    let has_description = get_varint(bytes).ok()? != 0;
                    let description = Bytes::copy_from_slice(get_bytes(bytes).ok()?);
                    let description = has_description.then_some(description);
                    is_name(&name).then_some(())?;
                    library.functions.push(Function { name, description, flags });
                }
                tenant.libraries.insert(name, library);
            }
        }
        Some(store)
    }
}
