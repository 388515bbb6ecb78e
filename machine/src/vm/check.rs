//! Can a CPU state be? What an engine relies on is checked here, once, where a state comes from outside.

use x86::control::{cr0, efer};
use x86::paging::{PHYSICAL_BITS, is_canonical};
use x86::{CpuState, flags, xfeature};

const CR4: u64 = {
    use x86::control::cr4::*;
    VME | PVI
        | TSD
        | DE
        | PSE
        | PAE
        | MCE
        | PGE
        | PCE
        | OSFXSR
        | OSXMMEXCPT
        | UMIP
        | FSGSBASE
        | PCIDE
        | OSXSAVE
        | SMEP
        | SMAP
};
const EFER: u64 = efer::SCE | efer::LME | efer::LMA | efer::NXE;

/// The invariants of [`CpuState`] (SDM vol. 3, 27.3.1 checks the same for a VM entry).
///
/// # Errors
/// The invariant that does not hold, in words.
pub fn check(cpu: &CpuState) -> Result<(), &'static str> {
    let has = |register: u64, bit: u64| register & bit != 0;
    let long = has(cpu.msrs.efer, efer::LMA);
    let xfeatures = xfeature::X87 | xfeature::SSE | xfeature::AVX;
    let canonical = [
        cpu.segments[4].base,
        cpu.segments[5].base,
        cpu.gdtr.base,
        cpu.idtr.base,
        cpu.ldtr.base,
        cpu.tr.base,
        cpu.msrs.kernel_gs_base,
        cpu.msrs.lstar,
        cpu.msrs.cstar,
        cpu.msrs.sysenter_eip,
        cpu.msrs.sysenter_esp,
    ];
    let rules = [
        (cpu.rflags & !flags::ALL == 0 && has(cpu.rflags, flags::RESERVED_ONE), "RFLAGS has a reserved bit"),
        (cpu.cr0 & !cr0::ALL == 0, "CR0 has a reserved bit"),
        (!has(cpu.cr0, cr0::PG) || has(cpu.cr0, cr0::PE), "CR0.PG without PE"),
        (!has(cpu.cr0, cr0::NW) || has(cpu.cr0, cr0::CD), "CR0.NW without CD"),
        (cpu.cr4 & !CR4 == 0, "CR4 has a bit that no CPU model has"),
        (cpu.cr3 >> PHYSICAL_BITS == 0, "CR3 is beyond the physical address width"),
        (cpu.msrs.efer & !EFER == 0, "EFER has a bit that no CPU model has"),
        (long == (has(cpu.msrs.efer, efer::LME) && has(cpu.cr0, cr0::PG)), "EFER.LMA is not LME and CR0.PG"),
        (!long || has(cpu.cr4, x86::control::cr4::PAE), "long mode without CR4.PAE"),
        (long || !has(cpu.cr4, x86::control::cr4::PCIDE), "CR4.PCIDE outside of long mode"),
        (!long || !has(cpu.rflags, flags::VM), "virtual-8086 mode in long mode"),
        (if long { is_canonical(cpu.rip) } else { cpu.rip >> 32 == 0 }, "RIP is no address of its mode"),
        (cpu.xcr0 & !xfeatures == 0 && has(cpu.xcr0, xfeature::X87), "XCR0 has a reserved bit"),
        (!has(cpu.xcr0, xfeature::AVX) || has(cpu.xcr0, xfeature::SSE), "XCR0 has AVX without SSE"),
        (cpu.fpu.legacy.mxcsr & !cpu.fpu.legacy.mxcsr_mask == 0, "MXCSR has a reserved bit"),
        (cpu.fpu.legacy.mxcsr_mask & !0xffff == 0, "MXCSR_MASK has a reserved bit"),
        (cpu.fpu.xstate_bv & !xfeatures == 0 && cpu.fpu.xcomp_bv == 0, "the XSAVE header"),
        (cpu.fpu.reserved == [0; 6] && cpu.fpu.legacy.fop < 1 << 11, "a reserved field of the XSAVE area"),
        (cpu.dr6 >> 32 == 0 && cpu.dr7 >> 32 == 0, "DR6 or DR7 is wider than 32 bits"),
        (canonical.into_iter().all(is_canonical), "a base or entry address is not canonical"),
        (cpu.segments.iter().all(|segment| segment.access & 0x0f00 == 0), "a segment's access rights"),
    ];
    rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reset_state_is_sound_and_broken_ones_are_refused() {
        assert_eq!(check(&CpuState::default()), Ok(()));
        let broken = |change: fn(&mut CpuState)| {
            let mut cpu = CpuState::default();
            change(&mut cpu);
            check(&cpu).is_err()
        };
        assert!(broken(|cpu| cpu.rflags = 0));
        assert!(broken(|cpu| cpu.cr0 = cr0::PG));
        assert!(broken(|cpu| cpu.msrs.efer = efer::LMA));
        assert!(broken(|cpu| cpu.msrs.lstar = 1 << 60));
        assert!(broken(|cpu| cpu.fpu.legacy.mxcsr = 1 << 20));
        assert!(broken(|cpu| cpu.xcr0 = 5));
        assert!(broken(|cpu| cpu.rip = 1 << 40));
    }
}
