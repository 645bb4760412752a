//! Ed25519 keys: who a replica or a client is.
//!
//! A secret key never shows itself: its `Debug` prints the public half, and its bytes are wiped when it is dropped.

use std::fmt;

use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use crate::ids::Principal;

/// An Ed25519 public key. Not every 32 bytes are one; [`PublicKey::from_bytes`] checks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// An Ed25519 secret key.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

/// Why bytes or text are not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not 64 hexadecimal digits.
    #[error("a public key is 64 hexadecimal digits")]
    NotHexadecimal,
    /// The 32 bytes are not a point of the curve, or one of small order.
    #[error("not an Ed25519 public key")]
    NotAPublicKey,
    /// The text is not a PKCS#8 PEM with an Ed25519 secret key.
    #[error("not an Ed25519 secret key in PKCS#8 PEM form")]
    NotASecretKey,
}

impl PublicKey {
    /// Checks that `bytes` are an Ed25519 public key.
    ///
    /// # Errors
    /// [`KeyError::NotAPublicKey`].
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(bytes)),
            _ => Err(KeyError::NotAPublicKey),
        }
    }

    /// Reads 64 hexadecimal digits, the form that the configuration has.
    ///
    /// # Errors
    /// [`KeyError::NotHexadecimal`] or [`KeyError::NotAPublicKey`].
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(KeyError::NotHexadecimal);
        }
        let mut bytes = [0u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = (pair[0] as char).to_digit(16).ok_or(KeyError::NotHexadecimal)?;
            let low = (pair[1] as char).to_digit(16).ok_or(KeyError::NotHexadecimal)?;
            *byte = (high * 16 + low) as u8;
        }
        Self::from_bytes(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The client that this key is.
    pub fn principal(&self) -> Principal {
        let digest = crate::digest::Digest::of("pssmr principal 1", &self.0);
        let mut first = [0u8; 8];
        first.copy_from_slice(&digest.0[..8]);
        Principal(u64::from_le_bytes(first))
    }

    /// Whether `signature` is this key's signature of `message`. Strict: a malleated signature is refused.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        #[cfg(feature = "remembered-signatures")]
        return remembered::verify(self, message, signature);
        #[cfg(not(feature = "remembered-signatures"))]
        self.verify_anew(message, signature)
    }

    fn verify_anew(&self, message: &[u8], signature: &Signature) -> bool {
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature.0)).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:02x}{:02x}{:02x}{:02x}…)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

impl SecretKey {
    /// The secret key with this seed. The seed must come from the operating system's generator, except in tests.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&seed))
    }

    /// Reads the PKCS#8 PEM form, the one that `openssl genpkey -algorithm ed25519` writes too.
    ///
    /// # Errors
    /// [`KeyError::NotASecretKey`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(pem).map(Self).map_err(|_| KeyError::NotASecretKey)
    }

    /// The PKCS#8 PEM form.
    pub fn to_pem(&self) -> String {
        let pem = self.0.to_pkcs8_pem(LineEnding::LF).expect("an Ed25519 key always has a PKCS#8 form");
        String::clone(&pem)
    }

    /// The PKCS#8 DER form, as TLS libraries take it.
    pub fn to_pkcs8_der(&self) -> Vec<u8> {
        let der = self.0.to_pkcs8_der().expect("an Ed25519 key always has a PKCS#8 form");
        der.as_bytes().to_vec()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs `message`. Deterministic.
    pub fn sign(&self, message: &[u8]) -> Signature {
        #[cfg(feature = "remembered-signatures")]
        return remembered::sign(self, message);
        #[cfg(not(feature = "remembered-signatures"))]
        self.sign_anew(message)
    }

    fn sign_anew(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

/// Whoever signs for a key: the secret key itself, or somebody who has it, or who knows what it signed.
pub trait Sign {
    /// The key's signature of `message`.
    fn sign(self, message: &[u8]) -> Signature;
}

impl Sign for &SecretKey {
    fn sign(self, message: &[u8]) -> Signature {
        SecretKey::sign(self, message)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

/// Signatures that this thread has made or checked: the same question has the same answer.
#[cfg(feature = "remembered-signatures")]
mod remembered {
    use std::cell::RefCell;
    use std::collections::HashMap;

    use super::{PublicKey, SecretKey, Signature};
    use crate::digest::Digest;

    const ANSWERS_MAX: usize = 1 << 14;

    #[derive(Default)]
    struct Answers {
        made: HashMap<([u8; 32], Digest), Signature>,
        checked: HashMap<([u8; 32], Digest, [u8; 64]), bool>,
    }

    thread_local! {
        static ANSWERS: RefCell<Answers> = RefCell::default();
    }

    pub(super) fn sign(secret: &SecretKey, message: &[u8]) -> Signature {
        ANSWERS.with_borrow_mut(|answers| {
            if answers.made.len() >= ANSWERS_MAX {
                answers.made.clear();
            }
            let key = (secret.public().0, Digest::of("pssmr remembered signature 1", message));
            *answers.made.entry(key).or_insert_with(|| secret.sign_anew(message))
        })
    }

    pub(super) fn verify(public: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        ANSWERS.with_borrow_mut(|answers| {
            if answers.checked.len() >= ANSWERS_MAX {
                answers.checked.clear();
            }
            let key = (public.0, Digest::of("pssmr remembered signature 1", message), signature.0);
            *answers.checked.entry(key).or_insert_with(|| public.verify_anew(message, signature))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_text_forms() {
        let secret = SecretKey::from_seed([7; 32]);
        let again = SecretKey::from_pem(&secret.to_pem()).unwrap();
        assert_eq!(again.public(), secret.public());
        assert_eq!(PublicKey::from_hex(&secret.public().to_string()), Ok(secret.public()));
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        assert_eq!(PublicKey::from_hex("12"), Err(KeyError::NotHexadecimal));
        assert_eq!(PublicKey::from_hex(&"zz".repeat(32)), Err(KeyError::NotHexadecimal));
        assert_eq!(PublicKey::from_bytes([0; 32]), Err(KeyError::NotAPublicKey));
        assert!(SecretKey::from_pem("nothing").is_err());
    }

    #[test]
    fn a_signature_is_of_one_message_by_one_key() {
        let (one, two) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
        let signature = one.sign(b"message");
        assert!(one.public().verify(b"message", &signature));
        assert!(!one.public().verify(b"massage", &signature));
        assert!(!two.public().verify(b"message", &signature));
    }

    #[test]
    fn a_secret_does_not_show_in_debug() {
        let secret = SecretKey::from_seed([0xAB; 32]);
        assert!(!format!("{secret:?}").contains("abab"));
    }
}
