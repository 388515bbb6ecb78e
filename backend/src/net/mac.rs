//! Hardware addresses: `52:54:00:12:34:56`.

use std::fmt;
use std::str::FromStr;

/// The address of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

/// What is wrong with a text that should be the address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAMac {
    /// Not six bytes.
    #[error("write six bytes in hexadecimal, as in 52:54:00:12:34:56")]
    Shape,
    /// A group's.
    #[error("this is the address of a group: make the first byte even")]
    Group,
    /// Nobody's.
    #[error("the address of all zeros is nobody's")]
    Zero,
}

impl Mac {
    /// A new one: random, locally administered, of one interface (IEEE 802, 8.4).
    ///
    /// # Errors
    /// Where the host has no random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 6];
        getrandom::fill(&mut bytes)?;
        bytes[0] = bytes[0] & !1 | 2;
        Ok(Self(bytes))
    }
}

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(NotAMac::Shape)?;
            if !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(NotAMac::Shape);
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| NotAMac::Shape)?;
        }
        match bytes {
            _ if parts.next().is_some() => Err(NotAMac::Shape),
            [0, 0, 0, 0, 0, 0] => Err(NotAMac::Zero),
            [first, ..] if first & 1 != 0 => Err(NotAMac::Group),
            _ => Ok(Self(bytes)),
        }
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses() {
        assert_eq!("52:54:00:aB:Cd:56".parse(), Ok(Mac([0x52, 0x54, 0, 0xab, 0xcd, 0x56])));
        for (bad, why) in [
            ("", NotAMac::Shape),
            ("52:54:00:12:34", NotAMac::Shape),
            ("52:54:00:12:34:56:78", NotAMac::Shape),
            ("52-54-00-12-34-56", NotAMac::Shape),
            ("5:54:00:12:34:56", NotAMac::Shape),
            ("+2:54:00:12:34:56", NotAMac::Shape),
            ("é:54:00:12:34:56", NotAMac::Shape),
            ("53:54:00:12:34:56", NotAMac::Group),
            ("00:00:00:00:00:00", NotAMac::Zero),
        ] {
            assert_eq!(bad.parse::<Mac>(), Err(why), "{bad}");
        }
        let [one, other] = [Mac::random().unwrap(), Mac::random().unwrap()];
        assert!(one != other && one.0[0] & 3 == 2);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes: [u8; 6]) {
            let mac = Mac(bytes);
            if let Ok(read) = mac.to_string().parse::<Mac>() {
                prop_assert_eq!(read, mac);
            } else {
                prop_assert!(bytes[0] & 1 == 1 || bytes == [0; 6]);
            }
        }
    }
}
