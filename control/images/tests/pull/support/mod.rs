//! What the tests of pulling share.

pub mod http;
pub mod mirror;
pub mod packages;

use ringfence_images::{Amount, Progress};

/// Remembers the tasks that had bytes: the downloads.
#[derive(Default)]
pub struct Downloads(pub Vec<String>);

impl Progress for Downloads {
    fn start(&mut self, task: &str, amount: Amount) {
        if matches!(amount, Amount::Bytes(_)) {
            self.0.push(task.to_owned());
        }
    }

    fn advance(&mut self, _done: u64) {}
    fn finish(&mut self) {}
}

/// The least that the store accepts as an agent: a static x86-64 ELF file with
/// one program header. `mark` makes one differ from another.
pub fn agent(mark: u8) -> Vec<u8> {
    let mut elf = vec![0; 64 + 56];
    elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
    elf[18] = 62;
    elf[32] = 64;
    elf[54] = 56;
    elf[56] = 1;
    elf[64] = 1;
    elf.push(mark);
    elf
}
