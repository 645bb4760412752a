//! What a client is told when it is made.

use std::time::Duration;

use pssmr_types::{Digest, Membership, SecretKey};

use crate::error::ConfigError;

/// How far the lowest and the highest sequence in flight may be apart: below the window that replicas keep per session.
pub(crate) const SPREAD_MAX: usize = 4000;

/// What a client is, and its bounds.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The cluster and its replicas in one epoch, each with the address that it listens for clients at. The client learns
    /// of the memberships after it by itself, as long as it reaches one replica of each.
    pub membership: Membership,
    /// The client's key: who it is.
    pub secret: SecretKey,
    /// The digest of the settings that the replicas agree on; `None` takes any.
    pub agreed_settings: Option<Digest>,
    /// How long a request may take, from its submission, where the submission does not say otherwise.
    pub request_timeout: Duration,
    /// How long the first attempt may go without an answer until the request is sent again. Doubles with each further one.
    pub retry_interval: Duration,
    /// The most that the interval grows to.
    pub retry_interval_max: Duration,
    /// Most requests in flight, 1 to 4000. More wait here.
    pub in_flight_max: usize,
    /// Most requests under way, waiting and in flight.
    pub requests_max: usize,
    /// Most bytes of payload under way, waiting and in flight.
    pub requests_bytes_max: usize,
    /// The longest payload that replicas take, in bytes.
    pub payload_bytes_max: usize,
    /// The longest result that is taken from a replica, in bytes.
    pub result_bytes_max: usize,
}

impl ClientConfig {
    /// A client of these replicas, with bounds that suit most.
    pub fn new(membership: Membership, secret: SecretKey) -> Self {
        Self {
            membership,
            secret,
            agreed_settings: None,
            request_timeout: Duration::from_secs(10),
            retry_interval: Duration::from_millis(250),
            retry_interval_max: Duration::from_secs(4),
            in_flight_max: 1024,
            requests_max: 65_536,
            requests_bytes_max: 256 << 20,
            payload_bytes_max: 1 << 20,
            result_bytes_max: 8 << 20,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let is = |ok, field, expected| if ok { Ok(()) } else { Err(ConfigError { field, expected }) };
        let has_addresses = self.membership.members().iter().all(|member| !member.client_address.is_empty());
        is(has_addresses, "membership", "one in which each replica has an address for clients")?;
        // The number of a view has room for so many.
        is(u32::try_from(self.membership.epoch().0).is_ok(), "membership", "one of an epoch below 2^32")?;
        is((1..=SPREAD_MAX).contains(&self.in_flight_max), "in_flight_max", "1 to 4000 requests")?;
        is(self.requests_max >= 1, "requests_max", "1 or more")?;
        is((1..=64 << 20).contains(&self.payload_bytes_max), "payload_bytes_max", "1 byte to 64 MiB")?;
        is((1..=1 << 30).contains(&self.result_bytes_max), "result_bytes_max", "1 byte to 1 GiB")?;
        is(!self.request_timeout.is_zero(), "request_timeout", "more than 0")?;
        is(self.retry_interval >= Duration::from_millis(5), "retry_interval", "5 ms or more")?;
        is(self.retry_interval_max >= self.retry_interval, "retry_interval_max", "not below retry_interval")?;
        Ok(())
    }
}
