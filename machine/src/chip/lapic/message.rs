//! What local APICs send each other, and who is meant (SDM vol. 3, 11.6).

/// Delivery modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The vector, to all that match.
    Fixed,
    /// The vector, to the one that does the least important work.
    LowestPriority,
    /// System management: there is none here.
    Smi,
    /// A non-maskable interrupt.
    Nmi,
    /// INIT.
    Init,
    /// Start-up.
    StartUp,
    /// The vector comes from the 8259.
    External,
    /// Reserved.
    Reserved,
}

impl Delivery {
    /// The low three bits, as in the ICR's and a redirection entry's bits 8–10.
    pub fn from_bits(bits: u64) -> Self {
        match bits & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::StartUp,
            7 => Self::External,
            _ => Self::Reserved,
        }
    }

    /// Does the vector mean anything?
    pub fn has_vector(self) -> bool {
        matches!(self, Self::Fixed | Self::LowestPriority)
    }
}

/// A destination field with its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The APIC with this ID.
    Physical(u32),
    /// Every APIC whose logical ID matches.
    Logical(u32),
    /// Every APIC.
    All,
}

impl Destination {
    /// The eight-bit form of the xAPIC, the I/O APIC and message-signalled interrupts.
    pub fn from_byte(id: u8, logical: bool) -> Self {
        match (logical, id) {
            (true, id) => Self::Logical(id.into()),
            (false, 0xff) => Self::All,
            (false, id) => Self::Physical(id.into()),
        }
    }

    /// The form of the x2APIC.
    pub fn from_dword(id: u32, logical: bool) -> Self {
        match (logical, id) {
            (_, u32::MAX) => Self::All,
            (true, id) => Self::Logical(id),
            (false, id) => Self::Physical(id),
        }
    }
}

/// The ICR's destination shorthand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shorthand {
    /// The destination field counts.
    None,
    /// The sender alone.
    Myself,
    /// All.
    AllIncludingSelf,
    /// All others.
    AllExcludingSelf,
}

/// An interprocessor interrupt, as the interrupt command register orders it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipi {
    /// To whom, unless a shorthand says otherwise.
    pub destination: Destination,
    /// The shorthand.
    pub shorthand: Shorthand,
    /// What.
    pub delivery: Delivery,
    /// The vector; for start-up the page.
    pub vector: u8,
}

impl Ipi {
    /// Reads the ICR; `None` for INIT level de-assert, which nothing since the P6 heeds.
    pub fn from_icr(icr: u64, x2apic: bool) -> Option<Self> {
        let delivery = Delivery::from_bits(icr >> 8);
        let logical = icr & 1 << 11 != 0;
        if delivery == Delivery::Init && icr & 1 << 15 != 0 && icr & 1 << 14 == 0 {
            return None;
        }
        Some(Self {
            destination: if x2apic {
                Destination::from_dword((icr >> 32) as u32, logical)
            } else {
                Destination::from_byte((icr >> 56) as u8, logical)
            },
            shorthand: match icr >> 18 & 3 {
                0 => Shorthand::None,
                1 => Shorthand::Myself,
                2 => Shorthand::AllIncludingSelf,
                _ => Shorthand::AllExcludingSelf,
            },
            delivery,
            vector: icr as u8,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_register_reads_as_the_manual_has_it() {
        let init = Ipi::from_icr(0x0300_0000_0000_4500, false).unwrap();
        assert_eq!((init.destination, init.delivery), (Destination::Physical(3), Delivery::Init));
        assert_eq!(Ipi::from_icr(0x8500, false), None, "level de-assert");
        let flood = Ipi::from_icr(0xc_40fb, false).unwrap();
        assert_eq!((flood.shorthand, flood.vector), (Shorthand::AllExcludingSelf, 0xfb));
        let cluster = Ipi::from_icr(0x0001_0003_0000_0830, true).unwrap();
        assert_eq!(cluster.destination, Destination::Logical(0x1_0003));
        assert_eq!(Ipi::from_icr(0xff << 56, false).unwrap().destination, Destination::All);
        assert_eq!(Ipi::from_icr(0xff << 32, true).unwrap().destination, Destination::Physical(0xff));
    }
}
