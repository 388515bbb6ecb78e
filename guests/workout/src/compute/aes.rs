//! One round of AES by the book (FIPS 197), to hold the AES instructions against.

/// A state, column by column as in memory.
pub type State = [u8; 16];

/// What AESENC does: ShiftRows, SubBytes, MixColumns, AddRoundKey.
pub fn encrypt_round(state: State, key: State) -> State {
    let shifted: State = std::array::from_fn(|at| sub_byte(state[(at + 4 * (at % 4)) % 16]));
    std::array::from_fn(|at| {
        let column = &shifted[at / 4 * 4..][..4];
        let row = at % 4;
        let byte = |offset: usize| column[(row + offset) % 4];
        times(byte(0), 2) ^ times(byte(1), 3) ^ byte(2) ^ byte(3) ^ key[at]
    })
}

/// A product in GF(2^8), modulo x^8 + x^4 + x^3 + x + 1.
fn times(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        a = (a << 1) ^ if a & 0x80 == 0 { 0 } else { 0x1b };
        b >>= 1;
    }
    product
}

/// The S-box, by its definition: the inverse and an affine map.
fn sub_byte(byte: u8) -> u8 {
    // x^254 is the inverse of x, and 0 of 0.
    let inverse = (0..253).fold(byte, |power, _| times(power, byte));
    (0..5).fold(0x63, |sum, turn| sum ^ inverse.rotate_left(turn))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_s_box_is_the_standards() {
        assert_eq!([0x00, 0x53, 0xff, 0x10].map(sub_byte), [0x63, 0xed, 0x16, 0xca]);
    }

    #[test]
    fn a_round_is_the_standards() {
        // FIPS 197, appendix B: the first round, from its start to the start of the second.
        let bytes = |digits: u128| digits.to_be_bytes();
        let state = bytes(0x193d_e3be_a0f4_e22b_9ac6_8d2a_e9f8_4808);
        let key = bytes(0xa0fa_fe17_8854_2cb1_23a3_3939_2a6c_7605);
        assert_eq!(encrypt_round(state, key), bytes(0xa49c_7ff2_689f_352b_6b5b_ea43_026a_5049));
    }
}
