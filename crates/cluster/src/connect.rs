//! Connections to other members and from them, with and without TLS.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use perigee_security::tls::{CertificateDer, MemberTls};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Handshakes at a time; more wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 32;
/// Shortest and longest pause behind a connection that could not be made.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// A connection, whatever protects it.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Makes connections to one member; behind a failure not at once.
pub(crate) struct Connector {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) tls: Option<MemberTls>,
    pub(crate) failed: Mutex<Option<(Instant, Duration)>>,
}

impl Connector {
    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Io>> {
        if let Some((until, _)) = *self.failed.lock()
            && Instant::now() < until
        {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "it could not be reached a moment ago"));
        }
        let connected = tokio::time::timeout(HANDSHAKE, self.handshake()).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let mut failed = self.failed.lock();
        match &connected {
            Ok(_) => *failed = None,
            Err(error) => {
                let pause = failed.map_or(PAUSE.0, |(_, pause)| (pause * 2).min(PAUSE.1));
                tracing::debug!(node = self.name, address = self.address, %error, "cannot connect");
                *failed = Some((Instant::now() + pause, pause));
            }
        }
        connected
    }

    async fn handshake(&self) -> io::Result<Box<dyn Io>> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let name = ServerName::try_from(self.name.clone()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(Arc::clone(&tls.client)).connect(name, stream).await?;
        Ok(Box::new(stream))
    }
}

/// What is known of who has connected.
#[derive(Clone, Debug)]
pub(crate) struct PeerCertificate(pub(crate) Option<CertificateDer<'static>>);

/// A connection that was accepted.
pub(crate) struct Accepted {
    io: Box<dyn Io>,
    certificate: PeerCertificate,
}

impl Connected for Accepted {
    type ConnectInfo = PeerCertificate;

    fn connect_info(&self) -> PeerCertificate {
        self.certificate.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        std::pin::Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::pin::Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// Accepts until `closing`; each handshake is a task of its own, so that a silent client holds up nobody.
pub(crate) async fn accept(
    listener: TcpListener,
    tls: Option<MemberTls>,
    accepted: mpsc::Sender<io::Result<Accepted>>,
    closing: CancellationToken,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(turn) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let next = tokio::select! {
            biased;
            () = closing.cancelled() => return,
            next = listener.accept() => next,
        };
        let stream = match next {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of another member");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, accepted) = (tls.clone(), accepted.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE, welcome(stream, tls)).await {
                Ok(Ok(connection)) => drop(accepted.send(Ok(connection)).await),
                Ok(Err(error)) => tracing::debug!(%error, "a connection to the cluster address was refused"),
                Err(_) => tracing::debug!("a connection to the cluster address stayed silent"),
            }
            drop(turn);
        });
    }
}

async fn welcome(stream: TcpStream, tls: Option<MemberTls>) -> io::Result<Accepted> {
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        return Ok(Accepted { io: Box::new(stream), certificate: PeerCertificate(None) });
    };
    let stream = TlsAcceptor::from(tls.server).accept(stream).await?;
    let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let certificate = PeerCertificate(certificate.map(|certificate| certificate.clone().into_owned()));
    Ok(Accepted { io: Box::new(stream), certificate })
}
