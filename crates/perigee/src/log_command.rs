//! `perigee log verify`.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use perigee_log::{Anchor, Meta, verify as verify_log};
use perigee_runtime::{Files, SystemFiles};

use crate::cli::VerifyArguments;
use crate::failure::Failure;

/// Recomputes the hash chain and compares it with the last attestation kept in `meta/`.
///
/// Reads only. A node that runs on the folder meanwhile may have written entries behind the ones reported.
pub(crate) fn verify(arguments: &VerifyArguments) -> Result<(), Failure> {
    let files: Arc<dyn Files> = Arc::new(SystemFiles);
    let (log, meta) = (arguments.data_dir.join("log"), arguments.data_dir.join("meta"));
    for folder in [&log, &meta] {
        if !folder.is_dir() {
            return Err(Failure::DataDir(format!(
                "{} is not a data directory of perigee: there is no {}",
                arguments.data_dir.display(),
                folder.display()
            )));
        }
    }
    let anchor = last_anchor(&files, &meta)?;
    let report = verify_log(&*files, &log, anchor)?;
    println!("the log is whole");
    println!("  entries {} to {}, {} records in {} bytes", report.first, report.last, report.records, report.bytes);
    println!("  chain hash {}", hex::encode(report.head));
    match anchor {
        Some(anchor) if report.anchored => println!("  agrees with the attestation of entry {}", anchor.index),
        Some(anchor) => println!("  the attestation of entry {} is not among these entries", anchor.index),
        None => println!("  there is no attestation yet"),
    }
    if let Some(tail) = report.tail {
        println!("  behind entry {} lies a torn tail, which the next start cuts: {tail:?}", report.last);
    }
    Ok(())
}

/// The last attestation. Opening `meta/` cuts what a crash has torn, and a node may be at work on it: a copy is opened.
fn last_anchor(files: &Arc<dyn Files>, meta: &Path) -> Result<Option<Anchor>, Failure> {
    let copy = std::env::temp_dir().join(format!("perigee-verify-{}", std::process::id()));
    let copied = || {
        fs::create_dir_all(&copy)?;
        for entry in fs::read_dir(meta)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                fs::copy(entry.path(), copy.join(entry.file_name()))?;
            }
        }
        Ok(())
    };
    let result = copied()
        .map_err(|error: std::io::Error| Failure::DataDir(format!("{}: {error}", meta.display())))
        .and_then(|()| Ok(Meta::open(Arc::clone(files), &copy)?.last_anchor()));
    if let Err(error) = fs::remove_dir_all(&copy) {
        tracing::warn!(%error, "{} is left behind", copy.display());
    }
    result
}
