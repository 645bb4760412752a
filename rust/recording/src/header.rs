//! What a recording begins with: all that the core was made of, but for its secret key.

use std::time::Duration;

use pssmr_ordering::{Config, Durability, Now};
use pssmr_types::wire::{DecodeError, Reader, Writer};
use pssmr_types::{BatchLimits, Membership, PublicKey, ReplicaId};

/// The longest text, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// What the core was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version of pssmr that recorded it.
    pub version: String,
    /// Which replica it is.
    pub me: ReplicaId,
    /// When the core was made.
    pub now: Now,
    /// Its settings.
    pub config: Config,
    /// The membership that it began with.
    pub membership: Membership,
}

impl Header {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_bytes(self.version.as_bytes());
        out.put_u16(self.me.0);
        put_now(self.now, out);
        put_config(&self.config, out);
        self.membership.encode(out);
    }

    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let version = text("version of pssmr", reader)?;
        let (me, now) = (reader.replica()?, now(reader)?);
        Ok(Self { version, me, now, config: config(reader)?, membership: Membership::decode(reader)? })
    }
}

pub(crate) fn put_now(now: Now, out: &mut Vec<u8>) {
    out.put_u64(now.monotonic);
    out.put_u64(now.wall);
}

pub(crate) fn now(reader: &mut Reader) -> Result<Now, DecodeError> {
    Ok(Now { monotonic: reader.u64("monotonic clock")?, wall: reader.u64("wall clock")? })
}

pub(crate) fn text(what: &'static str, reader: &mut Reader) -> Result<String, DecodeError> {
    let bytes = reader.bytes(what, TEXT_BYTES_MAX)?;
    String::from_utf8(bytes.into()).map_err(|_| DecodeError::Invalid(what))
}

fn put_config(config: &Config, out: &mut Vec<u8>) {
    let Config {
        durability,
        window,
        limits: BatchLimits { requests_max, bytes_max },
        request_timeout,
        request_timeout_max,
        heartbeat_interval,
        retransmit_interval,
        clock_skew_max,
        sessions_per_client_max,
        pending_requests_max,
        pending_bytes_max,
        unexecuted_slots_max,
        checkpoint_slots,
        checkpoint_bytes,
        retained_slots_max,
        retained_bytes_max,
        administrator,
        first_service_version,
    } = config;
    out.put_bytes(durability.as_str().as_bytes());
    for size in [window, requests_max, bytes_max] {
        out.put_u64(*size as u64);
    }
    let durations = [request_timeout, request_timeout_max, heartbeat_interval, retransmit_interval, clock_skew_max];
    for duration in durations {
        out.put_u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }
    for size in [sessions_per_client_max, pending_requests_max, pending_bytes_max, unexecuted_slots_max] {
        out.put_u64(*size as u64);
    }
    out.put_u64(*checkpoint_slots);
    out.put_u64(*checkpoint_bytes);
    out.put_u64(*retained_slots_max as u64);
    out.put_u64(*retained_bytes_max as u64);
    out.put_u8(u8::from(administrator.is_some()));
    if let Some(administrator) = administrator {
        out.put(administrator.as_bytes());
    }
    out.put_u32(*first_service_version);
}

fn config(reader: &mut Reader) -> Result<Config, DecodeError> {
    let durability = text("durability", reader)?;
    let durability = Durability::named(&durability).ok_or(DecodeError::Invalid("durability"))?;
    let size = |reader: &mut Reader| {
        usize::try_from(reader.u64("size")?).map_err(|_| DecodeError::Invalid("size that a setting gives"))
    };
    let duration = |reader: &mut Reader| reader.u64("duration").map(Duration::from_nanos);
    Ok(Config {
        durability,
        window: size(reader)?,
        limits: BatchLimits { requests_max: size(reader)?, bytes_max: size(reader)? },
        request_timeout: duration(reader)?,
        request_timeout_max: duration(reader)?,
        heartbeat_interval: duration(reader)?,
        retransmit_interval: duration(reader)?,
        clock_skew_max: duration(reader)?,
        sessions_per_client_max: size(reader)?,
        pending_requests_max: size(reader)?,
        pending_bytes_max: size(reader)?,
        unexecuted_slots_max: size(reader)?,
        checkpoint_slots: reader.u64("checkpoint_slots")?,
        checkpoint_bytes: reader.u64("checkpoint_bytes")?,
        retained_slots_max: size(reader)?,
        retained_bytes_max: size(reader)?,
        administrator: if reader.flag("administrator")? {
            let key = PublicKey::from_bytes(reader.array("administrator's key")?);
            Some(key.map_err(|_| DecodeError::Invalid("administrator's key"))?)
        } else {
            None
        },
        first_service_version: reader.u32("first_service_version")?,
    })
}
