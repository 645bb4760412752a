//! Footprints, schedulers, workers, services. Threads, no sockets.
