//! The versions of the service that the replica's code can be.

use std::sync::Arc;

use pssmr_execution::Service;
use pssmr_types::ServiceVersion;

use crate::status::{ServiceStatus, hexadecimal};

/// Why a replica's code can't go on with the version of the service that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The code is older.
    #[error(
        "version {in_force} of the service is in force, and the code of this replica goes up to version {latest}: \
         start the replica with code that has version {in_force}"
    )]
    Behind {
        /// The version in force.
        in_force: u32,
        /// The code's latest version.
        latest: u32,
    },
    /// The code has a version of this number that is another one.
    #[error(
        "version {number} of the service is in force, and what the code of this replica calls version {number} has other \
         commands or other state: start the replica with the code that the others run"
    )]
    Other {
        /// The number.
        number: u32,
    },
}

/// The service's code, as far as its versions go.
pub(crate) struct Code {
    service: Arc<dyn Service>,
    latest: ServiceVersion,
}

impl Code {
    pub(crate) fn new(service: Arc<dyn Service>) -> Self {
        let number = service.latest_version();
        assert!(number >= 1, "versions count from 1");
        let latest = ServiceVersion { number, schema: service.schema(number) };
        Self { service, latest }
    }

    /// Whether the code can be what a new cluster begins with.
    pub(crate) fn check_first(&self, in_force: u32) -> Result<(), VersionError> {
        let latest = self.latest.number;
        if in_force > latest { Err(VersionError::Behind { in_force, latest }) } else { Ok(()) }
    }

    /// Whether the code can be this version.
    pub(crate) fn check(&self, in_force: ServiceVersion) -> Result<(), VersionError> {
        self.check_first(in_force.number)?;
        if self.service.schema(in_force.number) == in_force.schema {
            Ok(())
        } else {
            Err(VersionError::Other { number: in_force.number })
        }
    }

    pub(crate) fn status(&self, in_force: u32) -> ServiceStatus {
        let ServiceVersion { number, schema } = self.latest;
        ServiceStatus { version: in_force, latest: number, schema: hexadecimal(&schema.0) }
    }
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").field("latest", &self.latest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use pssmr_execution::{Extraction, FootprintBuilder, Refusal, Task, WorkerId};
    use pssmr_types::Digest;

    use super::*;

    /// Has versions up to 3, each with a digest of its own.
    struct Three;

    impl Service for Three {
        fn footprint(&self, _: &[u8], _: &mut FootprintBuilder) -> Result<Extraction, Refusal> {
            Ok(Extraction::default())
        }

        fn execute(&self, _: WorkerId, _: &mut [Task]) {}

        fn state_digest(&self) -> Digest {
            Digest::default()
        }

        fn latest_version(&self) -> u32 {
            3
        }

        fn schema(&self, version: u32) -> Digest {
            Digest([version as u8; 32])
        }
    }

    #[test]
    fn code_can_be_each_of_its_versions_and_no_other() {
        let code = Code::new(Arc::new(Three));
        let version = |number: u32, schema: u8| ServiceVersion { number, schema: Digest([schema; 32]) };
        for number in 1..=3 {
            assert_eq!(code.check(version(number, number as u8)), Ok(()));
            assert_eq!(code.check(version(number, 9)), Err(VersionError::Other { number }));
            assert_eq!(code.check_first(number), Ok(()));
        }
        let behind = VersionError::Behind { in_force: 4, latest: 3 };
        assert_eq!(code.check(version(4, 4)), Err(behind));
        assert_eq!(code.check_first(4), Err(behind));
        let text = behind.to_string();
        assert!(text.contains("version 4") && text.contains("up to version 3"), "{text}");
    }
}
