//! A node with its gRPC door open, asked as operators ask it.

use std::process::Command;

use perigee_testkit::{Server, ServerOptions, binary};

/// Starts a node with its gRPC door open, and says where that is.
#[must_use]
pub fn server_with_grpc(options: ServerOptions) -> (Server, String) {
    let server = options.with_grpc().start().unwrap();
    let address = server.grpc().to_string();
    (server, address)
}

/// What `perigee admin` prints, and its exit code.
#[must_use]
pub fn admin(address: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let mut command = Command::new(binary::perigee().unwrap());
    let output = command.args(["admin", "--address", address]).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.code())
}

/// Log, catalog, rows and indexes of a node agree.
///
/// # Panics
/// Where they do not, with the report.
pub fn verify(address: &str) {
    let (text, code) = admin(address, &["verify"]);
    assert!(code == Some(0) && text.ends_with("all is well\n"), "{text}");
}
