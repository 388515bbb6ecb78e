//! The guest's registers, put into a mirror and taken out of it.

use interpret::Facts;
use x86::flags::{DF, IF, RESERVED_ONE, RF, STATUS};

use super::super::Translated;
use crate::mirror::Mirror;
use crate::mirror::tracee::Registers;

impl Translated {
    /// The registers with which the mirror goes on at a host address.
    pub(super) fn registers_for(&self, mirror: &Mirror, facts: &Facts, host: u64) -> Registers {
        let guest = self.tier.registers();
        let flags = self.tier.status() | self.tier.system_flags() & DF | IF | RESERVED_ONE;
        Registers {
            rax: guest[0],
            rcx: guest[1],
            rdx: guest[2],
            rbx: guest[3],
            rsp: guest[4],
            rbp: guest[5],
            rsi: guest[6],
            rdi: guest[7],
            r8: guest[8],
            r9: guest[9],
            r10: guest[10],
            r11: guest[11],
            r12: guest[12],
            r13: guest[13],
            r14: guest[14],
            r15: guest[15],
            rip: host,
            eflags: flags,
            fs_base: facts.fs_base,
            gs_base: mirror.gs(),
            orig_rax: u64::MAX,
            ..mirror.tracee.first()
        }
    }

    /// Takes the guest's registers from a stopped mirror, some of them from where they were saved.
    pub(super) fn take_registers(
        &mut self,
        mirror: &Mirror,
        facts: &Facts,
        from: &Registers,
        saved: u16,
        rip: u64,
    ) {
        let mut guest = [
            from.rax, from.rcx, from.rdx, from.rbx, from.rsp, from.rbp, from.rsi, from.rdi, from.r8, from.r9,
            from.r10, from.r11, from.r12, from.r13, from.r14, from.r15,
        ];
        for (n, value) in guest.iter_mut().enumerate() {
            if saved >> n & 1 != 0 {
                *value = mirror.saved(n);
            }
        }
        self.tier.set_registers(&guest);
        self.tier.set_status(from.eflags & STATUS);
        self.tier.set_system_flags(self.tier.system_flags() & !(DF | RF) | from.eflags & DF);
        if facts.bases && from.fs_base != facts.fs_base {
            self.tier.set_bases(from.fs_base, facts.gs_base, self.tier.seen().kernel_gs_base);
        }
        self.tier.set_rip(rip);
    }
}
