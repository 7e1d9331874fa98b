//! TLS, with the certificate looked at rather than obeyed.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, SignatureScheme,
};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Failure;

/// What a server showed.
#[derive(Debug, Clone)]
pub(in crate::doctor) struct Certificate {
    /// Its certificate, and those that lead to an authority.
    pub(in crate::doctor) chain: Vec<CertificateDer<'static>>,
    /// Why clients refuse it; none: they do not.
    pub(in crate::doctor) trouble: Option<Trouble>,
}

/// Why clients refuse a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) enum Trouble {
    /// Its time is over.
    Expired,
    /// Its time has not come, or this clock is wrong.
    NotYetValid,
    /// It is for another name.
    WrongName,
    /// No authority that this host trusts has signed it.
    Untrusted,
    /// Something else.
    Other(String),
}

impl Certificate {
    /// What this host's own rules say of it at another time, when `host` shows it.
    pub(in crate::doctor) fn at(&self, host: &str, time: Duration) -> Result<(), Error> {
        let Some((leaf, others)) = self.chain.split_first() else { return Ok(()) };
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| CertificateError::NotValidForName)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let time = UnixTime::since_unix_epoch(time);
        rules(&provider)?.verify_server_cert(leaf, others, &name, &[], time).map(|_| ())
    }
}

/// The rules of this host. The authorities are read from the disk, once.
fn rules(provider: &Arc<CryptoProvider>) -> Result<&'static Verifier, Error> {
    static RULES: OnceLock<Result<Verifier, Error>> = OnceLock::new();
    RULES.get_or_init(|| Verifier::new(Arc::clone(provider))).as_ref().map_err(Clone::clone)
}

/// Shakes hands with `host`.
pub(super) async fn wrap(
    stream: TcpStream,
    host: &str,
) -> Result<(TlsStream<TcpStream>, Certificate), Failure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::Tls(format!("`{host}` is no name of a server")))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let witness = Arc::new(Witness { provider: Arc::clone(&provider), seen: Mutex::default() });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Tls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as _)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    match TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => {
            let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
            Ok((stream, Certificate { chain, trouble: witness.trouble() }))
        }
        Err(error) => Err(failure(&error)),
    }
}

fn failure(error: &std::io::Error) -> Failure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        // The first bytes are no TLS record: most often `HTTP/1.1 400`.
        Some(Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        )) => Failure::NotTls,
        Some(error) => Failure::Tls(error.to_string()),
        None => Failure::Reset,
    }
}

/// Lets every certificate pass, and remembers what the host's own rules say of it.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Option<Trouble>>,
}

impl Witness {
    fn trouble(&self) -> Option<Trouble> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = rules(&self.provider).and_then(|rules| {
            rules.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        });
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = verdict.err().map(trouble);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn trouble(error: Error) -> Trouble {
    match error {
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Trouble::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Trouble::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Trouble::WrongName
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Trouble::Untrusted,
            // A certificate that signed itself, as an authority does.
            CertificateError::Other(why)
                if why.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
            {
                Trouble::Untrusted
            }
            other => Trouble::Other(other.to_string()),
        },
        // Such as: there is no authority at all.
        other => Trouble::Other(other.to_string()),
    }
}
