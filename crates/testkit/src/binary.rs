//! The binary under test.
//!
//! `PERIGEE_BIN` names it; otherwise cargo builds it in the profile of the tests, which costs a second when it is
//! up to date.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::TestkitError;

/// The path of the `perigee` binary.
///
/// # Errors
/// [`TestkitError::Build`].
pub fn perigee() -> Result<PathBuf, TestkitError> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    if let Some(path) = env::var_os("PERIGEE_BIN") {
        return Ok(PathBuf::from(path));
    }
    BUILT.get_or_init(|| build("perigee", "perigee")).clone().ok_or_else(|| TestkitError::Build("perigee".to_owned()))
}

/// The path of the library to preload, `crates/faults`.
///
/// # Errors
/// [`TestkitError::Build`].
pub fn faults() -> Result<PathBuf, TestkitError> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    // Beside the binary that was named, as a build of the whole workspace leaves it.
    let beside = env::var_os("PERIGEE_BIN").map(|path| PathBuf::from(path).with_file_name("libperigee_faults.so"));
    if let Some(path) = beside.filter(|path| path.exists()) {
        return Ok(path);
    }
    let built = BUILT.get_or_init(|| build("perigee-faults", "libperigee_faults.so"));
    built.clone().ok_or_else(|| TestkitError::Build("perigee-faults".to_owned()))
}

fn build(package: &str, file: &str) -> Option<PathBuf> {
    let folder = profile_folder()?;
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace).args(["build", "--quiet", "-p", package, "--target-dir"]).arg(folder.parent()?);
    // cargo calls the dev profile's folder "debug".
    match folder.file_name()?.to_str()? {
        "debug" => {}
        profile => drop(command.args(["--profile", profile])),
    }
    let built = command.status().is_ok_and(|status| status.success());
    built.then(|| folder.join(file)).filter(|path| path.exists())
}

/// `target/<profile>`, from the running test's own path `target/<profile>/deps/<test>`.
fn profile_folder() -> Option<PathBuf> {
    let test = env::current_exe().ok()?;
    Some(test.parent()?.parent()?.to_owned())
}
