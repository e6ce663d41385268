//! Makes the code and the descriptors of `perigee.v1` from `proto/`. A crate of its own, outside of the workspace: what it
//! needs would change the features of what the workspace builds, and few changes need it.
//!
//! `cargo run --manifest-path protocols/grpc/generate/Cargo.toml`, then `cargo fmt --all`.

use std::error::Error;
use std::path::Path;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let grpc = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let descriptors = protox::compile(["perigee/v1/admin.proto"], [grpc.join("proto")])?;
    let out = grpc.join("src/generated");
    std::fs::create_dir_all(&out)?;
    // Comments and places are for the code, not for reflection.
    let mut plain = descriptors.clone();
    plain.file.iter_mut().for_each(|file| file.source_code_info = None);
    std::fs::write(out.join("perigee.v1.bin"), plain.encode_to_vec())?;
    tonic_prost_build::configure().build_transport(false).out_dir(&out).compile_fds(descriptors)?;
    Ok(())
}
