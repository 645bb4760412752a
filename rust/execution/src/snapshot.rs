//! Snapshots: the state of a service at one position of the delivery order, as bytes.
//!
//! Taking one is quick and stops nothing for long: it freezes the state, and the bytes are written later, by another
//! thread, while commands go on.

use std::io::{self, Read, Write};

/// A frozen state that can be written out.
pub trait SnapshotSource: Send {
    /// Writes the state's canonical encoding: equal states give equal bytes, however they came about. Takes as long as
    /// it takes; call it from a thread that has time. `out` gets large writes.
    ///
    /// # Errors
    /// Those of `out`.
    fn write_to(self: Box<Self>, out: &mut dyn Write) -> io::Result<()>;
}

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The service can't take snapshots.
    #[error("the service takes no snapshots")]
    Unsupported,
    /// The service keeps state that its snapshots would not have. Says which, and what to do.
    #[error("{0}")]
    Incomplete(String),
    /// The service has tried and failed.
    #[error("the service could not take a snapshot: {0}")]
    Failed(String),
}

/// Why a snapshot was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The service can't restore snapshots.
    #[error("the service restores no snapshots")]
    Unsupported,
    /// The source could not be read to its end.
    #[error("the snapshot can't be read: {0}")]
    Read(#[from] io::Error),
    /// The bytes are no snapshot of this service.
    #[error("this is no snapshot of the service: {0}")]
    Malformed(String),
    /// The service has tried and failed.
    #[error("the service could not restore the snapshot: {0}")]
    Failed(String),
}

/// Most bytes that are set aside on the word of a length alone.
const TRUSTED_LENGTH: usize = 64 << 10;

/// Reads a snapshot piece by piece. A length that lies costs no memory: what is set aside grows with what is there.
pub struct SnapshotReader<'a>(pub(crate) &'a mut dyn Read);

impl<'a> SnapshotReader<'a> {
    /// Reads from here.
    pub fn new(source: &'a mut dyn Read) -> Self {
        Self(source)
    }

    /// As many bytes.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// 8 bytes, the lowest first.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn number(&mut self) -> Result<u64, RestoreError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Refuses anything but `expected`.
    ///
    /// # Errors
    /// Something else is there, or the source can't be read.
    pub fn literal(&mut self, expected: &str) -> Result<(), RestoreError> {
        let mut bytes = vec![0; expected.len()];
        self.0.read_exact(&mut bytes)?;
        if bytes == expected.as_bytes() {
            return Ok(());
        }
        Err(RestoreError::Malformed(format!("{expected:?} expected")))
    }

    /// A length, of at most `limit`, and as many bytes; `what` is what they are called in errors.
    ///
    /// # Errors
    /// The length is above the limit, or the source can't be read.
    pub fn bytes(&mut self, what: &str, limit: usize) -> Result<Vec<u8>, RestoreError> {
        let length = self.number()?;
        let length = usize::try_from(length).ok().filter(|length| *length <= limit).ok_or_else(|| {
            RestoreError::Malformed(format!("a {what} of {length} bytes, where at most {limit} are allowed"))
        })?;
        let mut bytes = Vec::with_capacity(length.min(TRUSTED_LENGTH));
        (&mut *self.0).take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() < length {
            return Err(RestoreError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }

    /// Refuses anything but the end.
    ///
    /// # Errors
    /// There is more, or the source can't be read.
    pub fn end(&mut self) -> Result<(), RestoreError> {
        loop {
            return match self.0.read(&mut [0]) {
                Ok(0) => Ok(()),
                Ok(_) => Err(RestoreError::Malformed("something follows its end".to_owned())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error.into()),
            };
        }
    }
}

/// A small state, as its bytes.
pub(crate) struct Encoded(pub(crate) Vec<u8>);

impl SnapshotSource for Encoded {
    fn write_to(self: Box<Self>, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.0)
    }
}
