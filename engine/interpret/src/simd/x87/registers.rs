//! The x87 part of the state, and what keeps it consistent.
//!
//! [`Legacy`] holds the registers relative to the top of the stack, tags by physical number. So whatever moves TOP
//! without touching registers rotates `st`.

use x86::Legacy;

/// FCW: the bits that can be set.
const FCW: u16 = 0x1f3f;
/// FCW: the bit that always is.
const FCW_ONE: u16 = 0x40;
/// FSW: the exception flags.
const FLAGS: u16 = 0x3f;
/// FSW: exception summary and its old twin, busy.
const SUMMARY: u16 = 1 << 7 | 1 << 15;
/// A register: 80 bits.
const REGISTER: u128 = (1 << 80) - 1;

/// What the control instructions do to the registers.
pub(crate) trait Registers {
    /// The physical number of ST(0).
    fn top(&self) -> u16;
    /// Replaces control and status word as FLDENV does: the physical registers keep what they hold.
    fn set_words(&mut self, fcw: u16, fsw: u16);
    /// Replaces the control word.
    fn set_control(&mut self, fcw: u16);
    /// Makes the words such as hardware holds: fixed bits, and the summary of unmasked errors.
    fn settle(&mut self);
    /// FNINIT.
    fn initialize(&mut self);
    /// Loads the x87 part of an image as FXRSTOR does.
    fn take_x87(&mut self, image: &Legacy);
    /// As after FNINIT with all registers zero: component 0 of XSAVE in its initial state.
    fn clear_x87(&mut self);
    /// The full tag word: two bits a physical register.
    fn tag_word(&self) -> u16;
}

impl Registers for Legacy {
    #[inline]
    fn top(&self) -> u16 {
        self.fsw >> 11 & 7
    }

    fn set_words(&mut self, fcw: u16, fsw: u16) {
        let before = usize::from(self.top());
        self.st.rotate_right(before);
        (self.fcw, self.fsw) = (fcw, fsw);
        let after = usize::from(self.top());
        self.st.rotate_left(after);
        self.settle();
    }

    fn set_control(&mut self, fcw: u16) {
        self.fcw = fcw;
        self.settle();
    }

    fn settle(&mut self) {
        self.fcw = self.fcw & FCW | FCW_ONE;
        let pending = self.fsw & !self.fcw & FLAGS != 0;
        self.fsw = self.fsw & !SUMMARY | if pending { SUMMARY } else { 0 };
    }

    fn initialize(&mut self) {
        self.set_words(0x37f, 0);
        self.ftw = 0;
        (self.fop, self.fip, self.fdp) = (0, 0, 0);
    }

    fn take_x87(&mut self, image: &Legacy) {
        (self.fcw, self.fsw, self.ftw) = (image.fcw, image.fsw, image.ftw);
        (self.fop, self.fip, self.fdp) = (image.fop & 0x7ff, image.fip, image.fdp);
        self.st = image.st.map(|register| register & REGISTER);
        self.settle();
    }

    fn clear_x87(&mut self) {
        self.initialize();
        self.st = [0; 8];
    }

    fn tag_word(&self) -> u16 {
        let top = self.top();
        (0..8).fold(0, |word, n: u16| {
            let register = self.st[usize::from((n + 8 - top) % 8)];
            let tag = if self.ftw >> n & 1 == 0 { 3 } else { tag(register) };
            word | tag << (2 * n)
        })
    }
}

/// The tag of a register in use (SDM vol. 1, 8.1.7): valid, zero, or special.
fn tag(register: u128) -> u16 {
    let (exponent, significand) = ((register >> 64) as u16 & 0x7fff, register as u64);
    match exponent {
        0 if significand == 0 => 1,
        0 | 0x7fff => 2,
        _ if significand >> 63 == 0 => 2,
        _ => 0,
    }
}
