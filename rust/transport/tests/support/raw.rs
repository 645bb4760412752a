//! A TLS client that does what a `Transport` never does.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use pssmr_types::SecretKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, version};

/// Trusts whoever answers.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// A hand-driven TLS 1.3 connection.
pub struct RawClient {
    tcp: TcpStream,
    tls: ClientConnection,
    /// What the other side has sent, decrypted.
    pub received: Vec<u8>,
    /// The other side has ended the connection.
    pub ended: bool,
}

impl RawClient {
    /// Connects; with the key if there is one, offering the protocols of `alpn`.
    pub fn new(address: SocketAddr, secret: Option<&SecretKey>, alpn: &[&[u8]]) -> Self {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting));
        let mut config = match secret {
            None => builder.with_no_client_auth(),
            Some(secret) => {
                let signer = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(secret.to_pkcs8_der())).unwrap();
                let spki = signer.public_key().unwrap().to_vec();
                let certified = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signer));
                builder.with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified)))
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config.resumption = Resumption::disabled();
        let tls = ClientConnection::new(Arc::new(config), ServerName::try_from("any").unwrap()).unwrap();
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_nonblocking(true).unwrap();
        Self { tcp, tls, received: Vec::new(), ended: false }
    }

    /// Sends `plaintext`, as soon as TLS allows it.
    pub fn say(&mut self, plaintext: &[u8]) {
        self.tls.writer().write_all(plaintext).unwrap();
    }

    /// Writes and reads what can be.
    pub fn turn(&mut self) {
        while self.tls.wants_write() && self.tls.write_tls(&mut self.tcp).is_ok() {}
        match self.tls.read_tls(&mut self.tcp) {
            Ok(0) => self.ended = true,
            Ok(_) => {}
            Err(error) => self.ended |= error.kind() != ErrorKind::WouldBlock,
        }
        self.ended |= self.tls.process_new_packets().is_err();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = self.tls.reader().read(&mut buffer) {
            self.received.extend_from_slice(&buffer[..read]);
        }
    }
}
