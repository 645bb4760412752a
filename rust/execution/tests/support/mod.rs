//! A model of a service, and what it takes to run it under a scheduler without threads.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod model;
pub(crate) mod virtual_time;
