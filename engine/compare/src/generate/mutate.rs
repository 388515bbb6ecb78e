//! Prefix juggling: bytes that no assembler writes but a CPU must understand.

use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Encoder, FlowControl, Instruction, Mnemonic};

use super::builder::Builder;
use super::catalog::Catalog;
use crate::taint::FlagEffect;

const PREFIXES: [u8; 11] = [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65];
const LONGEST: usize = 15;

impl Builder<'_> {
    /// Puts mutated bytes of the last instruction behind it, if they mean something that both sides must
    /// agree on. Bytes that iced calls invalid are taken too: they must be #UD on both.
    pub fn mutate(&mut self, catalog: &Catalog) {
        let Some(step) = self.case.steps.last().copied() else { return };
        let from = usize::from(step.at);
        let mut bytes = self.case.start.code[from..from + usize::from(step.len)].to_vec();
        for _ in 0..self.random.usize(1..3) {
            self.juggle(&mut bytes);
        }
        let ip = self.case.start.rip() + u64::from(step.at);
        let mut padded = bytes.clone();
        padded.resize(LONGEST + 1, 0x90);
        let instruction = Decoder::with_ip(64, &padded, ip, DecoderOptions::NONE).decode();
        // Some CPUs ignore bits of these prefixes that others, and iced, insist on.
        let first = bytes.iter().find(|byte| !PREFIXES.contains(byte) && **byte & 0xf0 != 0x40);
        let vector = first.is_some_and(|byte| [0xc4, 0xc5, 0x62, 0x8f].contains(byte));
        if instruction.is_invalid() && vector || !self.is_fit(catalog, &instruction) {
            return;
        }
        if !is_usual(&instruction, &bytes) {
            return;
        }
        // An invalid one takes with it all the bytes that may bear on what it is.
        let len = if instruction.is_invalid() { padded.len() } else { instruction.len() };
        let effect = FlagEffect::of(&instruction);
        if self.reads_undefined(effect) {
            return;
        }
        self.append(&padded[..len], &instruction, effect);
    }

    fn is_fit(&self, catalog: &Catalog, instruction: &Instruction) -> bool {
        if instruction.is_invalid() {
            return true;
        }
        // Double shifts are undefined by some counts; F3 90 with REX.B is PAUSE to some and XCHG to others.
        let open = matches!(instruction.mnemonic(), Mnemonic::Shld | Mnemonic::Shrd | Mnemonic::Pause);
        let tells = !super::operand::tells(instruction.code(), false).is_empty();
        !tells && catalog.allows(instruction) && instruction.flow_control() == FlowControl::Next && !open
    }

    fn juggle(&mut self, bytes: &mut Vec<u8>) {
        match self.random.u8(..8) {
            0..5 => bytes.insert(0, PREFIXES[self.random.usize(..PREFIXES.len())]),
            5 => bytes.insert(0, 0x40 | self.random.u8(..16)),
            6 => {
                // A REX prefix behind the others, where it counts.
                let at = bytes.iter().position(|byte| !PREFIXES.contains(byte)).unwrap_or(0);
                if bytes.get(at).is_some_and(|byte| byte & 0xf0 == 0x40) {
                    bytes[at] ^= 1 << self.random.u8(..4);
                } else {
                    bytes.insert(at, 0x40 | self.random.u8(..16));
                }
            }
            _ => {
                let at = self.random.usize(..bytes.len().min(4));
                bytes[at] ^= 1 << self.random.u8(..8);
            }
        }
        bytes.truncate(LONGEST + 1);
    }
}

/// Is an x87 instruction encoded as an assembler would? FOP records the ModRM byte, of which an engine that
/// works on decoded instructions may know only the usual form.
fn is_usual(instruction: &Instruction, bytes: &[u8]) -> bool {
    let opcode = |bytes: &[u8]| {
        let at = bytes.iter().position(|byte| byte & 0xf8 == 0xd8)?;
        bytes.get(at..at + 2).map(<[u8]>::to_vec)
    };
    if !instruction.cpuid_features().contains(&CpuidFeature::FPU) {
        return true;
    }
    let mut encoder = Encoder::new(64);
    encoder.encode(instruction, instruction.ip()).is_ok() && opcode(&encoder.take_buffer()) == opcode(bytes)
}
