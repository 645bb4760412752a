//! TCP sockets as links want them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use socket2::{SockRef, TcpKeepalive};

use crate::error::TransportError;

/// Listens on `address`. The port can be taken again at once after a restart (`SO_REUSEADDR`, which mio sets).
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, TransportError> {
    TcpListener::bind(address).map_err(|source| TransportError::Bind { address, source })
}

/// Starts to connect to `address`.
pub(crate) fn connect(address: SocketAddr, dead_after: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    prepare(&stream, dead_after)?;
    Ok(stream)
}

/// Small writes leave at once, and a silent death of the other side is noticed within about `dead_after`.
pub(crate) fn prepare(stream: &TcpStream, dead_after: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let third = (dead_after / 3).max(Duration::from_secs(1));
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(third).with_interval(third);
    #[cfg(not(any(target_os = "openbsd", target_os = "windows")))]
    let keepalive = keepalive.with_retries(2);
    socket.set_tcp_keepalive(&keepalive)?;
    // Keep-alive is silent while sent bytes are not acknowledged; this limits how long they may stay so.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(dead_after))?;
    Ok(())
}

/// Whether a connection that was started has been made; `None` while it is being made.
pub(crate) fn connected(stream: &TcpStream) -> Option<io::Result<()>> {
    match stream.take_error() {
        Ok(None) => {}
        Ok(Some(error)) | Err(error) => return Some(Err(error)),
    }
    match (stream.peer_addr(), stream.local_addr()) {
        // On one machine, dialing a free port of the ephemeral range can meet itself; nobody listens there.
        (Ok(peer), Ok(local)) if peer == local => Some(Err(io::ErrorKind::ConnectionRefused.into())),
        (Ok(_), Ok(_)) => Some(Ok(())),
        (Err(error), _) if error.kind() == io::ErrorKind::NotConnected => None,
        (Err(error), _) | (_, Err(error)) => Some(Err(error)),
    }
}
