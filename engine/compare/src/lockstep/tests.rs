//! A small program in real mode that asks the board, is interrupted and halts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::{CpuLevel, MsrDenied, Width};
use interpret::Interpreter;
use x86::{Gpr, SegmentRegister};

use super::*;

/// Where the program lies.
const CODE: u64 = 0x7c00;
/// Where the handler of interrupt 20h lies.
const HANDLER: u64 = 0x7000;

/// Answers are never the same twice; an interrupt comes with every hundredth call.
#[derive(Default)]
struct Fickle {
    calls: AtomicU64,
    interrupts: AtomicU64,
}

impl Fickle {
    fn next(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Board for Fickle {
    fn port_in(&self, _: u16, width: Width) -> u32 {
        self.next() as u32 & width.ones() as u32
    }
    fn port_out(&self, _: u16, _: Width, _: u32) {}
    fn mmio_read(&self, _: GuestPhys, width: Width) -> u64 {
        self.next() & width.ones()
    }
    fn mmio_write(&self, _: GuestPhys, _: Width, _: u64) {}
    fn msr_read(&self, _: u32) -> Result<u64, MsrDenied> {
        Err(MsrDenied)
    }
    fn msr_write(&self, _: u32, _: u64) -> Result<(), MsrDenied> {
        Err(MsrDenied)
    }
    fn take_interrupt(&self) -> Option<u8> {
        self.interrupts.fetch_add(1, Ordering::Relaxed);
        Some(0x20)
    }
    fn interrupt_waits(&self) -> bool {
        self.interrupts.load(Ordering::Relaxed) < self.calls.load(Ordering::Relaxed) / 100
    }
    fn task_priority(&self) -> u8 {
        0
    }
    fn set_task_priority(&self, _: u8) {}
    fn tsc(&self) -> u64 {
        self.next()
    }
}

/// The interpreter, with a state that is wrong once BX has come to a certain value.
struct Wrong;

struct WrongVcpu(Box<dyn Vcpu>);

impl Engine for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }
    fn vcpu(
        &self,
        index: u32,
        model: &CpuModel,
        memory: &Arc<GuestMemory>,
        attention: &Arc<Attention>,
        board: &Arc<dyn Board>,
    ) -> Result<Box<dyn Vcpu>, EngineError> {
        Ok(Box::new(WrongVcpu(Interpreter.vcpu(index, model, memory, attention, board)?)))
    }
}

impl Vcpu for WrongVcpu {
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError> {
        self.0.run(budget)
    }
    fn state(&self) -> CpuState {
        let mut state = self.0.state();
        if state.get(Gpr::Rbx) > 500 {
            state.gpr[Gpr::Rdi as usize] ^= 1 << 20;
        }
        state
    }
    fn set_state(&mut self, state: &CpuState) {
        self.0.set_state(state);
    }
    fn statistics(&self) -> Statistics {
        self.0.statistics()
    }
}

/// A vCPU at the program's beginning.
fn machine(follower: Box<dyn Engine>, board: &Arc<Fickle>) -> Box<dyn Vcpu> {
    let memory = Arc::new(GuestMemory::new(1 << 20).unwrap());
    // sti; mov cx, 1000; again: in al, 60h; rdtsc; inc bx; pushf; pop bp;
    // out 61h, al; loop again; cli; hlt: this board may always have one more interrupt, which would wake it
    let program = [
        0xfb, 0xb9, 0xe8, 0x03, 0xe4, 0x60, 0x0f, 0x31, 0x43, 0x9c, 0x5d, 0xe6, 0x61, 0xe2, 0xf5, 0xfa, 0xf4,
    ];
    memory.write(GuestPhys(CODE), &program).unwrap();
    // inc si; iret
    memory.write(GuestPhys(HANDLER), &[0x46, 0xcf]).unwrap();
    memory.write(GuestPhys(0x20 * 4), &[0, 0x70, 0, 0]).unwrap();
    let model = CpuModel { level: CpuLevel::V1, vcpus: 1 };
    let attention = Arc::new(Attention::default());
    let board: Arc<dyn Board> = Arc::clone(board) as _;
    let engine = Lockstep::new(Box::new(Interpreter), follower, 37);
    let mut vcpu = engine.vcpu(0, &model, &memory, &attention, &board).unwrap();
    let mut state = vcpu.state();
    let cs = state.segment_mut(SegmentRegister::Cs);
    (cs.selector, cs.base) = (0, 0);
    state.rip = CODE;
    state.set(Gpr::Rsp, 0x7000);
    vcpu.set_state(&state);
    vcpu
}

#[test]
fn an_engine_keeps_step_with_itself_whatever_the_board_says() {
    let board = Arc::new(Fickle::default());
    let mut vcpu = machine(Box::new(Interpreter), &board);
    assert_eq!(vcpu.run(Budget::Unlimited).unwrap(), Exit::Halted);
    let state = vcpu.state();
    assert_eq!(state.get(Gpr::Rbx), 1000);
    assert!(state.get(Gpr::Rsi) > 10, "interrupts came through");
    assert_eq!(state.get(Gpr::Rsi), board.interrupts.load(Ordering::Relaxed));
}

#[test]
fn a_difference_ends_the_run_with_a_report() {
    let board = Arc::new(Fickle::default());
    let mut vcpu = machine(Box::new(Wrong), &board);
    let exit = vcpu.run(Budget::Unlimited).unwrap();
    let Exit::Shutdown(report) = exit else { panic!("{exit:?}") };
    assert!(report.contains("rdi: interpret 0x0, wrong 0x100000"), "{report}");
    assert!((500..600).contains(&vcpu.state().get(Gpr::Rbx)), "{report}");
}

#[test]
fn several_vcpus_are_refused() {
    let memory = Arc::new(GuestMemory::new(1 << 20).unwrap());
    let model = CpuModel { level: CpuLevel::V1, vcpus: 2 };
    let board: Arc<dyn Board> = Arc::new(Fickle::default());
    let engine = Lockstep::new(Box::new(Interpreter), Box::new(Interpreter), 1);
    let refused = engine.vcpu(0, &model, &memory, &Arc::default(), &board);
    assert!(matches!(refused, Err(EngineError::Unsupported { .. })));
}
