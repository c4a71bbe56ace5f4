//! TLS in front of a server, with a certificate that nobody trusts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// For 127.0.0.1; and its key, which no other use is made of.
const SELF_SIGNED: &[u8] = include_bytes!("tls/self-signed.pem");

/// A port that speaks TLS for another one, on 127.0.0.1. Dropped, it and its connections are closed.
#[derive(Debug)]
pub(crate) struct TlsFront {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl TlsFront {
    pub(crate) async fn of(server: SocketAddr) -> io::Result<Self> {
        let certificate = CertificateDer::from_pem_slice(SELF_SIGNED).map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_slice(SELF_SIGNED).map_err(io::Error::other)?;
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(vec![certificate], key))
            .map_err(io::Error::other)?;
        let (acceptor, socket) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind(("127.0.0.1", 0)).await?);
        let address = socket.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = socket.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // A client that trusts nobody unknown ends here.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let Ok(mut server) = TcpStream::connect(server).await else { return };
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Ok(Self { address, _tasks: tasks })
    }

    /// `https://127.0.0.1:port`
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}
