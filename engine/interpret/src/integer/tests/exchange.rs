//! Exchanges and bits in memory.

use x86::flags::{CF, ZF};
use x86::{Exception, Vector};

use super::{Bench, DATA};

const HUGE: u64 = 0x1_0000_0000;

#[test]
fn eight_bytes_are_compared_and_exchanged() {
    for prefix in [&[][..], &[0xf0]] {
        let mut bench = Bench::new(64);
        let code = [prefix, &[0x0f, 0xc7, 0x0e]].concat(); // cmpxchg8b [rsi]
        bench.cpu.gpr[6] = DATA + 0xffd; // unaligned, across pages
        bench.put(DATA + 0xffd, 0x1111_2222_3333_4444u64);
        bench.cpu.gpr[0] = 0xdead_0000_3333_4444;
        bench.cpu.gpr[2] = 0xdead_0000_1111_2222;
        (bench.cpu.gpr[1], bench.cpu.gpr[3]) = (0x5555_6666, 0x7777_8888);
        bench.cpu.status.set_bits(CF);
        bench.run(&code).unwrap();
        assert_eq!(bench.peek::<u64>(DATA + 0xffd), 0x5555_6666_7777_8888);
        assert_eq!(bench.cpu.status.bits(), CF | ZF);
        assert_eq!(bench.cpu.gpr[0], 0xdead_0000_3333_4444, "what matched stays whole");
        bench.run(&code).unwrap();
        assert_eq!((bench.cpu.gpr[0], bench.cpu.gpr[2]), (0x7777_8888, 0x5555_6666));
        assert_eq!(bench.cpu.status.bits(), CF);
    }
}

#[test]
fn sixteen_bytes_must_be_aligned() {
    let mut bench = Bench::new(64);
    let code = [0xf0, 0x48, 0x0f, 0xc7, 0x0e]; // lock cmpxchg16b [rsi]
    bench.cpu.gpr[6] = DATA + 8;
    assert_eq!(bench.run(&code), Err(Exception::gp(0)));
    bench.cpu.gpr[6] = DATA;
    bench.put(DATA, 3u64);
    bench.put(DATA + 8, 4u64);
    (bench.cpu.gpr[0], bench.cpu.gpr[2], bench.cpu.gpr[3], bench.cpu.gpr[1]) = (3, 5, 8, 9);
    bench.run(&code).unwrap();
    assert_eq!((bench.cpu.gpr[0], bench.cpu.gpr[2], bench.cpu.status.zero()), (3, 4, false));
    bench.run(&code).unwrap();
    assert!(bench.cpu.status.zero());
    assert_eq!((bench.peek::<u64>(DATA), bench.peek::<u64>(DATA + 8)), (8, 9));
    // A device sees two loads and two stores.
    bench.cpu.gpr[6] = HUGE;
    bench.run(&code).unwrap();
    assert_eq!(bench.device_stores(), [(HUGE, 8, 0), (HUGE + 8, 8, 0x0808_0808_0808_0808)]);
}

#[test]
fn a_comparison_that_fails_still_writes() {
    let mut bench = Bench::new(64);
    bench.cpu.gpr[6] = HUGE + 0x21;
    bench.cpu.gpr[0] = 1;
    bench.run(&[0x0f, 0xb0, 0x1e]).unwrap(); // cmpxchg [rsi], bl
    assert_eq!(bench.cpu.gpr[0], 0x21);
    assert_eq!(bench.device_stores(), [(HUGE + 0x21, 1, 0x21)]);
}

#[test]
fn bit_numbers_in_registers_reach_beyond_the_operand() {
    // Code with the number in RBX and memory at RSI; number; byte and bit; what becomes of a clear bit.
    let table: [(&[u8], i64, i64, u8, u8); 9] = [
        (&[0x0f, 0xab, 0x1e], 1000, 125, 0, 1),           // bts [rsi], ebx
        (&[0x0f, 0xab, 0x1e], -1, -1, 7, 1),              // downwards
        (&[0x0f, 0xab, 0x1e], 1 << 32 | 9, 1, 1, 1),      // 32 bits of the number count
        (&[0x48, 0x0f, 0xab, 0x1e], -8000, -1000, 0, 1),  // bts [rsi], rbx
        (&[0x66, 0x0f, 0xab, 0x1e], 0x8001, -4096, 1, 1), // 16 bits, signed
        (&[0xf0, 0x0f, 0xbb, 0x1e], 77, 9, 5, 1),         // lock btc
        (&[0x0f, 0xb3, 0x1e], 77, 9, 5, 0),               // btr
        (&[0x0f, 0xa3, 0x1e], 77, 9, 5, 0),               // bt
        (&[0x0f, 0xba, 0x2e, 0x23], 77, 0, 3, 1),         // bts [rsi], 35: only 5 bits count
    ];
    for (code, number, byte, bit, becomes) in table {
        for set in [0, 1] {
            let mut bench = Bench::new(64);
            let at = (DATA as i64 + 0x2000 + byte) as u64;
            bench.put(at, set << bit);
            (bench.cpu.gpr[3], bench.cpu.gpr[6]) = (number as u64, DATA + 0x2000);
            bench.run(code).unwrap();
            let after = match code[code.len() - 2] {
                _ if code.contains(&0xbb) => 1 - set,
                0xa3 => set,
                _ => becomes,
            };
            assert_eq!(bench.peek::<u8>(at), after << bit, "{code:02x?} {number}");
            assert_eq!(bench.cpu.status.carry(), set == 1, "{code:02x?} {number}");
        }
    }
}

#[test]
fn divisions_that_do_not_fit_change_nothing() {
    let error = Err(Exception::new(Vector::DivideError));
    // Code, RDX, RAX, RCX, and whether it fits.
    let table: [(&[u8], u64, u64, u64, bool); 14] = [
        (&[0xf6, 0xf1], 0, 0x1234, 0, false),    // div cl
        (&[0xf6, 0xf1], 0, 0x0fff, 0x10, true),  // 0xff
        (&[0xf6, 0xf1], 0, 0x1000, 0x10, false), // 0x100
        (&[0xf7, 0xf1], 7, 0, 8, true),          // div ecx
        (&[0xf7, 0xf1], 8, 0, 8, false),
        (&[0x48, 0xf7, 0xf1], 7, 0, 8, true), // div rcx
        (&[0x48, 0xf7, 0xf1], 8, 0, 8, false),
        (&[0x48, 0xf7, 0xf1], 0, 8, 0, false),
        (&[0xf6, 0xf9], 0, 0xff80, 0xff, false), // idiv cl: -128 / -1
        (&[0xf6, 0xf9], 0, 0xff80, 1, true),
        (&[0x48, 0xf7, 0xf9], u64::MAX, 1 << 63, u64::MAX, false), // idiv rcx: the lowest / -1
        (&[0x48, 0xf7, 0xf9], 1 << 63, 0, u64::MAX, false),        // of 128 bits
        (&[0x48, 0xf7, 0xf9], u64::MAX, 1 << 63, 1, true),
        (&[0x48, 0xf7, 0xf9], 0, 1 << 63, 1, false),
    ];
    for (code, rdx, rax, rcx, fits) in table {
        let mut bench = Bench::new(64);
        (bench.cpu.gpr[2], bench.cpu.gpr[0], bench.cpu.gpr[1]) = (rdx, rax, rcx);
        let result = bench.run(code);
        assert_eq!(result, if fits { Ok(()) } else { error }, "{code:02x?} {rdx:x}:{rax:x} / {rcx:x}");
        if !fits {
            assert_eq!((bench.cpu.gpr[2], bench.cpu.gpr[0]), (rdx, rax));
        }
    }
}
