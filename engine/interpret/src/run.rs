//! The loop: events between instructions, then a block of them.
//!
//! Order of what may happen between two instructions (SDM vol. 3, 6.9): traps of the previous instruction
//! (single step, data breakpoints), NMI, maskable interrupts, then breakpoints on and faults of the next.

use base::RamOffset;
use engine::{Exit, Signals};
use iced_x86::Code;
use x86::control::debug;
use x86::paging::is_canonical;
use x86::{Activity, Exception, SegmentRegister, Shadow, Vector, flags};

use crate::access::Place;
use crate::block::BlockCache;
use crate::cpu::Cpu;
use crate::decode::{Decoded, LONGEST, decode};
use crate::op::{FLAT, NEXT, Op, Repeat};
use crate::raised::Raised;
use crate::system::Event;
use crate::walk::Access;

/// What a look at the instruction pointer gave.
enum Fetched {
    At(RamOffset),
    Fault,
    Exit(Exit),
}

/// Runs until there is a reason not to; `left` counts instructions down.
pub(crate) fn run(cpu: &mut Cpu, blocks: &mut BlockCache, left: &mut u64) -> Exit {
    cpu.leave = true;
    loop {
        if cpu.leave || cpu.attention.any() {
            match service(cpu) {
                Err(shutdown) => return shut_down(cpu, shutdown),
                Ok(Some(exit)) => return exit,
                Ok(None) => {}
            }
        }
        if *left == 0 {
            return Exit::Budget;
        }
        if cpu.mode.stepping || cpu.state.events.shadow != Shadow::None {
            *left -= 1;
            match step(cpu) {
                Err(shutdown) => return shut_down(cpu, shutdown),
                Ok(Some(exit)) => return exit,
                Ok(None) => continue,
            }
        }
        let start = match fetch(cpu) {
            Fetched::At(start) => start,
            Fetched::Fault => {
                *left -= 1;
                match cpu.deliver(Event::Exception(cpu.raised)) {
                    Err(shutdown) => return shut_down(cpu, shutdown),
                    Ok(()) => continue,
                }
            }
            Fetched::Exit(exit) => return exit,
        };
        let block = blocks.at(&cpu.memory, &cpu.model, start, cpu.rip, cpu.mode.code_bits);
        let Some(block) = block.filter(|block| block.ops.len() as u64 <= *left && fits(cpu, block.bytes))
        else {
            *left -= 1;
            match step(cpu) {
                Err(shutdown) => return shut_down(cpu, shutdown),
                Ok(Some(exit)) => return exit,
                Ok(None) => continue,
            }
        };
        // RF lasts for one instruction; a fault of that one pushes it set anyway, and IRET loads it anew.
        cpu.state.rflags &= !flags::RF;
        // In host registers: through memory each instruction would wait for the one before.
        let (mut rip, ip_mask) = (cpu.rip, cpu.mode.ip_mask);
        let mut done = 0;
        let mut result = Ok(());
        let most = usize::try_from(*left).unwrap_or(usize::MAX);
        for op in block.ops.iter().take(most) {
            let next = rip.wrapping_add(u64::from(op.len)) & ip_mask;
            cpu.rip = rip;
            cpu.set_next(next);
            result = (op.exec)(cpu, op);
            if result.is_err() {
                break;
            }
            done += 1;
            rip = next;
            if cpu.leave || cpu.next() != next {
                rip = cpu.next();
                break;
            }
        }
        if result.is_ok() {
            cpu.rip = rip;
        }
        *left -= done;
        cpu.statistics.instructions += done;
        if result.is_err() {
            *left -= 1; // a block is no longer than the budget, so one is left
            if let Err(shutdown) = cpu.deliver(Event::Exception(cpu.raised)) {
                return shut_down(cpu, shutdown);
            }
        }
    }
}

pub(crate) fn shut_down(cpu: &mut Cpu, reason: String) -> Exit {
    cpu.state.events.activity = Activity::Shutdown;
    Exit::Shutdown(reason)
}

/// Does a block lie within the code segment's limit?
#[inline(always)]
fn fits(cpu: &Cpu, bytes: u16) -> bool {
    cpu.mode.is_64() || {
        let limit = u64::from(cpu.state.segment(SegmentRegister::Cs).limit);
        cpu.rip + u64::from(bytes) - 1 <= limit
    }
}

/// Events between two instructions. An error is a triple fault.
#[cold]
#[inline(never)]
fn service(cpu: &mut Cpu) -> Result<Option<Exit>, String> {
    cpu.leave = false;
    if cpu.attention.any() {
        let signals = cpu.attention.take(Signals::INTERRUPT | Signals::NMI);
        cpu.interrupt_wanted |= signals.contains(Signals::INTERRUPT);
        cpu.state.events.nmi_pending |= signals.contains(Signals::NMI);
        if cpu.attention.peek().intersects(Signals::MACHINE) {
            cpu.leave = true;
            return Ok(Some(Exit::Signalled));
        }
    }
    match cpu.state.events.activity {
        Activity::Shutdown => return Ok(Some(Exit::Shutdown("the CPU is shut down".to_owned()))),
        Activity::WaitForSipi => {
            cpu.leave = true;
            return Ok(Some(Exit::Halted));
        }
        Activity::Running | Activity::Halted => {}
    }
    if let Some(exception) = cpu.state.events.exception.take() {
        cpu.state.events.activity = Activity::Running;
        cpu.deliver(Event::Exception(exception))?;
    }
    let shadow = cpu.state.events.shadow;
    if cpu.debug_hits != 0 && shadow != Shadow::MovSs {
        deliver_traps(cpu)?;
    }
    if cpu.state.events.nmi_pending && !cpu.state.events.nmi_blocked && shadow == Shadow::None {
        cpu.state.events.nmi_pending = false;
        cpu.state.events.nmi_blocked = true;
        cpu.state.events.activity = Activity::Running;
        cpu.deliver(Event::Nmi)?;
    }
    if cpu.interrupt_wanted && shadow == Shadow::None && cpu.state.rflags & flags::IF != 0 {
        match cpu.board.take_interrupt() {
            Some(vector) => {
                cpu.state.events.activity = Activity::Running;
                cpu.statistics.interrupts += 1;
                cpu.deliver(Event::Interrupt(vector))?;
            }
            None => cpu.interrupt_wanted = false,
        }
    }
    if cpu.state.events.activity == Activity::Halted {
        cpu.leave = true;
        return Ok(Some(Exit::Halted));
    }
    cpu.leave = false;
    Ok(None)
}

/// Where the instruction pointer leads.
#[inline(always)]
fn fetch(cpu: &mut Cpu) -> Fetched {
    let linear = if cpu.mode.is_64() {
        cpu.rip
    } else {
        match code_linear(cpu, 1) {
            Ok(linear) => linear,
            Err(Raised(())) => return Fetched::Fault,
        }
    };
    let (entry, tag) = cpu.tlb.entry(cpu.mode.view as usize, linear);
    if entry.fetch == tag {
        return Fetched::At(RamOffset(entry.page + linear % base::PAGE_SIZE));
    }
    fetch_slow(cpu, linear)
}

#[cold]
fn fetch_slow(cpu: &mut Cpu, linear: u64) -> Fetched {
    match cpu.translate(linear, Access::Fetch, cpu.mode.view, FLAT) {
        Ok(Place::Ram(at)) => Fetched::At(at),
        Ok(Place::Device(at)) => Fetched::Exit(Exit::BadFetch(at)),
        Err(Raised(())) => Fetched::Fault,
    }
}

/// The linear address of the instruction outside 64-bit code, if `len` bytes lie within the limit.
fn code_linear(cpu: &mut Cpu, len: u64) -> Result<u64, Raised> {
    let cs = *cpu.state.segment(SegmentRegister::Cs);
    if cpu.rip + (len - 1) > u64::from(cs.limit) {
        return Err(cpu.gp());
    }
    Ok(cs.base.wrapping_add(cpu.rip) & 0xffff_ffff)
}

/// Executes one instruction, with all that single stepping, breakpoints and shadows ask for.
fn step(cpu: &mut Cpu) -> Result<Option<Exit>, String> {
    let shadow = cpu.state.events.shadow;
    let traced = cpu.state.rflags & flags::TF != 0;
    let resume = cpu.state.rflags & flags::RF != 0;
    if shadow != Shadow::MovSs && !resume {
        let hits = instruction_breakpoints(cpu);
        if hits != 0 {
            cpu.deliver(Event::Exception(Exception { payload: hits, ..Exception::new(Vector::Debug) }))?;
            return Ok(None);
        }
    }
    let op = match fetch_one(cpu) {
        Ok(Ok(op)) => op,
        Ok(Err(exit)) => return Ok(Some(exit)),
        Err(Raised(())) => {
            cpu.deliver(Event::Exception(cpu.raised))?;
            return Ok(None);
        }
    };
    cpu.state.events.shadow = Shadow::None;
    // RF lasts for one instruction; IRET loads it anew.
    cpu.state.rflags &= !flags::RF;
    cpu.gpr[usize::from(NEXT)] = cpu.rip.wrapping_add(u64::from(op.len)) & cpu.mode.ip_mask;
    if (op.exec)(cpu, &op).is_err() {
        cpu.deliver(Event::Exception(cpu.raised))?;
        return Ok(None);
    }
    cpu.statistics.instructions += 1;
    if op.repeat != Repeat::None && cpu.next() == cpu.rip {
        // Between two iterations the instruction is not begun anew: its breakpoint stays quiet.
        cpu.state.rflags |= flags::RF;
    }
    cpu.rip = cpu.next();
    cpu.leave = true;
    // MOV SS holds traps off for one more instruction; what was hit stays pending.
    if cpu.state.events.shadow != Shadow::MovSs {
        if traced && (!looks_again(&op) || cpu.state.rflags & flags::TF != 0) {
            cpu.debug_hits |= debug::DR6_BS;
        }
        if cpu.debug_hits != 0 {
            deliver_traps(cpu)?;
        }
    }
    Ok(None)
}

/// The #DB trap of what the last instruction met.
fn deliver_traps(cpu: &mut Cpu) -> Result<(), String> {
    let payload = std::mem::take(&mut cpu.debug_hits);
    cpu.deliver(Event::Exception(Exception { payload, ..Exception::new(Vector::Debug) }))
}

/// Instructions after which TF is looked at as they leave it, not as they found it: interrupts go where it is
/// clear, SYSCALL where it is masked; SYSRET sees to its trap itself.
fn looks_again(op: &Op) -> bool {
    [Code::Int1, Code::Int3, Code::Int_imm8, Code::Into, Code::Syscall, Code::Sysretd, Code::Sysretq]
        .iter()
        .any(|&code| code as u16 == op.code)
}

/// Instruction breakpoints that match RIP, as bits of DR6.
fn instruction_breakpoints(cpu: &Cpu) -> u64 {
    let linear = if cpu.mode.is_64() {
        cpu.rip
    } else {
        cpu.state.segment(SegmentRegister::Cs).base.wrapping_add(cpu.rip) & 0xffff_ffff
    };
    (0..4)
        .filter(|n| {
            let (on, kind) = (cpu.state.dr7 >> (2 * n) & 3, cpu.state.dr7 >> (16 + 4 * n) & 3);
            on != 0 && kind == 0 && cpu.state.dr[*n as usize] == linear
        })
        .fold(0, |hits, n| hits | 1 << n)
}

/// Fetches and decodes one instruction, across a page boundary if need be.
fn fetch_one(cpu: &mut Cpu) -> Result<Result<Op, Exit>, Raised> {
    let mut bytes = [0; LONGEST];
    let first = if cpu.mode.is_64() {
        if !is_canonical(cpu.rip) {
            return Err(cpu.gp());
        }
        cpu.rip
    } else {
        code_linear(cpu, 1)?
    };
    let here = (base::PAGE_SIZE - first % base::PAGE_SIZE).min(LONGEST as u64) as usize;
    let view = cpu.mode.view;
    match cpu.translate(first, Access::Fetch, view, FLAT)? {
        Place::Ram(at) => cpu.memory.read_at(at, &mut bytes[..here]),
        Place::Device(at) => return Ok(Err(Exit::BadFetch(at))),
    }
    let mut have = here;
    if let Decoded::Incomplete = decode(&cpu.model, &bytes[..have], cpu.rip, cpu.mode.code_bits)
        && have < LONGEST
    {
        let second = cpu.wrap(first.wrapping_add(here as u64));
        match cpu.translate(second, Access::Fetch, view, FLAT)? {
            Place::Ram(at) => cpu.memory.read_at(at, &mut bytes[here..]),
            Place::Device(at) => return Ok(Err(Exit::BadFetch(at))),
        }
        have = LONGEST;
    }
    match decode(&cpu.model, &bytes[..have], cpu.rip, cpu.mode.code_bits) {
        Decoded::Op(op) => {
            if !cpu.mode.is_64() {
                code_linear(cpu, u64::from(op.len))?;
            }
            Ok(Ok(op))
        }
        // More than 15 bytes.
        Decoded::Incomplete => Err(cpu.gp()),
    }
}
