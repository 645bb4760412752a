//! What a snapshot holds of ordering: the place in the chain, and the sessions. Part of the replicated state, so the same
//! bytes at every replica at the same slot.

use bytes::Bytes;
use pssmr_types::wire::{DecodeError, Reader, Writer};
use pssmr_types::{ClientId, Digest, Membership, ServiceVersion, Slot};

use crate::sessions::{SESSION_WINDOW, WORDS};

/// The version of the encoding.
const VERSION: u8 = 1;

/// What a session takes at least.
const SESSION_BYTES_MIN: usize = 16 + 8 + 8 + 8;

/// Ordering's part of the state after a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreSnapshot {
    /// The slot.
    pub slot: Slot,
    /// The chain digest there.
    pub digest: Digest,
    /// The agreed time there, in nanoseconds since the Unix epoch.
    pub timestamp: u64,
    /// The position of the last command delivered.
    pub position: u64,
    /// Counts the checkpoints: this is the so-manieth that was due.
    pub number: u64,
    /// The agreed time of the last one that a client asked for; 0 if none ever was.
    pub asked_at: u64,
    /// The membership that the next slot is of.
    pub membership: Membership,
    /// The open sessions, ascending by client.
    pub sessions: Vec<SessionSnapshot>,
    /// The version that the service has gone over to, if it has left the first one.
    pub upgraded: Option<ServiceVersion>,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSnapshot {
    /// Whose it is.
    pub client: ClientId,
    /// The client has the replies to all sequences below.
    pub low: u64,
    /// The position of the last command delivered in it.
    pub last_active: u64,
    pub(crate) executed: Box<[u64; WORDS]>,
}

impl SessionSnapshot {
    /// The sequences that were executed and whose replies the client may still want, descending.
    pub fn unacknowledged(&self) -> impl Iterator<Item = u64> + '_ {
        (self.low..self.low.saturating_add(SESSION_WINDOW)).rev().filter(|sequence| {
            let bit = (sequence % SESSION_WINDOW) as usize;
            self.executed[bit / 64] >> (bit % 64) & 1 == 1
        })
    }
}

impl CoreSnapshot {
    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.sessions.len() * 2 * SESSION_BYTES_MIN);
        out.put_u8(VERSION);
        out.put_u64(self.slot.0);
        out.put_digest(&self.digest);
        out.put_u64(self.timestamp);
        out.put_u64(self.position);
        out.put_u64(self.number);
        out.put_u64(self.asked_at);
        self.membership.encode(&mut out);
        out.put_count(self.sessions.len());
        for session in &self.sessions {
            out.put_client(session.client);
            out.put_u64(session.low);
            out.put_u64(session.last_active);
            // Most words are empty: which are not, and then those.
            let used = session.executed.iter().enumerate().filter(|(_, word)| **word != 0);
            out.put_u64(used.clone().fold(0, |mask, (index, _)| mask | 1 << index));
            used.for_each(|(_, word)| out.put_u64(*word));
        }
        // Nothing for the first version: replicas that know of no others write the same.
        if let Some(version) = &self.upgraded {
            version.encode(&mut out);
        }
        out
    }

    /// Decodes what [`CoreSnapshot::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        match reader.u8("version of a snapshot")? {
            VERSION => {}
            other => return Err(DecodeError::UnknownTag("version of a snapshot", other)),
        }
        let (slot, digest) = (reader.slot("slot of a snapshot")?, reader.digest("digest of a snapshot")?);
        let (timestamp, position) = (reader.u64("timestamp")?, reader.u64("position")?);
        let (number, asked_at) = (reader.u64("number of the checkpoint")?, reader.u64("time of the last asked for")?);
        let membership = Membership::decode(&mut reader)?;
        let count = reader.count("sessions", reader.rest().len() / SESSION_BYTES_MIN)?;
        let mut sessions: Vec<SessionSnapshot> = Vec::with_capacity(count);
        for _ in 0..count {
            let (client, low, last_active) = (reader.client()?, reader.u64("low")?, reader.u64("last active")?);
            if sessions.last().is_some_and(|before| before.client >= client) {
                return Err(DecodeError::Invalid("order of sessions"));
            }
            let mask = reader.u64("words of a session")?;
            let mut executed = Box::new([0; WORDS]);
            for (_, word) in executed.iter_mut().enumerate().filter(|(index, _)| mask >> index & 1 == 1) {
                *word = reader.u64("word of a session")?;
                if *word == 0 {
                    return Err(DecodeError::Invalid("word of a session"));
                }
            }
            sessions.push(SessionSnapshot { client, low, last_active, executed });
        }
        let upgraded = if reader.rest().is_empty() { None } else { Some(ServiceVersion::decode(&mut reader)?) };
        reader.finish()?;
        Ok(Self { slot, digest, timestamp, position, number, asked_at, membership, sessions, upgraded })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use pssmr_types::{ClusterId, Epoch, FaultModel, SecretKey};

    /// Some membership.
    pub(crate) fn membership() -> Membership {
        let keys = (1..=3).map(|number| SecretKey::from_seed([number; 32]).public()).collect();
        Membership::new(ClusterId([1; 16]), Epoch(2), FaultModel::Crash, keys).unwrap()
    }
}
