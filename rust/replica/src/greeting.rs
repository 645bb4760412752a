//! Whether the two sides of a link can work together.

use std::borrow::Cow;

use bytes::Bytes;
use pssmr_types::{Digest, Hello};

/// Application protocol of links between replicas.
pub(crate) const PEER_ALPN: &[u8] = b"pssmr-peer/1";
/// Application protocol of links between clients and replicas.
pub(crate) const CLIENT_ALPN: &[u8] = b"pssmr-client/1";

/// Who greets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A replica knows all agreed settings.
    Peer,
    /// A client may know none of them; it sends zeros then.
    Client,
}

/// Checks a link's first frame against what this replica says itself, and gives it.
pub(crate) fn check(mine: &Hello, frame: Bytes, side: Side) -> Result<Hello, Cow<'static, str>> {
    let theirs = Hello::decode(frame).map_err(|_| "its greeting cannot be read")?;
    if theirs.version != mine.version {
        return Err(other_version(theirs.version, mine.version).into());
    }
    check_cluster(mine, &theirs, side)?;
    Ok(theirs)
}

fn other_version(theirs: u32, mine: u32) -> String {
    format!(
        "it speaks version {theirs} of the protocol, and this replica version {mine}: run versions of pssmr that can be mixed"
    )
}

fn check_cluster(mine: &Hello, theirs: &Hello, side: Side) -> Result<(), &'static str> {
    if theirs.cluster != mine.cluster {
        return Err("it belongs to another cluster");
    }
    let unknown = side == Side::Client && theirs.agreed_settings == Digest::default();
    if !unknown && theirs.agreed_settings != mine.agreed_settings {
        return Err("its agreed settings differ from ours: compare the configurations");
    }
    if side == Side::Peer && theirs.epoch == mine.epoch && theirs.membership != mine.membership {
        return Err("it has another membership of the same epoch: compare epoch, ids, keys and addresses of the \
                    replicas in the configurations");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use pssmr_types::{ClusterId, Epoch};

    use super::*;

    fn frame(hello: &Hello) -> Bytes {
        let mut frame = Vec::new();
        hello.encode(&mut frame);
        frame.into()
    }

    #[test]
    fn only_the_same_version_cluster_and_settings_work_together() {
        let mine = Hello::new(ClusterId([1; 16]), Digest([2; 32]), Epoch(3), Digest([4; 32]));
        assert_eq!(check(&mine, frame(&mine), Side::Peer), Ok(mine));
        for other in [
            Hello { version: 99, ..mine },
            Hello { cluster: ClusterId([3; 16]), ..mine },
            Hello { agreed_settings: Digest([3; 32]), ..mine },
        ] {
            assert!(check(&mine, frame(&other), Side::Peer).is_err(), "{other:?}");
            assert!(check(&mine, frame(&other), Side::Client).is_err(), "{other:?}");
        }
        assert!(check(&mine, Bytes::from_static(b"GET / HTTP/1.1"), Side::Peer).is_err());
    }

    #[test]
    fn who_speaks_another_version_is_told_from_whom_by_both_versions() {
        let mine = Hello::new(ClusterId([1; 16]), Digest([2; 32]), Epoch(3), Digest([4; 32]));
        // What a version of the future puts after its number is its own.
        let future = [b"pssmr", &7u32.to_le_bytes()[..], b"whatever"].concat();
        for side in [Side::Peer, Side::Client] {
            let refusal = check(&mine, future.clone().into(), side).unwrap_err();
            assert!(
                refusal.contains("version 7") && refusal.contains(&format!("version {}", mine.version)),
                "{refusal}"
            );
        }
    }

    #[test]
    fn an_epoch_has_one_membership() {
        let mine = Hello::new(ClusterId([1; 16]), Digest([2; 32]), Epoch(3), Digest([4; 32]));
        let other = Hello { membership: Digest([5; 32]), ..mine };
        assert!(check(&mine, frame(&other), Side::Peer).is_err());
        assert!(check(&mine, frame(&Hello { epoch: Epoch(2), ..other }), Side::Peer).is_ok());
        assert!(check(&mine, frame(&other), Side::Client).is_ok(), "a client may know other addresses");
    }

    #[test]
    fn only_a_client_may_know_no_settings() {
        let mine = Hello::new(ClusterId([1; 16]), Digest([2; 32]), Epoch(3), Digest([4; 32]));
        let unknowing = frame(&Hello { agreed_settings: Digest::default(), ..mine });
        assert!(check(&mine, unknowing.clone(), Side::Client).is_ok());
        assert!(check(&mine, unknowing, Side::Peer).is_err());
    }
}
