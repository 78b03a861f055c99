//! `kit s3-proxy`: stands in front of an S3 store and makes the trouble that a network and a provider make.
//!
//! Requests go on byte for byte, with their `Host`, so that signatures stay good; answers come back as they are
//! unless something is armed ([`crate::s3_control`]): 503, slowness, a reset in the middle of a body, a clock
//! that is off, a cap. Plain HTTP or TLS towards the client, and towards the store. It speaks HTTP/1.1, keeps
//! nothing, and retries nothing. Read [`forward`] for the way of a request, [`troubles`] for what is armed.
pub mod body;
pub mod ctl;
pub mod forward;
pub mod operation;
pub mod troubles;

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use fault::Register;
use http::Uri;
use hyper::{client::conn::http1::SendRequest, service::service_fn};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig, crypto,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use self::{
    body::Suffering,
    forward::{Connection, Io},
    troubles::Troubles,
};
use crate::s3_control::{Ask, SOCKET, Status};

/// What the proxy is started with.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The store: `http://minio:9000`
    #[arg(long)]
    upstream: Uri,
    /// The authority that signed the store's certificate, as PEM; needed for an `https` store
    #[arg(long)]
    upstream_ca: Option<PathBuf>,
    /// Where to listen
    #[arg(long, default_value = "0.0.0.0:9000")]
    listen: SocketAddr,
    /// The certificate shown to clients, as PEM; without it plain HTTP
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key, as PEM
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The store's name in faults; without it the bucket's
    #[arg(long)]
    name: Option<String>,
    /// The control socket, for `kit s3-ctl`
    #[arg(long, default_value = SOCKET)]
    control: PathBuf,
}

/// Serves until the process is told to end.
pub fn main(args: Args) -> anyhow::Result<ExitCode> {
    crate::process::log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let tls = match args.tls_cert.as_ref().zip(args.tls_key.as_ref()) {
            Some((cert, key)) => Some(acceptor(cert, key)?),
            None => None,
        };
        let connector = args.upstream_ca.as_deref().map(connector).transpose()?;
        let proxy = Proxy::new(args.upstream.clone(), connector, args.name)?;
        let (address, _serving) = proxy
            .listen(args.listen, tls)
            .await
            .with_context(|| format!("cannot listen at {}", args.listen))?;
        crate::socket::serve(&args.control, {
            let proxy = proxy.clone();
            move |ask| proxy.control(ask)
        })
        .with_context(|| format!("cannot listen for control at {}", args.control.display()))?;
        println!("serving {} at {address}", args.upstream);
        crate::process::told_to_end().await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// A proxy.
pub struct Proxy {
    /// Where requests go.
    pub upstream: Uri,
    /// The store's name in faults.
    pub name: Option<String>,
    /// What is armed.
    pub troubles: Troubles,
    connector: Option<TlsConnector>,
    answers: Mutex<BTreeMap<String, BTreeMap<u16, u64>>>,
    /// Held while something asked is carried out, so that who arms sees its own as the newest.
    turn: Mutex<()>,
}

/// A port that is served while this lives.
pub struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Proxy {
    /// A proxy to this store.
    ///
    /// # Errors
    /// For an address without a host, and for `https` without an authority to trust.
    pub fn new(
        upstream: Uri,
        connector: Option<TlsConnector>,
        name: Option<String>,
    ) -> anyhow::Result<Arc<Self>> {
        anyhow::ensure!(
            upstream.host().is_some(),
            "--upstream {upstream} has no host; give http://HOST:PORT"
        );
        anyhow::ensure!(
            upstream.scheme_str() != Some("https") || connector.is_some(),
            "an https store needs --upstream-ca, the authority that signed its certificate"
        );
        let (troubles, answers) = (Troubles::new(Register::new(1)), Mutex::default());
        Ok(Arc::new(Self { upstream, name, troubles, connector, answers, turn: Mutex::default() }))
    }
    /// Serves at one address, with TLS or without.
    ///
    /// # Errors
    /// Those of binding.
    pub async fn listen(
        self: &Arc<Self>,
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
    ) -> io::Result<(SocketAddr, Serving)> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let proxy = self.clone();
        let task = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        tokio::spawn(proxy.clone().client(stream, tls.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Ok((address, Serving(task)))
    }
    async fn client(self: Arc<Self>, stream: TcpStream, tls: Option<TlsAcceptor>) {
        // Speed is all that is lost without it.
        let _ = stream.set_nodelay(true);
        // A second hold on the socket, to choose how it ends.
        let hold = std::os::fd::AsFd::as_fd(&stream).try_clone_to_owned();
        let served = match tls {
            None => self.serve(stream).await,
            Some(tls) => match tls.accept(stream).await {
                Ok(stream) => self.serve(stream).await,
                Err(error) => return tracing::debug!(%error, "a client's TLS handshake failed"),
            },
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a client's connection ended");
            if let Ok(hold) = hold {
                // Closed at once, with what is unsent thrown away: the client sees a reset.
                let _ = rustix::net::sockopt::set_socket_linger(&hold, Some(Duration::ZERO));
            }
        }
    }
    async fn serve(
        self: &Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> hyper::Result<()> {
        let connection = Arc::new(Connection::new(self.clone()));
        let service = service_fn(move |request| {
            let connection = connection.clone();
            async move { connection.answer(request).await }
        });
        hyper::server::conn::http1::Builder::new().serve_connection(Io::new(stream), service).await
    }
    /// Connects to the store.
    ///
    /// # Errors
    /// Those of the network, of TLS, and of HTTP.
    pub async fn connect(&self) -> io::Result<SendRequest<Suffering>> {
        let host = self.upstream.host().unwrap_or_default();
        let is_tls = self.upstream.scheme_str() == Some("https");
        let port = self.upstream.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        match &self.connector {
            Some(connector) if is_tls => {
                let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
                handshake(connector.connect(name, stream).await?).await
            }
            _ => handshake(stream).await,
        }
    }
    /// Counts an answer.
    pub fn count(&self, operation: &str, status: u16) {
        let mut answers = self.answers.lock().expect("no holder of the counters' lock panics");
        *answers.entry(operation.to_owned()).or_default().entry(status).or_default() += 1;
    }
    /// Carries out what was asked over the control socket.
    ///
    /// # Errors
    /// One sentence: a fault that no proxy can carry out, a number never given.
    pub fn control(&self, ask: Ask) -> Result<Status, String> {
        let _turn = self.turn.lock().expect("no holder of the turn panics");
        match ask {
            Ask::Status => {}
            Ask::Arm(fault) => self.troubles.arm(fault)?,
            Ask::Trouble { what, operation, aim } => self.troubles.make(what, operation, aim),
            Ask::Lift(number) => self.troubles.lift(number)?,
            Ask::Reset => self.troubles.lift_all(),
        }
        Ok(Status {
            upstream: self.upstream.to_string(),
            answers: self.answers.lock().expect("no holder of the counters' lock panics").clone(),
            armed: self.troubles.told(),
        })
    }
}

async fn handshake(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> io::Result<SendRequest<Suffering>> {
    let (sender, connection) =
        hyper::client::conn::http1::handshake(Io::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to the store ended");
        }
    });
    Ok(sender)
}

/// Shows this certificate to clients.
///
/// # Errors
/// For files that cannot be read or do not fit together.
pub fn acceptor(cert: &std::path::Path, key: &std::path::Path) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .with_context(|| format!("cannot read the certificate {}", cert.display()))?;
    let secret = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read the key {}", key.display()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .context("the certificate and the key do not fit together")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Trusts this authority, and no other.
///
/// # Errors
/// For a file that cannot be read or holds no certificate.
pub fn connector(ca: &std::path::Path) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    let unreadable = || format!("cannot read the authority {}", ca.display());
    for certificate in CertificateDer::pem_file_iter(ca).with_context(unreadable)? {
        roots.add(certificate.with_context(unreadable)?).with_context(unreadable)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
