//! What firmware does to the bus before a kernel starts: every BAR gets an address, and every pin the number of its
//! interrupt, in the way of any firmware: through configuration space.

use engine::Width;

use super::{ECAM, ECAM_LEN, PciBus, Slot, interrupt_of};

const COMMAND: u8 = 0x04;
const BARS: u8 = 0x10;
const INTERRUPT_LINE: u8 = 0x3c;
const INTERRUPT_PIN: u8 = 0x3d;
const PORTS_AND_MEMORY: u32 = 3;

/// Where ports of BARs begin.
const FIRST_PORT: u64 = 0xc000;
/// Memory of BARs: what follows the configuration space, up to the I/O APIC.
const FIRST_MEMORY: u64 = ECAM.0 + ECAM_LEN;
/// Where it ends.
const MEMORY_END: u64 = 0xfec0_0000;

/// The next free addresses.
#[derive(Clone, Copy, Debug)]
struct Free {
    port: u64,
    memory: u64,
}

impl PciBus {
    /// Gives all BARs addresses and switches them on. What there is no room for stays off, for the guest to
    /// place.
    pub fn assign(&self) {
        let mut free = Free { port: FIRST_PORT, memory: FIRST_MEMORY };
        for slot in self.slots() {
            self.assign_function(slot, &mut free);
        }
    }

    fn assign_function(&self, slot: Slot, free: &mut Free) {
        let mut bar = 0;
        let mut all = true;
        while bar < 6 {
            let register = BARS + 4 * bar;
            self.config_write(slot, register, Width::Dword, u32::MAX);
            let size = self.config_read(slot, register, Width::Dword);
            let is_port = size & 1 != 0;
            let is_wide = size & 7 == 4;
            let mut mask = u64::from(size & if is_port { !3 } else { !15 }) | !0xffff_ffff;
            if is_wide {
                self.config_write(slot, register + 4, Width::Dword, u32::MAX);
                let high = self.config_read(slot, register + 4, Width::Dword);
                mask = mask & 0xffff_ffff | u64::from(high) << 32;
            }
            let len = (!mask).wrapping_add(1);
            let exists = size != 0 && len != 0;
            let (next, end) =
                if is_port { (&mut free.port, 0x1_0000) } else { (&mut free.memory, MEMORY_END) };
            let start =
                next.checked_next_multiple_of(len.max(1)).filter(|start| end - start.min(&end) >= len);
            let start = start.filter(|_| exists);
            if let Some(start) = start {
                *next = start + len;
            }
            all &= start.is_some() || !exists;
            let start = start.unwrap_or(0);
            self.config_write(slot, register, Width::Dword, start as u32);
            if is_wide {
                self.config_write(slot, register + 4, Width::Dword, (start >> 32) as u32);
            }
            bar += if is_wide { 2 } else { 1 };
        }
        let pin = self.config_read(slot, INTERRUPT_PIN, Width::Byte) as u8;
        if let Some(pin @ 0..4) = pin.checked_sub(1) {
            let irq = 10 + interrupt_of(slot.device(), pin) % 2;
            self.config_write(slot, INTERRUPT_LINE, Width::Byte, irq.into());
        }
        if all {
            self.config_write(slot, COMMAND, Width::Word, PORTS_AND_MEMORY);
        }
    }
}
