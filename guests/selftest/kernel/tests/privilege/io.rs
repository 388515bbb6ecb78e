//! Ports in ring 3: IOPL and the I/O permission map.

use crate::harness::Outcome;
use crate::hw::gdt;
use crate::tests::user::User;
use crate::trap::vector;

family!("privilege": iopl, io_permission_map, io_permission_map_end);

/// IOPL 3 in the flags.
const IOPL: u64 = 3 << 12;

fn iopl() -> Outcome {
    let mut user = User::code64(snippet!(64, iopl_in: "out 0x80, al" "cli" "int3"));
    user.rflags |= IOPL | 0x200;
    let trap = user.run();
    check!(trap.is(vector::BP, 0), "with IOPL 3: {trap}");
    check_eq!(trap.rflags & 0x200, 0, "IF after CLI");
    user.rflags = 2 << 12 | 2;
    let trap = user.run();
    check!(trap.is(vector::GP, 0), "with IOPL 2: {trap}");
    Ok(())
}

/// Puts a permission map for the first 1048 ports into the TSS: only 80h to 83h are allowed.
fn install_map() {
    let task = gdt::tss(0);
    // SAFETY: our own task-state segment; the CPU reads it at port accesses.
    unsafe {
        (*task).io_map = (core::mem::size_of::<gdt::Tss>() - 132) as u16;
        (*task).io_bits = [0xff; 132];
        (*task).io_bits[0x80 / 8] = 0xf0;
    }
}

fn io_permission_map() -> Outcome {
    install_map();
    let mut user = User::code64(snippet!(64, iomap_out8: "out dx, al" "int3"));
    for (port, allowed) in [(0x80u64, true), (0x83, true), (0x84, false), (0x7f, false)] {
        user.rdx = port;
        let trap = user.run();
        let want = if allowed { vector::BP } else { vector::GP };
        check!(trap.is(want, 0), "byte at port {port:#x}: {trap}");
    }
    // All bytes of a wider access count.
    let mut user = User::code64(snippet!(64, iomap_out32: "out dx, eax" "int3"));
    for (port, allowed) in [(0x80u64, true), (0x81, false)] {
        user.rdx = port;
        let trap = user.run();
        let want = if allowed { vector::BP } else { vector::GP };
        check!(trap.is(want, 0), "four bytes at port {port:#x}: {trap}");
    }
    Ok(())
}

/// Ports whose bits lie beyond the segment's limit are forbidden.
fn io_permission_map_end() -> Outcome {
    install_map();
    let mut user = User::code64(snippet!(64, iomap_end: "in al, dx" "int3"));
    user.rdx = 0x3f8 + 0x100;
    let trap = user.run();
    check!(trap.is(vector::GP, 0), "beyond the map: {trap}");
    // SAFETY: as above.
    unsafe { (*gdt::tss(0)).io_map = 0xffff };
    user.rdx = 0x80;
    let trap = user.run();
    check!(trap.is(vector::GP, 0), "without a map: {trap}");
    Ok(())
}
