//! A translated block for human eyes: each guest instruction with its host code.

use std::fmt::{self, Display, Formatter};

use iced_x86::{Decoder, DecoderOptions, Formatter as _, NasmFormatter};

use super::block::Emitted;

/// A block's guest bytes (a page and what follows it) beside its host code.
pub(crate) struct Listing<'a> {
    pub page: &'a [u8],
    pub emitted: &'a Emitted,
    /// The offset of the host code in the code cache.
    pub host: u32,
}

impl Listing<'_> {
    fn instructions(f: &mut Formatter<'_>, bytes: &[u8], ip: u64, most: usize, indent: &str) -> fmt::Result {
        let mut nasm = NasmFormatter::new();
        let mut text = String::new();
        for instruction in Decoder::with_ip(64, bytes, ip, DecoderOptions::NONE).iter().take(most) {
            text.clear();
            nasm.format(&instruction, &mut text);
            writeln!(f, "{indent}{:05x}  {text}", instruction.ip())?;
        }
        Ok(())
    }
}

impl Display for Listing<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Emitted { code, sites, .. } = self.emitted;
        for (n, &(at, offset)) in sites.iter().enumerate() {
            let end = sites.get(n + 1).map_or(code.len(), |&(next, _)| next as usize);
            let guest = self.page.get(usize::from(offset)..).unwrap_or_default();
            Self::instructions(f, guest, u64::from(offset), 1, "")?;
            Self::instructions(
                f,
                &code[at as usize..end],
                u64::from(self.host + at),
                usize::MAX,
                "        ",
            )?;
        }
        Ok(())
    }
}
