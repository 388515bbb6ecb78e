//! The target `systems` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| (fuzz::target::SYSTEMS.run)(input));
