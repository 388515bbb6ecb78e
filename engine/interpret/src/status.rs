//! The six arithmetic flags, kept as what they are computed from until somebody asks.
//!
//! Most results are overwritten by the next instruction's before anyone reads a flag, so an ALU
//! instruction leaves two words: the result, sign-extended to 64 bits, and the vector of carries out of each bit,
//! its two top bits moved to 63 and 62 whatever the width:
//!
//! * ZF: the result is zero. SF: its sign. PF: the parity of its low byte.
//! * CF: carry out of the top bit (bit 63). OF: carries out of the two top bits differ (63 and 62).
//! * AF: carry out of bit 3 (bit 3).
//!
//! Flags loaded as such (POPF, SAHF, shifts …) are kept as bits.

use x86::flags::{AF, CF, OF, PF, SF, STATUS, ZF};

use crate::width::Width;

/// The six arithmetic flags.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Status {
    result: u64,
    carries: u64,
    /// The flags themselves, when not `lazy`.
    bits: u64,
    lazy: bool,
}

impl Status {
    /// Leaves the flags of a result of width `T` with this vector of carries (borrows) out of each bit.
    #[inline(always)]
    pub fn set_arithmetic<T: Width>(&mut self, result: u64, carries: u64) {
        self.result = T::from_u64(result).signed() as u64;
        self.carries = carries << (64 - T::BITS) & (3 << 62) | carries & 8;
        self.lazy = true;
    }

    /// Leaves the flags of AND, OR, XOR, TEST: CF, OF and AF (undefined) clear.
    #[inline(always)]
    pub fn set_logic<T: Width>(&mut self, result: u64) {
        self.result = T::from_u64(result).signed() as u64;
        self.carries = 0;
        self.lazy = true;
    }

    /// As `set_arithmetic`, but CF stays: INC and DEC.
    #[inline(always)]
    pub fn set_arithmetic_keep_carry<T: Width>(&mut self, result: u64, carries: u64) {
        let carry = self.carry();
        self.set_arithmetic::<T>(result, carries);
        // Keep OF, the difference of the two top bits, while the top one is replaced.
        if (self.carries >> 63 != 0) != carry {
            self.carries ^= 3 << 62;
        }
    }

    /// Leaves the flags of a result of width `T` whose CF and OF are known as such; AF is clear: bit
    /// manipulation.
    #[inline(always)]
    pub fn set_result<T: Width>(&mut self, result: u64, carry: bool, overflow: bool) {
        self.result = T::from_u64(result).signed() as u64;
        self.carries = top_bits(carry, overflow);
        self.lazy = true;
    }

    /// The same with AF, undefined after shifts, set as AMD's CPUs do.
    #[inline(always)]
    pub fn set_shifted<T: Width>(&mut self, result: u64, carry: bool, overflow: bool) {
        self.result = T::from_u64(result).signed() as u64;
        self.carries = top_bits(carry, overflow) | 8;
        self.lazy = true;
    }

    /// Sets CF and OF and keeps the others: rotates.
    #[inline(always)]
    pub fn set_carry_overflow(&mut self, carry: bool, overflow: bool) {
        if self.lazy {
            self.carries = self.carries & 8 | top_bits(carry, overflow);
        } else {
            self.bits &= !(CF | OF);
            self.bits |= if carry { CF } else { 0 } | if overflow { OF } else { 0 };
        }
    }

    /// Sets CF and keeps the others.
    #[inline(always)]
    pub fn set_carry(&mut self, carry: bool) {
        let overflow = self.overflow();
        self.set_carry_overflow(carry, overflow);
    }

    /// Sets ZF and keeps the others.
    #[inline]
    pub fn set_zero(&mut self, zero: bool) {
        self.replace(ZF, if zero { ZF } else { 0 });
    }

    /// Sets all six from these bits of RFLAGS.
    #[inline(always)]
    pub fn set_bits(&mut self, flags: u64) {
        self.bits = flags & STATUS;
        self.lazy = false;
    }

    /// Replaces those in `mask` by those in `flags`.
    #[inline]
    pub fn replace(&mut self, mask: u64, flags: u64) {
        let bits = self.bits() & !mask | flags & mask;
        self.set_bits(bits);
    }

    /// All six as bits of RFLAGS.
    #[inline]
    pub fn bits(&self) -> u64 {
        if !self.lazy {
            return self.bits;
        }
        let flag = |set: bool, bit: u64| if set { bit } else { 0 };
        flag(self.carry(), CF)
            | flag(self.parity(), PF)
            | flag(self.carries & 8 != 0, AF)
            | flag(self.zero(), ZF)
            | flag(self.sign(), SF)
            | flag(self.overflow(), OF)
    }

    /// CF.
    #[inline(always)]
    pub fn carry(&self) -> bool {
        if self.lazy { self.carries >> 63 != 0 } else { self.bits & CF != 0 }
    }

    /// ZF.
    #[inline(always)]
    pub fn zero(&self) -> bool {
        if self.lazy { self.result == 0 } else { self.bits & ZF != 0 }
    }

    /// SF.
    #[inline(always)]
    pub fn sign(&self) -> bool {
        if self.lazy { self.result >> 63 != 0 } else { self.bits & SF != 0 }
    }

    /// OF.
    #[inline(always)]
    pub fn overflow(&self) -> bool {
        if self.lazy { (self.carries ^ self.carries << 1) >> 63 != 0 } else { self.bits & OF != 0 }
    }

    /// PF.
    #[inline(always)]
    pub fn parity(&self) -> bool {
        if self.lazy { (self.result as u8).count_ones() & 1 == 0 } else { self.bits & PF != 0 }
    }

    /// AF.
    #[inline(always)]
    pub fn adjust(&self) -> bool {
        if self.lazy { self.carries & 8 != 0 } else { self.bits & AF != 0 }
    }

    /// A condition by its four-bit encoding in Jcc, SETcc and CMOVcc (SDM vol. 1, appendix B).
    #[inline(always)]
    pub fn condition(&self, code: u8) -> bool {
        let met = match code >> 1 {
            0 => self.overflow(),
            1 => self.carry(),
            2 => self.zero(),
            3 => self.carry() || self.zero(),
            4 => self.sign(),
            5 => self.parity(),
            6 => self.sign() != self.overflow(),
            _ => self.zero() || self.sign() != self.overflow(),
        };
        met != (code & 1 != 0)
    }
}

/// The two top carries of which CF and OF come out like this.
#[inline(always)]
fn top_bits(carry: bool, overflow: bool) -> u64 {
    u64::from(carry) << 63 | u64::from(carry != overflow) << 62
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_of_an_addition_give_its_flags() {
        let mut status = Status::default();
        let add = |status: &mut Status, a: u64, b: u64| {
            let r = a.wrapping_add(b) & 0xff;
            status.set_arithmetic::<u8>(r, a & b | (a | b) & !r);
            status.bits()
        };
        assert_eq!(add(&mut status, 0x7f, 0x01), OF | SF | AF);
        assert_eq!(add(&mut status, 0xff, 0x01), CF | ZF | AF | PF);
        assert_eq!(add(&mut status, 0x80, 0x80), CF | OF | ZF | PF);
        assert_eq!(add(&mut status, 0x01, 0x02), PF);
    }

    #[test]
    fn single_flags_change_alone_whatever_form_the_rest_has() {
        for bits in [0, CF | OF, CF | AF | SF, OF | ZF | PF, STATUS] {
            for lazy in [false, true] {
                let mut status = Status::default();
                if lazy {
                    status.set_arithmetic::<u8>(0x80, bits & 0x8);
                } else {
                    status.set_bits(bits);
                }
                let with = |change: &dyn Fn(&mut Status)| {
                    let mut s = status;
                    change(&mut s);
                    s.bits()
                };
                let before = status.bits();
                assert_eq!(with(&|s| s.set_carry(true)), before | CF);
                assert_eq!(with(&|s| s.set_carry(false)), before & !CF);
                assert_eq!(with(&|s| s.set_zero(true)), before | ZF);
                assert_eq!(with(&|s| s.set_carry_overflow(true, false)), before & !OF | CF);
                assert_eq!(with(&|s| s.set_carry_overflow(false, true)), before & !CF | OF);
            }
        }
    }

    #[test]
    fn inc_and_dec_keep_the_carry_and_set_overflow() {
        for carry in [0, CF] {
            let mut status = Status::default();
            status.set_bits(carry);
            let (a, b, r) = (0x7fu64, 1u64, 0x80u64);
            status.set_arithmetic_keep_carry::<u8>(r, a & b | (a | b) & !r);
            assert_eq!(status.bits(), carry | OF | SF | AF);
        }
    }
}
