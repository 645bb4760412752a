//! Mutually authenticated links, framing, limits. Sockets.
