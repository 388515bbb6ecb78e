//! As much of ACPI as a machine check needs: the table list, MADT, FADT and `\_S5`.
//!
//! Everything is copied out at start-up, because tests later reuse the address range in which
//! the tables may lie.

use crate::boot::BootInfo;

/// The most tables, CPUs and overrides that are remembered.
const MOST: usize = 32;

/// What the tables say.
#[derive(Clone, Copy)]
pub struct Acpi {
    /// Where the RSDP was.
    pub rsdp: u64,
    /// The signatures of the tables found.
    pub signatures: [[u8; 4]; MOST],
    /// How many of `signatures` are valid.
    pub tables: usize,
    /// True if the checksum of every table is right.
    pub checksums: bool,
    /// APIC IDs of the enabled CPUs.
    pub cpus: [u32; MOST],
    /// How many of `cpus` are valid.
    pub cpu_count: usize,
    /// Physical address of the local APIC.
    pub lapic: u64,
    /// Physical address of the first I/O APIC, zero if none.
    pub ioapic: u64,
    /// The I/O APIC input (GSI) and MPS flags of each ISA interrupt.
    pub isa: [(u32, u16); 16],
    /// PM1a control port.
    pub pm1a_control: u16,
    /// PM timer port, zero if none.
    pub pm_timer: u16,
    /// True if the PM timer counts in 32 bits, else 24.
    pub pm_timer_wide: bool,
    /// SLP_TYPa of S5.
    pub soft_off: Option<u8>,
}

fn byte(address: u64) -> u8 {
    // SAFETY: the first 4 GiB are mapped; reading RAM or ROM there has no effect.
    unsafe { (address as *const u8).read_volatile() }
}

fn word(address: u64) -> u16 {
    u16::from_le_bytes([byte(address), byte(address + 1)])
}

fn dword(address: u64) -> u32 {
    u32::from(word(address + 2)) << 16 | u32::from(word(address))
}

fn qword(address: u64) -> u64 {
    u64::from(dword(address + 4)) << 32 | u64::from(dword(address))
}

fn matches(address: u64, text: &[u8]) -> bool {
    text.iter().zip(address..).all(|(&want, at)| byte(at) == want)
}

fn sums_to_zero(address: u64, length: u64) -> bool {
    (address..address + length).fold(0, |sum: u8, at| sum.wrapping_add(byte(at))) == 0
}

fn is_rsdp(address: u64) -> bool {
    matches(address, b"RSD PTR ") && sums_to_zero(address, 20)
}

/// Where the RSDP is: as the loader said, else by the scan of ACPI 6.4, section 5.2.5.1.
fn find_rsdp(boot: &BootInfo) -> Option<u64> {
    if boot.rsdp != 0 && boot.rsdp < 1 << 32 && is_rsdp(boot.rsdp) {
        return Some(boot.rsdp);
    }
    let ebda = u64::from(word(0x40e)) << 4;
    let mut candidates = (ebda..ebda + 1024).step_by(16).chain((0xe_0000..0x10_0000).step_by(16));
    candidates.find(|&at| at >= 0x400 && is_rsdp(at))
}

impl Acpi {
    /// Finds and reads the tables.
    pub fn read(boot: &BootInfo) -> Option<Self> {
        let rsdp = find_rsdp(boot)?;
        let mut acpi = Self {
            rsdp,
            signatures: [[0; 4]; MOST],
            tables: 0,
            checksums: true,
            cpus: [0; MOST],
            cpu_count: 0,
            lapic: 0xfee0_0000,
            ioapic: 0,
            isa: core::array::from_fn(|irq| (irq as u32, 0)),
            pm1a_control: 0,
            pm_timer: 0,
            pm_timer_wide: false,
            soft_off: None,
        };
        let (root, width) = match (byte(rsdp + 15), qword(rsdp + 24)) {
            (2.., xsdt) if xsdt != 0 => (xsdt, 8),
            _ => (u64::from(dword(rsdp + 16)), 4),
        };
        let end = root + u64::from(dword(root + 4));
        for at in (root + 36..end).step_by(width) {
            let table = if width == 8 { qword(at) } else { dword(at).into() };
            if table != 0 && table < 1 << 32 {
                acpi.read_table(table);
            }
        }
        Some(acpi)
    }

    /// The enabled CPUs' APIC IDs.
    pub fn cpus(&self) -> &[u32] {
        &self.cpus[..self.cpu_count]
    }

    fn read_table(&mut self, table: u64) {
        let signature = dword(table).to_le_bytes();
        let length = u64::from(dword(table + 4)).min(1 << 20);
        if self.tables < MOST {
            self.signatures[self.tables] = signature;
            self.tables += 1;
        }
        self.checksums &= sums_to_zero(table, length);
        match &signature {
            b"APIC" => self.read_madt(table, length),
            b"FACP" => self.read_fadt(table, length),
            _ => {}
        }
    }

    /// Multiple APIC description table: ACPI 6.4, section 5.2.12.
    fn read_madt(&mut self, table: u64, length: u64) {
        self.lapic = dword(table + 36).into();
        let mut at = table + 44;
        while at + 2 <= table + length {
            let (kind, size) = (byte(at), u64::from(byte(at + 1)));
            match kind {
                0 if dword(at + 4) & 1 != 0 => self.add_cpu(byte(at + 3).into()),
                9 if dword(at + 8) & 1 != 0 => self.add_cpu(dword(at + 4)),
                1 if self.ioapic == 0 => self.ioapic = dword(at + 4).into(),
                2 if byte(at + 3) < 16 => {
                    self.isa[usize::from(byte(at + 3))] = (dword(at + 4), word(at + 8));
                }
                _ => {}
            }
            at += size.max(2);
        }
    }

    fn add_cpu(&mut self, id: u32) {
        if self.cpu_count < MOST {
            self.cpus[self.cpu_count] = id;
            self.cpu_count += 1;
        }
    }

    /// Fixed ACPI description table: ACPI 6.4, section 5.2.9.
    fn read_fadt(&mut self, table: u64, length: u64) {
        self.pm1a_control = dword(table + 64) as u16;
        self.pm_timer = dword(table + 76) as u16;
        self.pm_timer_wide = dword(table + 112) & 1 << 8 != 0;
        let mut dsdt = u64::from(dword(table + 40));
        if length >= 148 && qword(table + 140) != 0 {
            dsdt = qword(table + 140);
        }
        if dsdt != 0 && dsdt < 1 << 32 {
            self.read_soft_off(dsdt);
        }
    }

    /// Finds `\_S5` in the DSDT by its bytes: NameOp, the name, PackageOp, length, count, value.
    fn read_soft_off(&mut self, dsdt: u64) {
        let length = u64::from(dword(dsdt + 4)).min(1 << 20);
        self.checksums &= sums_to_zero(dsdt, length);
        let end = (dsdt + length).saturating_sub(16);
        let Some(name) = (dsdt + 36..end).find(|&at| matches(at, b"_S5_\x12")) else {
            return;
        };
        // The package length's upper two bits count its further bytes.
        let value = name + 5 + 1 + u64::from(byte(name + 5) >> 6) + 1;
        self.soft_off = Some(match byte(value) {
            0x0a => byte(value + 1), // BytePrefix
            1 => 1,                  // OneOp
            _ => 0,                  // ZeroOp
        });
    }
}
