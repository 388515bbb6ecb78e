//! [`catch`]: a way back out of any fault, in the manner of `setjmp`.

use core::arch::global_asm;
use core::ptr;

use super::Trap;
use crate::hw::cpu;
use crate::sync::Racy;

/// What a fault returns to.
#[repr(C)]
struct Guard {
    rsp: u64,
    cr0: u64,
    cr3: u64,
    cr4: u64,
    trap: Trap,
    outer: *mut Guard,
}

/// The innermost guard.
static CURRENT: Racy<*mut Guard> = Racy::new(ptr::null_mut());

unsafe extern "C" {
    fn guard_enter(guard: *mut Guard, body: extern "C" fn(*mut ()), argument: *mut ()) -> u64;
    fn guard_leave(rsp: u64) -> !;
}

global_asm!(
    r#"
    .pushsection .text
guard_enter:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    pushfq
    mov [rdi], rsp
    mov rdi, rdx
    call rsi
    xor eax, eax
    jmp 3f
2:  mov eax, 1
3:  popfq
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

    # By IRET, which also ends the blocking of NMIs.
guard_leave:
    mov eax, 0x18
    mov ss, eax
    mov ds, eax
    mov es, eax
    xor ecx, ecx
    mov fs, ecx
    mov gs, ecx
    fninit
    push rax
    push rdi
    push 2
    push 0x10
    lea rax, [rip + 2b]
    push rax
    iretq
    .popsection
"#
);

/// Runs `body`; an exception or interrupt without a handler ends it and is the error.
///
/// Control registers 0, 3 and 4, segments and the stack are put back; nothing is dropped.
pub fn catch<R>(body: impl FnOnce() -> R) -> Result<R, Trap> {
    let mut call = (Some(body), None);
    let mut guard = Guard {
        rsp: 0,
        cr0: cpu::cr0(),
        cr3: cpu::cr3(),
        cr4: cpu::cr4(),
        trap: Trap::empty(),
        // SAFETY: one CPU uses guards.
        outer: unsafe { *CURRENT.get() },
    };
    let current = &raw mut guard;
    // SAFETY: the guard outlives its time as the current one; `enter` gets the type it expects.
    let escaped = unsafe {
        *CURRENT.get() = current;
        let escaped = guard_enter(current, enter_with(&call), (&raw mut call).cast());
        *CURRENT.get() = (*current).outer;
        escaped
    };
    if escaped == 0
        && let Some(value) = call.1
    {
        return Ok(value);
    }
    // SAFETY: `escape` wrote it.
    Err(unsafe { (&raw const (*current).trap).read_volatile() })
}

/// The `enter` for the type of `call`.
fn enter_with<F: FnOnce() -> R, R>(_: &(Option<F>, Option<R>)) -> extern "C" fn(*mut ()) {
    enter::<F, R>
}

extern "C" fn enter<F: FnOnce() -> R, R>(call: *mut ()) {
    // SAFETY: `catch` passes the address of such a pair.
    let call = unsafe { &mut *call.cast::<(Option<F>, Option<R>)>() };
    call.1 = call.0.take().map(|body| body());
}

/// Ends the innermost `catch` with `trap`.
pub fn escape(trap: &Trap) -> ! {
    let cpu = crate::hw::gdt::cpu_of_stack(&raw const *trap as u64);
    if cpu != 0 && trap.vector != super::vector::PANIC {
        say!("selftest: {trap} on CPU {cpu}");
        cpu::halt_forever();
    }
    // SAFETY: a current guard's frame is still on the stack, as `catch` has not returned.
    unsafe {
        let guard = *CURRENT.get();
        if guard.is_null() {
            say!("selftest: {trap} outside of every test");
            crate::hw::exit::leave(crate::hw::exit::FAILURE, None);
        }
        (*guard).trap = *trap;
        cpu::set_cr4((*guard).cr4);
        cpu::set_cr0((*guard).cr0);
        if cpu::cr3() != (*guard).cr3 {
            cpu::set_cr3((*guard).cr3);
        }
        guard_leave((*guard).rsp)
    }
}
