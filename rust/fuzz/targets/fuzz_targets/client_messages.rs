#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pssmr_fuzz::client_messages(bytes));
