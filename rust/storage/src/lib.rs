//! Files: what a replica keeps on disk.
