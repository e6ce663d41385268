//! Makes the code and the descriptors of `perigee.v1` from `proto/`. A crate of its own, outside of the workspace: what it
//! needs would change the features of what the workspace builds, and few changes need it.
//!
//! `cargo run --manifest-path crates/api/generate/Cargo.toml`, then `cargo fmt --all`.

use std::error::Error;
use std::path::Path;

use prost::Message;

/// What there is.
const FILES: [&str; 5] = [
    "perigee/v1/admin.proto",
    "perigee/v1/error.proto",
    "perigee/v1/key_value.proto",
    "perigee/v1/sql.proto",
    "perigee/v1/time_series.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let descriptors = protox::compile(FILES, [api.join("proto")])?;
    let out = api.join("src/generated");
    std::fs::create_dir_all(&out)?;
    // Comments and places are for the code, not for reflection.
    let mut plain = descriptors.clone();
    plain.file.iter_mut().for_each(|file| file.source_code_info = None);
    std::fs::write(out.join("perigee.v1.bin"), plain.encode_to_vec())?;
    tonic_prost_build::configure().build_transport(false).out_dir(&out).compile_fds(descriptors)?;
    Ok(())
}
