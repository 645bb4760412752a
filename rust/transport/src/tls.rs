//! Who is on a link: TLS 1.3 with raw Ed25519 public keys (RFC 7250) on both sides.
//!
//! What TLS calls a certificate is here the `SubjectPublicKeyInfo` of one Ed25519 key: a constant prefix and 32 bytes.
//! It is compared with the keys that are expected; nothing else is read from it.

use std::sync::{Arc, RwLock};

use pssmr_types::{PublicKey, SecretKey};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Connection, DigitallySignedStruct,
    DistinguishedName, Error, OtherError, PeerMisbehaved, ServerConfig, ServerConnection, SignatureScheme, version,
};

use crate::config::AcceptKeys;
use crate::error::HandshakeFailure;

/// The DER that comes before the 32 bytes of an Ed25519 public key (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2A, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x03, 0x21, 0x00];

fn spki(key: &PublicKey) -> Vec<u8> {
    [&SPKI_PREFIX[..], key.as_bytes()].concat()
}

fn key_of_spki(spki: &[u8]) -> Option<PublicKey> {
    let bytes: [u8; 32] = spki.strip_prefix(&SPKI_PREFIX)?.try_into().ok()?;
    PublicKey::from_bytes(bytes).ok()
}

/// The key that the other side has proved. Only after the handshake.
pub(crate) fn proved_key(tls: &Connection) -> Option<PublicKey> {
    key_of_spki(tls.peer_certificates()?.first()?)
}

/// One side's key, and whom it accepts: makes the TLS half of connections.
pub(crate) struct Identity {
    provider: Arc<CryptoProvider>,
    certified: Arc<CertifiedKey>,
    alpn: &'static [u8],
    accept_keys: Arc<RwLock<AcceptKeys>>,
    server: Arc<ServerConfig>,
}

impl Identity {
    pub(crate) fn new(secret: &SecretKey, alpn: &'static [u8], accept_keys: AcceptKeys) -> Result<Self, Error> {
        // One group and two ciphers: the fast one wherever the processor has AES, and one for the others.
        let provider = Arc::new(CryptoProvider {
            cipher_suites: vec![
                ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
                ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![ring::kx_group::X25519],
            ..ring::default_provider()
        });
        let signer = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(secret.to_pkcs8_der()))?;
        let certificate = CertificateDer::from(spki(&secret.public()));
        let certified = Arc::new(CertifiedKey::new(vec![certificate], signer));
        let accept_keys = Arc::new(RwLock::new(accept_keys));
        let verifier =
            AcceptVerifier { accept_keys: Arc::clone(&accept_keys), signatures: Signatures(Arc::clone(&provider)) };
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::clone(&certified))));
        server.alpn_protocols = vec![alpn.to_vec()];
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        Ok(Self { provider, certified, alpn, accept_keys, server: Arc::new(server) })
    }

    /// The TLS half of an accepted connection.
    pub(crate) fn accept(&self) -> Result<Connection, Error> {
        ServerConnection::new(Arc::clone(&self.server)).map(Connection::from)
    }

    /// How to dial the holder of `key`.
    pub(crate) fn dialer(&self, key: PublicKey) -> Result<Arc<ClientConfig>, Error> {
        let verifier = DialVerifier { spki: spki(&key), signatures: Signatures(Arc::clone(&self.provider)) };
        let mut client = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::clone(&self.certified))));
        client.alpn_protocols = vec![self.alpn.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_sni = false;
        Ok(Arc::new(client))
    }

    /// Replaces the set of keys that may connect; for handshakes from now on.
    pub(crate) fn set_accept_keys(&self, keys: AcceptKeys) {
        *self.accept_keys.write().expect("nobody panics with this lock") = keys;
    }

    /// Whether the handshake has agreed on this side's protocol. TLS lets a client offer none at all.
    pub(crate) fn agrees_on_alpn(&self, tls: &Connection) -> bool {
        tls.alpn_protocol() == Some(self.alpn)
    }
}

/// The TLS half of a dialed connection.
pub(crate) fn dial(config: &Arc<ClientConfig>) -> Result<Connection, Error> {
    // The name is never sent (no SNI) and never compared: the key is what is checked.
    let name = ServerName::try_from("pssmr").expect("a valid name");
    ClientConnection::new(Arc::clone(config), name).map(Connection::from)
}

/// What an error before the link was up means.
pub(crate) fn handshake_failure(error: Error) -> HandshakeFailure {
    match &error {
        Error::InvalidCertificate(CertificateError::Other(OtherError(cause))) => {
            match cause.downcast_ref::<UnexpectedKey>() {
                Some(UnexpectedKey(key)) => HandshakeFailure::UnexpectedKey(*key),
                None => HandshakeFailure::Tls(error),
            }
        }
        Error::NoApplicationProtocol | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            HandshakeFailure::WrongAlpn
        }
        Error::AlertReceived(
            AlertDescription::CertificateUnknown | AlertDescription::AccessDenied | AlertDescription::BadCertificate,
        ) => HandshakeFailure::KeyRefused,
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            HandshakeFailure::NotTls
        }
        Error::PeerIncompatible(_)
        | Error::NoCertificatesPresented
        | Error::AlertReceived(
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRequired,
        ) => HandshakeFailure::Incompatible,
        _ => HandshakeFailure::Tls(error),
    }
}

/// The other side's key is not one that may be there.
#[derive(Debug, thiserror::Error)]
#[error("unexpected key")]
struct UnexpectedKey(Option<PublicKey>);

fn unexpected(spki: &[u8]) -> Error {
    let cause = UnexpectedKey(key_of_spki(spki));
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(cause))))
}

/// Ed25519 over the handshake, with the provider's implementation.
#[derive(Debug)]
struct Signatures(Arc<CryptoProvider>);

impl Signatures {
    fn verify(
        &self,
        message: &[u8],
        spki: &[u8],
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if dss.scheme != SignatureScheme::ED25519 {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        let spki = SubjectPublicKeyInfoDer::from(spki);
        verify_tls13_signature_with_raw_key(message, &spki, dss, &self.0.signature_verification_algorithms)
    }
}

fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
}

/// Checks whoever answers a dial: the one expected key.
#[derive(Debug)]
struct DialVerifier {
    spki: Vec<u8>,
    signatures: Signatures,
}

impl ServerCertVerifier for DialVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if intermediates.is_empty() && end_entity.as_ref() == self.spki {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(unexpected(end_entity))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// Checks whoever connects: one of the keys that may.
#[derive(Debug)]
struct AcceptVerifier {
    accept_keys: Arc<RwLock<AcceptKeys>>,
    signatures: Signatures,
}

impl ClientCertVerifier for AcceptVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let accept_keys = self.accept_keys.read().expect("nobody panics with this lock");
        match key_of_spki(end_entity) {
            Some(key) if intermediates.is_empty() && accept_keys.contains(&key) => Ok(ClientCertVerified::assertion()),
            _ => Err(unexpected(end_entity)),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The handshake of a dialer with the acceptor that has `key`, without sockets; the error of whoever ends it.
    fn handshake(dialer: &Identity, acceptor: &Identity, key: PublicKey) -> Result<(), Error> {
        let mut sides = [dial(&dialer.dialer(key)?)?, acceptor.accept()?];
        while sides.iter().any(|side| side.is_handshaking()) {
            for side in 0..2 {
                let mut wire = Vec::new();
                while sides[side].wants_write() {
                    sides[side].write_tls(&mut wire).unwrap();
                }
                let mut wire = &wire[..];
                while !wire.is_empty() {
                    sides[1 - side].read_tls(&mut wire).unwrap();
                    sides[1 - side].process_new_packets()?;
                }
            }
        }
        Ok(())
    }

    #[test]
    fn a_key_is_proved_by_a_signature_and_not_by_naming_it() {
        let [dialer, acceptor, thief] = [1, 2, 3].map(|seed| SecretKey::from_seed([seed; 32]));
        let identity =
            |secret: &SecretKey| Identity::new(secret, b"test", AcceptKeys::only([dialer.public()])).unwrap();
        let taker = identity(&acceptor);
        assert_eq!(handshake(&identity(&dialer), &taker, acceptor.public()), Ok(()));
        let signer = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(thief.to_pkcs8_der())).unwrap();
        let named = CertifiedKey::new(vec![CertificateDer::from(spki(&dialer.public()))], signer);
        let liar = Identity { certified: Arc::new(named), ..identity(&thief) };
        let refused = handshake(&liar, &taker, acceptor.public());
        assert_eq!(refused, Err(Error::InvalidCertificate(CertificateError::BadSignature)));
    }

    #[test]
    fn only_the_exact_form_of_an_ed25519_key_is_read() {
        let key = SecretKey::from_seed([5; 32]).public();
        let good = spki(&key);
        assert_eq!(key_of_spki(&good), Some(key));
        assert_eq!(key_of_spki(&good[..43]), None);
        assert_eq!(key_of_spki(&[&good[..], &[0]].concat()), None);
        let mut other_algorithm = good.clone();
        other_algorithm[8] = 0x71;
        assert_eq!(key_of_spki(&other_algorithm), None);
        let weak = [&SPKI_PREFIX[..], &[0; 32]].concat();
        assert_eq!(key_of_spki(&weak), None);
    }
}
