//! `perigee cert`: a cluster's own authority, and certificates for its members.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use perigee_security::authority::{AuthorityError, Certified, certify, new_authority};

use crate::cli::CertCommand;
use crate::failure::Failure;

const AUTHORITY: &str = "authority";

/// Makes what was asked for. Files that are there are never replaced.
pub(crate) fn run(command: &CertCommand) -> Result<(), Failure> {
    match command {
        CertCommand::Authority { dir, missing } => {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unwritten(dir))?;
            if *missing && is_there(dir, AUTHORITY) {
                return Ok(());
            }
            write(dir, AUTHORITY, &new_authority().map_err(failure)?)?;
            println!("keep {AUTHORITY}.key where no node is: who has it can make members");
        }
        CertCommand::Node { dir, name, missing } => {
            let path = dir.join(format!("{AUTHORITY}.key"));
            let key = fs::read_to_string(&path).map_err(|error| {
                let made = format!("perigee cert authority --dir {}", dir.display());
                Failure::Refused(format!("{}: {error}; `{made}` makes an authority", path.display()))
            })?;
            for name in name {
                if name == AUTHORITY {
                    return Err(Failure::Refused(format!("no node can have the name {AUTHORITY:?} here")));
                }
                if *missing && is_there(dir, name) {
                    continue;
                }
                write(dir, name, &certify(&key, name).map_err(failure)?)?;
            }
        }
    }
    Ok(())
}

/// Whether key and certificate of a name are there. One without the other is not left alone: writing says which is in the way.
fn is_there(dir: &Path, name: &str) -> bool {
    let both = ["key", "crt"].iter().all(|suffix| dir.join(format!("{name}.{suffix}")).is_file());
    if both {
        println!("{} is there", dir.join(format!("{name}.crt")).display());
    }
    both
}

fn failure(error: AuthorityError) -> Failure {
    Failure::Refused(error.to_string())
}

fn unwritten(path: &Path) -> impl Fn(std::io::Error) -> Failure {
    move |error| Failure::Refused(format!("{}: {error}", path.display()))
}

/// The key first: a certificate without one is of no use, and would keep the next try from writing it.
fn write(dir: &Path, name: &str, certified: &Certified) -> Result<(), Failure> {
    // A name is no path.
    if name.contains(['/', '\\']) || name.starts_with('.') {
        return Err(Failure::Refused(format!("{name:?} is no name of a node")));
    }
    for (suffix, text, mode) in [("key", &certified.key, 0o600), ("crt", &certified.certificate, 0o644)] {
        let path = dir.join(format!("{name}.{suffix}"));
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).map_err(unwritten(&path))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(unwritten(&path))?;
        println!("{}", path.display());
    }
    Ok(())
}
