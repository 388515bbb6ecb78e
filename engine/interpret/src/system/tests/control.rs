//! Control registers and MSRs.

use x86::control::{cr0, cr4, efer};
use x86::{Gpr, msr};

use super::*;

/// mov crN, rax.
fn mov_to(n: u8) -> [u8; 3] {
    [0x0f, 0x22, 0xc0 | n << 3]
}

#[test]
fn bad_values_of_control_registers_fault() {
    let pg = cr0::PE | cr0::PG | cr0::WP | cr0::ET;
    let table: &[(u8, u64)] = &[
        (0, 1 << 32 | pg),
        (0, pg & !cr0::PE),
        (0, pg | cr0::NW),
        (0, pg & !cr0::PG), // leaving paging from 64-bit code
        (3, 1 << 46),
        (3, 1 << 63),
        (4, 0),
        (4, cr4::PAE | cr4::VMXE),
        (4, cr4::PAE | cr4::LA57),
        (4, cr4::PAE | 1 << 40),
    ];
    for &(n, value) in table {
        all_fault(|| Guest::long(0).with(Gpr::Rax, value), 13, &[&mov_to(n)]);
    }
    all_fault(|| Guest::long(0).with(Gpr::Rax, 16), 13, &[&[0x44, 0x0f, 0x22, 0xc0]]);
    // CR1, CR5 do not exist; user code reaches none.
    all_fault(|| Guest::long(0), 6, &[&mov_to(1), &mov_to(5), &[0x0f, 0x20, 0xc8]]);
    all_fault(|| Guest::long(3), 13, &[&mov_to(0), &[0x0f, 0x20, 0xd8], &[0x0f, 0x06], &[0x0f, 0x01, 0xf0]]);
    // PCIDs need long mode and start at zero.
    let pcids = cr4::PAE | cr4::PCIDE;
    all_fault(|| Guest::long(0).with(Gpr::Rax, pcids).changed(|s| s.cr3 |= 8), 13, &[&mov_to(4)]);
    all_fault(|| Guest::protected(0).with(Gpr::Rax, pcids), 13, &[&mov_to(4)]);
}

#[test]
fn the_way_into_long_mode_and_out_of_it() {
    // From 32-bit code: CR4.PAE, CR3, EFER.LME, CR0.PG; then LMA is set and the code is compatibility code.
    let mut guest = Guest::protected(0);
    for (at, value) in [(0x1000, 0x2007u64), (0x2000, 0x3007), (0x3000, 0x87)] {
        guest.put_u64(at, value);
    }
    let code = [
        &[0xb8, 0x20, 0, 0, 0][..],
        &mov_to(4),
        &[0xb8, 0, 0x10, 0, 0],
        &mov_to(3),
        &[0xb9, 0x80, 0, 0, 0xc0, 0x31, 0xd2, 0xb8, 0, 1, 0, 0, 0x0f, 0x30],
        &[0x0f, 0x20, 0xc0, 0x0d, 0, 0, 0, 0x80],
        &mov_to(0),
    ]
    .concat();
    assert_eq!(guest.run(&code), End::Halted);
    assert_eq!(guest.cpu.state.msrs.efer, efer::LME | efer::LMA);
    assert!(guest.cpu.mode.long && guest.cpu.mode.code_bits == 32);
    // Out again: clearing PG from compatibility code clears LMA.
    let rip = guest.cpu.rip;
    let mut guest = guest.changed(|state| state.events.activity = x86::Activity::Running);
    assert_eq!(
        guest.run(&[&[0x0f, 0x20, 0xc0, 0x25, 0xff, 0xff, 0xff, 0x7f][..], &mov_to(0)].concat()),
        End::Halted
    );
    assert_eq!((guest.cpu.state.msrs.efer, guest.cpu.rip), (efer::LME, rip + 12));
    // Without PAE it is refused.
    let bare = || Guest::protected(0).with(Gpr::Rax, cr0::PE | cr0::PG).changed(|s| s.msrs.efer = efer::LME);
    all_fault(bare, 13, &[&mov_to(0)]);
}

#[test]
fn pae_loads_its_four_entries_with_cr3() {
    let ready = |entry: u64| {
        let mut guest = Guest::protected(0).changed(|state| {
            state.cr4 = cr4::PAE;
            state.cr3 = 0x1000;
        });
        guest.put_u64(0x1000, entry);
        guest.put_u64(0x2000, 0x83);
        guest.with(Gpr::Rax, cr0::PE | cr0::PG)
    };
    let mut guest = ready(0x2001);
    assert_eq!(guest.run(&mov_to(0)), End::Halted);
    assert_eq!(guest.cpu.state.pdpte, [0x2001, 0, 0, 0]);
    all_fault(|| ready(0x2003), 13, &[&mov_to(0)]);
    all_fault(|| ready(0x2001 | 1 << 50), 13, &[&mov_to(0)]);
    // What memory says later does not count until CR3 is written.
    let mut guest = ready(0x2001);
    assert_eq!(guest.run(&[&mov_to(0)[..], &[0xc7, 0x05, 0, 0x10, 0, 0, 0, 0, 0, 0]].concat()), End::Halted);
    assert_eq!(guest.cpu.state.pdpte[0], 0x2001);
}

#[test]
fn cr3_forgets_what_it_should() {
    // Touch DATA, unmap it behind the CPU's back, write CR3, touch it again.
    let touch = [0x8b, 0x1c, 0x25, 0, 0, 4, 0];
    let unmap = [0x48, 0xc7, 0x04, 0x25, 0, 0x42, 0, 0, 0, 0, 0, 0];
    let with = |entry: u64, cr4_more: u64, cr3: u64| {
        let mut guest = Guest::long(0).with(Gpr::Rax, cr3).changed(|state| state.cr4 |= cr4_more);
        guest.put_u64(0x4200, DATA | entry);
        guest.run(&[&touch[..], &unmap, &mov_to(3), &touch].concat())
    };
    let (plain, global) = (7, 0x107);
    assert_eq!(with(plain, 0, 0x1000), End::Vector(14));
    assert_eq!(with(global, 0, 0x1000), End::Halted, "global pages stay");
    assert_eq!(with(plain, cr4::PCIDE, 0x1000), End::Vector(14));
    assert_eq!(with(plain, cr4::PCIDE, 1 << 63 | 0x1000), End::Halted, "bit 63 keeps all");
    assert_eq!(with(plain, cr4::PCIDE, 1 << 63 | 0x1005), End::Vector(14), "another PCID sees nothing");
    // INVLPG forgets global pages too.
    let mut guest = Guest::long(0);
    guest.put_u64(0x4200, DATA | global);
    let invlpg = [0x0f, 0x01, 0x3c, 0x25, 0, 0, 4, 0];
    assert_eq!(guest.run(&[&touch[..], &unmap, &invlpg, &touch].concat()), End::Vector(14));
}

#[test]
fn invpcid_checks_its_descriptor() {
    // invpcid rax, [DATA]
    let code: &[u8] = &[0x66, 0x0f, 0x38, 0x82, 0x04, 0x25, 0, 0, 4, 0];
    let with = |kind: u64, pcid: u64, address: u64, pcids: bool| {
        let mut guest = Guest::long(0).with(Gpr::Rax, kind);
        guest.put_u64(DATA, pcid);
        guest.put_u64(DATA + 8, address);
        guest.changed(|state| state.cr4 |= if pcids { cr4::PCIDE } else { 0 })
    };
    for (kind, pcid, address, pcids) in
        [(4, 0, 0, true), (0, 0x1000, 0, true), (0, 1, 0, false), (0, 1, 1 << 47, true), (1, 1, 0, false)]
    {
        all_fault(|| with(kind, pcid, address, pcids), 13, &[code]);
    }
    for (kind, pcid) in [(0, 5), (1, 5), (2, 0), (3, 0)] {
        assert_eq!(with(kind, pcid, DATA, true).run(code), End::Halted);
    }
}

#[test]
fn the_machine_status_word_sets_pe_and_cannot_clear_it() {
    let mut guest = Guest::protected(0).with(Gpr::Rax, cr0::TS | cr0::MP);
    assert_eq!(guest.run(&[0x0f, 0x01, 0xf0, 0x0f, 0x01, 0xe3]), End::Halted); // lmsw ax; smsw ebx
    assert_eq!(guest.get(Gpr::Rbx), cr0::PE | cr0::MP | cr0::TS | cr0::ET);
    let mut guest = Guest::protected(0).changed(|state| state.cr0 |= cr0::TS);
    assert_eq!(guest.run(&[0x0f, 0x06]), End::Halted);
    assert_eq!(guest.cpu.state.cr0 & cr0::TS, 0);
}

#[test]
fn the_task_priority_is_the_boards() {
    // mov rax → cr8; mov rbx ← cr8
    let mut guest = Guest::long(0).with(Gpr::Rax, 9);
    assert_eq!(guest.run(&[0x44, 0x0f, 0x22, 0xc0, 0x44, 0x0f, 0x20, 0xc3]), End::Halted);
    assert_eq!((guest.board.task_priority(), guest.get(Gpr::Rbx)), (9, 9));
}

#[test]
fn the_smap_override_is_the_supervisors() {
    let mut guest = Guest::long(0).changed(|state| state.cr4 |= cr4::SMAP);
    // Every page here is a user page: stac; mov eax, [DATA]; clac; mov eax, [DATA].
    let load = &[0x8b, 0x04, 0x25, 0, 0, 4, 0];
    assert_eq!(
        guest.run(&[&[0x0f, 0x01, 0xcb][..], load, &[0x0f, 0x01, 0xca], load].concat()),
        End::Shutdown
    );
    assert_eq!(guest.cpu.state.cr2 & !0xfff, IDT, "even the IDT is out of reach");
    all_fault(|| Guest::long(3), 6, &[&[0x0f, 0x01, 0xcb], &[0x0f, 0x01, 0xca]]);
}

use engine::Board;

const WRMSR: &[u8] = &[0x0f, 0x30];
const RDMSR: &[u8] = &[0x0f, 0x32];

fn with_msr(index: u32, value: u64) -> Guest {
    Guest::long(0)
        .with(Gpr::Rcx, index.into())
        .with(Gpr::Rax, value & 0xffff_ffff)
        .with(Gpr::Rdx, value >> 32)
}

#[test]
fn msrs_keep_what_they_take() {
    let table: &[(u32, u64)] = &[
        (msr::LSTAR, 0xffff_8000_0000_1000),
        (msr::STAR, 0x0023_0010_dead_beef),
        (msr::SFMASK, 0x47700),
        (msr::KERNEL_GS_BASE, 0xffff_ffff_8000_0000),
        (msr::FS_BASE, 0x7fff_ffff_f000),
        (msr::TSC_AUX, 0xffff_ffff),
        (msr::IA32_PAT, 0x0007_0106_0507_0406),
        (msr::IA32_SYSENTER_EIP, 0xffff_8000_0000_0000),
        (msr::IA32_SPEC_CTRL, 7),
        (msr::IA32_MTRR_DEF_TYPE, 0xc06),
        (msr::IA32_MTRR_PHYSBASE0, 0xc000_0000),
        (msr::IA32_MTRR_PHYSBASE0 + 15, 0x3fff_c000_0800),
        (msr::IA32_MTRR_FIX64K_00000, 0x0606_0606_0606_0606),
        (0x26f, 0x0505_0505_0505_0505),
        (msr::IA32_TSC_ADJUST, 12345),
    ];
    for &(index, value) in table {
        let mut guest = with_msr(index, value);
        assert_eq!(guest.run(&[WRMSR, &[0x31, 0xc0, 0x31, 0xd2], RDMSR].concat()), End::Halted, "{index:#x}");
        assert_eq!(guest.get(Gpr::Rdx) << 32 | guest.get(Gpr::Rax), value, "{index:#x}");
    }
}

#[test]
fn msrs_refuse_what_they_cannot_hold() {
    let table: &[(u32, u64)] = &[
        (msr::LSTAR, 1 << 47),
        (msr::FS_BASE, 1 << 63),
        (msr::SFMASK, 1 << 32),
        (msr::TSC_AUX, 1 << 32),
        (msr::IA32_PAT, 2),
        (msr::IA32_SPEC_CTRL, 8),
        (msr::IA32_PRED_CMD, 2),
        (msr::EFER, efer::SVME),
        (msr::EFER, efer::SCE | efer::NXE), // LME cannot go while paging is on
        (msr::IA32_MTRR_DEF_TYPE, 2),
        (msr::IA32_MTRR_PHYSBASE0, 1 << 46),
        (msr::IA32_MTRR_PHYSBASE0 + 1, 1),
        (msr::IA32_ARCH_CAPABILITIES, 0),
        (msr::IA32_MTRRCAP, 0),
        (msr::IA32_MISC_ENABLE, 1 << 22),
        (msr::IA32_APIC_BASE, 0), // this board has none
        (0x1234_5678, 0),
    ];
    for &(index, value) in table {
        all_fault(|| with_msr(index, value), 13, &[WRMSR]);
    }
    all_fault(|| with_msr(0x1234_5678, 0), 13, &[RDMSR]);
    all_fault(|| with_msr(msr::IA32_PRED_CMD, 0), 13, &[RDMSR]);
    all_fault(|| Guest::long(3).with(Gpr::Rcx, msr::LSTAR.into()), 13, &[RDMSR, WRMSR]);
}

#[test]
fn the_tsc_is_the_boards_and_moves_by_its_adjustment() {
    // Writing the counter moves the adjustment; a deadline stays the same on the guest's clock.
    let mut guest = with_msr(msr::IA32_TSC, 5000);
    guest.board.clock.store(2000, std::sync::atomic::Ordering::SeqCst);
    guest.board.msrs.lock().unwrap().insert(msr::IA32_TSC_DEADLINE, 2500);
    assert_eq!(guest.run(&[WRMSR, &[0x0f, 0x31]].concat()), End::Halted);
    assert_eq!((guest.get(Gpr::Rax), guest.cpu.state.msrs.tsc_adjust), (5000, 3000));
    assert_eq!(guest.board.msr_read(msr::IA32_TSC_DEADLINE), Ok(0u64.wrapping_sub(500).max(1)));
    let tsd = || Guest::long(3).changed(|state| state.cr4 |= cr4::TSD);
    all_fault(tsd, 13, &[&[0x0f, 0x31], &[0x0f, 0x01, 0xf9]]);
    let mut guest = Guest::long(0).changed(|state| state.msrs.tsc_aux = 0x42);
    assert_eq!(guest.run(&[0x0f, 0x01, 0xf9, 0xf3, 0x0f, 0xc7, 0xfb]), End::Halted); // rdtscp; rdpid rbx
    assert_eq!((guest.get(Gpr::Rcx), guest.get(Gpr::Rbx)), (0x42, 0x42));
}
