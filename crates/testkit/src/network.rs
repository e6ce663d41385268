//! A network between the nodes of a cluster that can be cut, each way by itself.
//!
//! Every node is reached at a proxy's address. Who connects is found out by the socket's inode among the open files of the nodes'
//! processes (Linux), so that nodes need not know of it. What is cut is held, not refused, as a network does that loses packets:
//! when it heals, the bytes go on.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::TestkitError;
use crate::server::free_addresses;

const PUMP_BYTES: usize = 64 << 10;

/// Ways that are cut: from a node to a node, counted from 0.
type Cuts = BTreeSet<(usize, usize)>;
type Processes = Arc<Mutex<Vec<Option<u32>>>>;

/// See the module. The proxies end with it.
pub struct Network {
    cuts: watch::Sender<Cuts>,
    processes: Processes,
    addresses: Vec<SocketAddr>,
    threads: Option<tokio::runtime::Runtime>,
}

impl Network {
    /// A network of nodes that listen at `nodes`.
    ///
    /// # Errors
    /// When there is no port or no thread for it.
    pub fn new(nodes: &[SocketAddr]) -> Result<Self, TestkitError> {
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("network")
            .enable_all()
            .build()
            .map_err(TestkitError::io("threads of the network"))?;
        let (cuts, watching) = watch::channel(Cuts::new());
        let processes: Processes = Arc::new(Mutex::new(vec![None; nodes.len()]));
        let mut addresses = Vec::new();
        for (number, node) in nodes.iter().enumerate() {
            let address = free_addresses(1)?[0];
            let listener = threads.block_on(TcpListener::bind(address)).map_err(TestkitError::io("a proxy"))?;
            threads.spawn(accept(listener, number, *node, Arc::clone(&processes), watching.clone()));
            addresses.push(address);
        }
        Ok(Self { cuts, processes, addresses, threads: Some(threads) })
    }

    /// Where the nodes are reached.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The process that a node is now.
    pub fn runs_as(&self, number: usize, process: Option<u32>) {
        if let Some(known) = self.processes.lock().unwrap_or_else(|e| e.into_inner()).get_mut(number) {
            *known = process;
        }
    }

    /// From here on nothing that `from` sends reaches `to`.
    pub fn cut(&self, from: usize, to: usize) {
        self.cuts.send_modify(|cuts| {
            cuts.insert((from, to));
        });
    }

    /// Cuts a node off from all others, both ways.
    pub fn isolate(&self, number: usize) {
        for other in (0..self.addresses.len()).filter(|other| *other != number) {
            self.cut(number, other);
            self.cut(other, number);
        }
    }

    /// All is as it should be again.
    pub fn heal(&self) {
        self.cuts.send_modify(Cuts::clear);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, to: usize, node: SocketAddr, processes: Processes, cuts: watch::Receiver<Cuts>) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let (processes, cuts) = (Arc::clone(&processes), cuts.clone());
        let at = listener.local_addr();
        tokio::spawn(async move {
            let Some(from) = sender(peer, at?, &processes).await else { return Ok(()) };
            carry(stream, (from, to), node, cuts).await
        });
    }
}

async fn carry(
    stream: TcpStream,
    way: (usize, usize),
    node: SocketAddr,
    cuts: watch::Receiver<Cuts>,
) -> io::Result<()> {
    let target = TcpStream::connect(node).await?;
    stream.set_nodelay(true)?;
    target.set_nodelay(true)?;
    let (from_read, from_write) = stream.into_split();
    let (to_read, to_write) = target.into_split();
    tokio::select! {
        _ = pump(from_read, to_write, way, cuts.clone()) => {}
        _ = pump(to_read, from_write, (way.1, way.0), cuts) => {}
    }
    Ok(())
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: (usize, usize),
    mut cuts: watch::Receiver<Cuts>,
) -> io::Result<()> {
    let mut buffer = vec![0; PUMP_BYTES];
    loop {
        let read = from.read(&mut buffer).await;
        // Nor does the other side learn that this one has gone.
        let _ = cuts.wait_for(|cuts| !cuts.contains(&way)).await;
        match read? {
            0 => return to.shutdown().await,
            count => to.write_all(&buffer[..count]).await?,
        }
    }
}

/// Which node has opened the connection that comes from `peer`.
async fn sender(peer: SocketAddr, at: SocketAddr, processes: &Processes) -> Option<usize> {
    for _ in 0..100 {
        let known = processes.lock().unwrap_or_else(|e| e.into_inner()).clone();
        // Not on the thread that carries bytes: tables of the system are long.
        let looked = tokio::task::spawn_blocking(move || {
            let link = format!("socket:[{}]", inode(peer, at)?);
            Some(known.iter().position(|process| process.is_some_and(|process| has_open(process, &link))))
        });
        match looked.await.ok().flatten() {
            Some(Some(found)) => return Some(found),
            // Who has connected has gone.
            None => return None,
            Some(None) => {}
        }
        // The test has not told us of its process yet, or it is gone.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    None
}

/// The inode of the socket at `local` that is connected to `remote`.
fn inode(local: SocketAddr, remote: SocketAddr) -> Option<u64> {
    let (local, remote) = (in_hex(local)?, in_hex(remote)?);
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let found = fields.next()? == local && fields.next()? == remote;
        found.then(|| fields.nth(6)?.parse().ok()).flatten()
    })
}

fn in_hex(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else { return None };
    Some(format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port()))
}

fn has_open(process: u32, link: &str) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target == Path::new(link)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn what_is_cut_is_held_and_goes_on_when_it_heals() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let network = Network::new(&[listener.local_addr().unwrap(), "127.0.0.1:1".parse().unwrap()]).unwrap();
        network.runs_as(1, Some(std::process::id()));
        let mut client = TcpStream::connect(network.addresses()[0]).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let (heard, hears) = mpsc::channel();
        let mut reading = server.try_clone().unwrap();
        thread::spawn(move || {
            let mut byte = [0];
            while reading.read_exact(&mut byte).is_ok() && heard.send(byte[0]).is_ok() {}
        });
        let patience = Duration::from_secs(60);
        client.write_all(b"a").unwrap();
        assert_eq!(hears.recv_timeout(patience), Ok(b'a'));
        network.cut(1, 0);
        client.write_all(b"b").unwrap();
        assert!(hears.recv_timeout(Duration::from_millis(300)).is_err(), "it is cut");
        // The other way is open.
        server.write_all(b"c").unwrap();
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"c");
        network.heal();
        assert_eq!(hears.recv_timeout(patience), Ok(b'b'));
    }
}
