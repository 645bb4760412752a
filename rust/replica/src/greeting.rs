//! Whether the two sides of a link can work together.

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
pub(crate) fn check(mine: &Hello, frame: Bytes, side: Side) -> Result<Hello, &'static str> {
    let theirs = Hello::decode(frame).map_err(|_| "its greeting cannot be read")?;
    if theirs.version != mine.version {
        return Err("it speaks another version of the protocol");
    }
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
    Ok(theirs)
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
