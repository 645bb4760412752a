//! pssmr._core: conversions between Python and the Rust crates, nothing else.
