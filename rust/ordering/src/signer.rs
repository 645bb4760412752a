//! Who signs what the replica says.

use std::collections::VecDeque;

use pssmr_types::{Membership, PublicKey, ReplicaId, SecretKey, Sign, Signature};

use crate::core::Core;
use crate::interface::{Config, ConfigError, Now};

/// Signs for one replica: with its key, or, when a recording of it is played back, with what its key signed then.
#[derive(Clone, Debug)]
pub(crate) struct Signer {
    public: PublicKey,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Key {
        secret: Box<SecretKey>,
        /// What was signed since it was last taken; none if nobody takes it.
        kept: Option<Vec<Signature>>,
    },
    Recorded {
        /// What the key signed, in order.
        given: VecDeque<Signature>,
        /// Something else was to be signed.
        failed: bool,
    },
}

impl Signer {
    pub(crate) fn of_key(secret: SecretKey) -> Self {
        Self { public: secret.public(), source: Source::Key { secret: Box::new(secret), kept: None } }
    }

    pub(crate) fn of_recording(public: PublicKey) -> Self {
        Self { public, source: Source::Recorded { given: VecDeque::new(), failed: false } }
    }

    pub(crate) fn public(&self) -> PublicKey {
        self.public
    }

    fn keep(&mut self, wanted: bool) {
        if let Source::Key { kept, .. } = &mut self.source {
            *kept = wanted.then(Vec::new);
        }
    }

    fn take(&mut self) -> Vec<Signature> {
        match &mut self.source {
            Source::Key { kept: Some(kept), .. } => std::mem::take(kept),
            _ => Vec::new(),
        }
    }

    fn give(&mut self, signatures: Vec<Signature>) {
        if let Source::Recorded { given, failed } = &mut self.source {
            *given = signatures.into();
            *failed = false;
        }
    }

    fn used_all(&self) -> bool {
        match &self.source {
            Source::Key { .. } => true,
            Source::Recorded { given, failed } => given.is_empty() && !failed,
        }
    }
}

impl Core {
    /// A replica as [`Core::new`] makes it, but without its secret key: what it signed is given to it before each step.
    ///
    /// # Errors
    /// The first setting that can't be.
    ///
    /// # Panics
    /// If `me` is not in the membership.
    pub fn without_key(config: Config, membership: Membership, me: ReplicaId, now: Now) -> Result<Self, ConfigError> {
        let public = *membership.key(me).expect("the replica is in the membership");
        Self::signing_with(Signer::of_recording(public), config, membership, me, now)
    }

    /// Whether signatures are kept until [`Core::take_signatures`] takes them. At first they are not.
    pub fn keep_signatures(&mut self, wanted: bool) {
        self.signer.keep(wanted);
    }

    /// What was signed since this was last asked, in order.
    pub fn take_signatures(&mut self) -> Vec<Signature> {
        self.signer.take()
    }

    /// What the replica signed in what is done next, in order. Only of use to a core [without a key](Core::without_key).
    pub fn give_signatures(&mut self, signatures: Vec<Signature>) {
        self.signer.give(signatures);
    }

    /// Whether exactly what was given was to be signed since. Always true of a core with its key.
    pub fn used_all_signatures(&self) -> bool {
        self.signer.used_all()
    }
}

impl Sign for &mut Signer {
    fn sign(self, message: &[u8]) -> Signature {
        match &mut self.source {
            Source::Key { secret, kept } => {
                let signature = secret.sign(message);
                if let Some(kept) = kept {
                    kept.push(signature);
                }
                signature
            }
            Source::Recorded { given, failed } => {
                let signature = given.pop_front().filter(|signature| self.public.verify(message, signature));
                *failed |= signature.is_none();
                signature.unwrap_or(Signature([0; 64]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_signed_again_without_the_key_and_nothing_else_is() {
        let secret = SecretKey::from_seed([1; 32]);
        let mut original = Signer::of_key(secret.clone());
        assert_eq!((&mut original).sign(b"before"), secret.sign(b"before"));
        original.keep(true);
        for message in [b"one", b"two"] {
            (&mut original).sign(message);
        }
        let signatures = original.take();
        assert_eq!(signatures, [secret.sign(b"one"), secret.sign(b"two")]);
        assert!(original.take().is_empty());

        let mut again = Signer::of_recording(secret.public());
        again.give(signatures.clone());
        assert_eq!((&mut again).sign(b"one"), signatures[0]);
        assert!(!again.used_all(), "one is left over");
        assert_eq!((&mut again).sign(b"two"), signatures[1]);
        assert!(again.used_all());
        for wrong in [b"too".as_slice(), b"one"] {
            again.give(signatures[..1].to_vec());
            let is_genuine = secret.public().verify(wrong, &(&mut again).sign(wrong));
            assert_eq!((is_genuine, again.used_all()), (wrong == b"one", wrong == b"one"));
        }
    }
}
