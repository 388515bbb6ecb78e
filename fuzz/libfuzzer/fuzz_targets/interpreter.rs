//! The target `interpreter` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| (fuzz::target::INTERPRETER.run)(input));
