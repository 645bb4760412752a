//! Requests, retries, reply quorums. Sockets.
