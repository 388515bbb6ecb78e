//! The target `agent` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| (fuzz::target::AGENT.run)(input));
