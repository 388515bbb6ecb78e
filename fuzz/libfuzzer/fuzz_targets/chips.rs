//! The target `chips` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| (fuzz::target::CHIPS.run)(input));
