//! Services in Rust: they run without an interpreter.

mod counter;
mod key_value;
mod null;

pub use counter::Counter;
pub use key_value::KeyValue;
pub use null::Null;
