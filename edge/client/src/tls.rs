//! TLS towards the cluster: whom the client believes, and what it shows.
//!
//! Files are read again for each connection, so that a certificate or a CA that was replaced is used by the next one. Only
//! what is given is believed: the system's own list of authorities is not looked at.

use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom to believe, and what to show. Begin with [`Tls::new`].
///
/// ```no_run
/// # fn story() -> quorate::Result<()> {
/// use quorate::{Client, Tls};
/// let tls = Tls::new().cacert("ca.crt").identity("client.crt", "client.key");
/// let q = Client::builder().endpoints(["https://10.0.0.1:2379"]).tls(tls).connect_lazily()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Tls {
    cacert: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    believes_anybody: bool,
}

impl Tls {
    /// Believes nobody and shows nothing.
    pub fn new() -> Tls {
        Tls::default()
    }

    /// Believes members whose certificate is signed by one of those in this PEM file, and is for the host in the
    /// endpoint.
    pub fn cacert(mut self, file: impl Into<PathBuf>) -> Tls {
        self.cacert = Some(file.into());
        self
    }

    /// Shows the certificate in this PEM file, with its chain; its key is in another.
    pub fn identity(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Tls {
        self.identity = Some((cert.into(), key.into()));
        self
    }

    /// Believes anybody. What is said to them is hidden from everybody else, and that is all: whoever answers may not be a
    /// member.
    pub fn insecure_skip_verify(mut self) -> Tls {
        self.believes_anybody = true;
        self
    }

    /// What rustls needs, of the files as they are now.
    pub(crate) fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match (&self.cacert, self.believes_anybody) {
            (_, true) => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(provider))),
            (Some(file), false) => {
                let mut roots = RootCertStore::empty();
                for ca in certificates(file)? {
                    roots
                        .add(ca)
                        .map_err(|error| format!("{}: {error}", file.display()))?;
                }
                builder.with_root_certificates(roots)
            }
            (None, false) => {
                let text = "for https:// the certificate of an authority is needed (or verification is skipped)";
                return Err(text.to_owned());
            }
        };
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let private = PrivateKeyDer::from_pem_slice(&read(key)?)
                    .map_err(|error| format!("{} has no private key: {error}", key.display()))?;
                builder
                    .with_client_auth_cert(certificates(cert)?, private)
                    .map_err(|error| format!("{}: {error}", cert.display()))?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(file)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(format!("{} has no certificate in PEM", file.display())),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<TlsStream<TcpStream>>>> + Send>>;

/// Makes connections of a channel.
pub(crate) fn connector(
    tls: Tls,
) -> impl tower::Service<
    http::Uri,
    Response = TokioIo<TlsStream<TcpStream>>,
    Error = io::Error,
    Future = Connecting,
> + Send
+ Clone
+ 'static {
    tower::service_fn(move |uri: http::Uri| -> Connecting {
        let tls = tls.clone();
        Box::pin(async move { connect(&tls, &uri).await.map(TokioIo::new) })
    })
}

async fn connect(tls: &Tls, uri: &http::Uri) -> io::Result<TlsStream<TcpStream>> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| invalid(format!("{host}: {error}")))?;
    let config = tls.config().map_err(invalid)?;
    let socket = TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?;
    socket.set_nodelay(true)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
}

/// Believes whoever has the key of what they show.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
