//! `perigee log verify`.

use std::sync::Arc;

use perigee_log::{Meta, verify as verify_log};
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
    let anchor = Meta::open(Arc::clone(&files), &meta)?.last_anchor();
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
