//! `snippet!`: machine code as bytes, for other modes and other places.

/// Assembles position-independent code for 16, 32 or 64 bits and yields its bytes.
macro_rules! snippet {
    ($bits:literal, $name:ident: $($line:literal)+) => {{
        mod $name {
            core::arch::global_asm!(
            ".pushsection .rodata.snippets, \"a\"",
            concat!(".code", $bits),
            ".balign 16",
            concat!(".globl snippet_", stringify!($name)),
            concat!("snippet_", stringify!($name), ":"),
            $($line,)+
            concat!(".globl snippet_", stringify!($name), "_end"),
            concat!("snippet_", stringify!($name), "_end:"),
            ".code64",
            ".popsection",
            );
        }
        unsafe extern "C" {
            #[link_name = concat!("snippet_", stringify!($name))]
            static START: u8;
            #[link_name = concat!("snippet_", stringify!($name), "_end")]
            static END: u8;
        }
        let start = &raw const START;
        // SAFETY: the assembler put the two labels around these bytes.
        unsafe { core::slice::from_raw_parts(start, (&raw const END) as usize - start as usize) }
    }};
}
