//! The replica as a state machine: total order, view change, sessions. No I/O, no threads, no clock, no randomness.
