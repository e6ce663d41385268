//! The door over a keyspace without a log, for outside suites and fuzzing.
//!
//! `cargo run -p perigee-resp --example twin -- 127.0.0.1:6390 [password]`

use perigee_resp::{RespOptions, twin};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let address = args.next().unwrap_or_else(|| "127.0.0.1:6390".to_owned());
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let stop = CancellationToken::new();
    let server = twin::door(listener.local_addr()?.port(), args.next(), RespOptions::default(), stop.clone())?;
    server.serve(listener, None, stop).await;
    Ok(())
}
