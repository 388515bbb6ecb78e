//! Several vCPUs in one memory: what one stores, be it code or data, the others see; on the translator as on the
//! reference CPU.

mod guest;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base::{GuestMemory, GuestPhys, PAGE_SIZE, RamOffset};
use engine::{Attention, Board, Budget, CpuLevel, CpuModel, Engine, Exit, Signals, Vcpu};
use guest::{ALIAS, CODE, DATA, RAM, page_tables, start};
use iced_x86::code_asm::*;
use x86::{CpuState, Gpr};

const ENGINES: [&dyn Engine; 2] = [&ringfence_translate::Translator, &interpret::Interpreter];

/// Each CPU's program lies so far behind that of the one before, its stack in between.
const APART: u64 = 0x1_0000;

/// A guest that hangs is a failure, not the end of the suite.
const LIMIT: Duration = Duration::from_secs(120);

/// Assembles what one CPU does; ends by HLT.
type Program<'a> = &'a dyn Fn(&mut CodeAssembler) -> Result<(), IcedError>;

/// A machine of one vCPU for each program.
struct Machine {
    memory: Arc<GuestMemory>,
    vcpus: Vec<Box<dyn Vcpu>>,
    attentions: Vec<Arc<Attention>>,
}

impl Machine {
    fn new(engine: &dyn Engine, programs: &[Program]) -> Self {
        let memory = Arc::new(GuestMemory::new(RAM).unwrap());
        page_tables(&memory);
        memory.watch().share();
        let model = CpuModel { level: CpuLevel::V2, vcpus: programs.len() as u32 };
        let board: Arc<dyn Board> = guest::board();
        let (mut vcpus, mut attentions) = (Vec::new(), Vec::new());
        for (program, index) in programs.iter().zip(0..) {
            let mut assembler = CodeAssembler::new(64).unwrap();
            program(&mut assembler).unwrap();
            assembler.hlt().unwrap();
            let mut state = start();
            state.rip = CODE + u64::from(index) * APART;
            state.set(Gpr::Rsp, state.rip + APART);
            memory.write(GuestPhys(state.rip), &assembler.assemble(state.rip).unwrap()).unwrap();
            let attention = Arc::new(Attention::default());
            let mut vcpu = engine.vcpu(index, &model, &memory, &attention, &board).unwrap();
            vcpu.set_state(&state);
            vcpus.push(vcpu);
            attentions.push(attention);
        }
        Self { memory, vcpus, attentions }
    }

    /// Runs all, and `meanwhile` on another thread, which gets a flag that goes up when all have halted. Gives memory
    /// and the last states.
    fn run(
        mut self,
        meanwhile: impl FnOnce(&GuestMemory, &AtomicBool) + Send,
    ) -> (Arc<GuestMemory>, Vec<CpuState>) {
        let (halted, begun) = (AtomicBool::new(false), Instant::now());
        let (memory, attentions, vcpus) = (&*self.memory, &self.attentions, &mut self.vcpus);
        std::thread::scope(|scope| {
            let run = |vcpu: &mut Box<dyn Vcpu>| vcpu.run(Budget::Unlimited).unwrap();
            let threads: Vec<_> = vcpus.iter_mut().map(|vcpu| scope.spawn(move || run(vcpu))).collect();
            scope.spawn(|| meanwhile(memory, &halted));
            while threads.iter().any(|thread| !thread.is_finished()) && begun.elapsed() < LIMIT {
                std::thread::sleep(Duration::from_millis(1));
            }
            halted.store(true, Ordering::SeqCst);
            attentions.iter().for_each(|attention| attention.raise(Signals::STOP));
            for thread in threads {
                assert_eq!(thread.join().unwrap(), Exit::Halted, "it ran for ever");
            }
        });
        let states = self.vcpus.iter().map(|vcpu| vcpu.state()).collect();
        (self.memory, states)
    }
}

/// How far the writer of functions has come; a function called later gives no less.
const DONE: u64 = DATA;
/// The latest function.
const LATEST: u64 = DATA + 0x40;
/// How far the reader has come.
const SEEN: u64 = DATA + 0x80;
/// The writer is at most so far ahead of it: else it would be done before they begin.
const AHEAD: i32 = 20;
/// `mov eax, imm32; ret`, the immediate aligned.
const FUNCTION: u64 = 0x40_0003;

/// As many announcements follow each other without a branch.
const AT_ONCE: u32 = 10;

/// Announces that the function in RDI gives ECX from now on, and counts ECX up, AT_ONCE times. RSI leads to DONE.
fn announces(a: &mut CodeAssembler) -> Result<(), IcedError> {
    for _ in 0..AT_ONCE {
        a.mov(dword_ptr(rdi + 1), ecx)?;
        a.mov(dword_ptr(rsi), ecx)?;
        a.inc(ecx)?;
    }
    let mut wait = a.create_label();
    a.set_label(&mut wait)?;
    a.mov(eax, dword_ptr(rsi + (SEEN - DONE)))?;
    a.add(eax, AHEAD)?;
    a.cmp(eax, ecx)?;
    a.jb(wait)
}

/// Calls the latest function until `last` is announced, and counts in R12 how often it gave less than had been announced
/// before.
fn calls_functions(a: &mut CodeAssembler, last: u32) -> Result<(), IcedError> {
    let (mut top, mut good) = (a.create_label(), a.create_label());
    a.xor(r12d, r12d)?;
    a.mov(rsi, DONE)?;
    a.set_label(&mut top)?;
    a.mov(r8d, dword_ptr(rsi))?;
    a.xor(eax, eax)?;
    a.cpuid()?; // serialises
    a.call(qword_ptr(rsi + (LATEST - DONE)))?;
    a.mov(dword_ptr(rsi + (SEEN - DONE)), r8d)?;
    a.cmp(eax, r8d)?;
    a.jae(good)?;
    a.inc(r12)?;
    a.set_label(&mut good)?;
    a.cmp(r8d, last)?;
    a.jne(top)
}

/// Runs the writer beside a CPU that calls what it wrote last, on each engine.
fn no_call_is_behind(writer: Program, last: u32) {
    for engine in ENGINES {
        let machine = Machine::new(engine, &[writer, &|a| calls_functions(a, last)]);
        machine.memory.write(GuestPhys(FUNCTION), &[0xb8, 0, 0, 0, 0, 0xc3]).unwrap();
        machine.memory.write(GuestPhys(LATEST), &FUNCTION.to_le_bytes()).unwrap();
        let (_, states) = machine.run(|_, _| ());
        assert_eq!(states[1].get(Gpr::R12), 0, "{}", engine.name());
    }
}

#[test]
fn code_rewritten_by_another_cpu_is_seen_once_it_is_announced() {
    const LAST: u32 = 400 * AT_ONCE;
    // By two addresses: whoever keeps translations by address must find both.
    let writer = |a: &mut CodeAssembler| {
        let mut top = a.create_label();
        a.mov(rdi, ALIAS + FUNCTION)?;
        a.mov(rsi, DONE)?;
        a.mov(ecx, 1)?;
        a.set_label(&mut top)?;
        announces(a)?;
        a.cmp(ecx, LAST)?;
        a.jbe(top)
    };
    no_call_is_behind(&writer, LAST);
}

#[test]
fn code_is_seen_also_in_pages_that_were_data_just_now() {
    const PAGES: u32 = 100;
    const TIMES: u32 = 4;
    const LAST: u32 = PAGES * TIMES * AT_ONCE;
    let writer = |a: &mut CodeAssembler| {
        let (mut page, mut time) = (a.create_label(), a.create_label());
        a.mov(rdi, FUNCTION)?;
        a.mov(rsi, DONE)?;
        a.mov(ecx, 1)?;
        a.set_label(&mut page)?;
        a.mov(byte_ptr(rdi), 0xb8)?;
        a.mov(byte_ptr(rdi + 5), 0xc3)?;
        a.mov(dword_ptr(rdi + 1), ecx)?;
        a.mov(qword_ptr(rsi + (LATEST - DONE)), rdi)?;
        a.mov(edx, TIMES)?;
        a.set_label(&mut time)?;
        announces(a)?;
        a.dec(edx)?;
        a.jnz(time)?;
        a.add(rdi, PAGE_SIZE as i32)?;
        a.cmp(ecx, LAST)?;
        a.jbe(page)
    };
    no_call_is_behind(&writer, LAST);
}

#[test]
fn code_written_by_a_device_is_seen_by_a_cpu_that_only_loops() {
    // One loop that the device ends by turning a jump to itself into two NOPs, and then another.
    let waits = |a: &mut CodeAssembler| {
        for _ in 0..2 {
            let mut here = a.create_label();
            a.set_label(&mut here)?;
            a.jmp(here)?;
        }
        Ok(())
    };
    for engine in ENGINES {
        Machine::new(engine, &[&waits, &waits]).run(|memory, _| {
            for at in [0, APART, 2, APART + 2] {
                std::thread::sleep(Duration::from_millis(5));
                memory.write(GuestPhys(CODE + at), &[0x90, 0x90]).unwrap();
            }
        });
    }
}

#[test]
fn locked_accesses_lose_nothing_wherever_they_lie() {
    const TIMES: u32 = 20_000;
    // Aligned, across a quadword, across a line, across a page; words apart, so that they do not touch each other.
    const PLACES: [u64; 4] = [DATA + 0x100, DATA + 0x203, DATA + 0x33c, DATA + 0xffb];
    const PLAIN: u64 = DATA + 0x400;
    const LOCK: u64 = DATA + 0x440;
    let counts = |a: &mut CodeAssembler| {
        let (mut top, mut taken) = (a.create_label(), a.create_label());
        a.mov(ecx, TIMES)?;
        a.mov(rsi, DATA)?;
        a.set_label(&mut top)?;
        for place in PLACES {
            a.lock().inc(qword_ptr(rsi + (place - DATA)))?;
            a.mov(r14d, 1)?;
            a.lock().xadd(qword_ptr(rsi + (place - DATA)), r14)?;
        }
        // A plain counter under a lock.
        a.set_label(&mut taken)?;
        a.pause()?;
        a.mov(eax, 1)?;
        a.xchg(dword_ptr(rsi + (LOCK - DATA)), eax)?;
        a.test(eax, eax)?;
        a.jnz(taken)?;
        a.inc(qword_ptr(rsi + (PLAIN - DATA)))?;
        a.mov(dword_ptr(rsi + (LOCK - DATA)), eax)?;
        a.dec(ecx)?;
        a.jnz(top)
    };
    for engine in ENGINES {
        let (memory, _) = Machine::new(engine, &[&counts, &counts]).run(|_, _| ());
        for place in PLACES {
            let found = memory.load::<u64>(RamOffset(place));
            assert_eq!(found, 4 * u64::from(TIMES), "{} at {place:#x}", engine.name());
        }
        assert_eq!(memory.load::<u64>(RamOffset(PLAIN)), 2 * u64::from(TIMES), "{}", engine.name());
    }
}

#[test]
fn the_dirty_log_misses_no_store() {
    const TIMES: u32 = 3_000_000;
    const PAGES: u64 = 64;
    // Stores all over some pages, more and more slowly from page to page.
    let stores = |a: &mut CodeAssembler| {
        let mut top = a.create_label();
        a.mov(ecx, TIMES)?;
        a.mov(rsi, DATA)?;
        a.set_label(&mut top)?;
        a.imul_3(eax, ecx, 0x9e37_79b1u32 as i32)?;
        a.shr(eax, 14)?;
        a.and(eax, (PAGES * PAGE_SIZE - 8) as i32)?;
        a.and(eax, -8)?;
        a.mov(qword_ptr(rsi + rax), rcx)?;
        a.dec(ecx)?;
        a.jnz(top)
    };
    for engine in ENGINES {
        let mut copy = vec![0; RAM as usize];
        let (memory, _) = Machine::new(engine, &[&stores, &stores]).run(|memory, halted| {
            memory.watch().start_dirty_log();
            memory.read_at(RamOffset(0), &mut copy);
            loop {
                let last = halted.load(Ordering::SeqCst);
                for page in memory.watch().take_dirty() {
                    let at = page * PAGE_SIZE as usize;
                    memory.read_at(RamOffset(at as u64), &mut copy[at..at + PAGE_SIZE as usize]);
                }
                if last {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut now = vec![0; RAM as usize];
        memory.read_at(RamOffset(0), &mut now);
        let lost = copy.chunks(4096).zip(now.chunks(4096)).filter(|(copy, now)| copy != now).count();
        assert_eq!(lost, 0, "{}: pages whose last stores were missed", engine.name());
    }
}
