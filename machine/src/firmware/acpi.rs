//! The ACPI tables but the DSDT: RSDP, XSDT, FADT, FACS, MADT, MCFG (ACPI 6.4, 5.2).

use acpi_tables::Aml;
use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use base::GuestPhys;

use super::{Table, dsdt};
use crate::chip::{PM_BASE, PM_LENGTH, SystemControl};
use crate::pci::ECAM;

/// The RSDP is where BIOSes put it and kernels search for it.
pub const RSDP: GuestPhys = GuestPhys(ACPI_START);
/// Where the tables begin; they end below F0000h.
pub const ACPI_START: u64 = 0xe_0000;

pub(super) const OEM: [u8; 6] = *b"RINGFN";
pub(super) const OEM_TABLE: [u8; 8] = *b"RINGFENC";
pub(super) const OEM_REVISION: u32 = 1;

/// The SCI's interrupt.
pub(super) const SCI: u8 = 9;

/// All tables: the RSDP first, the others after it.
pub fn tables(vcpus: u32) -> Vec<Table> {
    let mut next = ACPI_START + 64;
    let mut tables = Vec::new();
    let mut place = |table: &dyn Aml| {
        let mut bytes = Vec::new();
        table.to_aml_bytes(&mut bytes);
        let at = next;
        next = (at + bytes.len() as u64).next_multiple_of(64);
        tables.push(Table { at: GuestPhys(at), bytes });
        at
    };
    let facs = place(&FACS::new());
    let dsdt = place(&dsdt::table());
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    xsdt.add_entry(place(&fadt(dsdt, facs)));
    xsdt.add_entry(place(&madt(vcpus)));
    xsdt.add_entry(place(&mcfg()));
    let xsdt = place(&xsdt);
    let mut rsdp = Vec::new();
    Rsdp::new(OEM, xsdt).to_aml_bytes(&mut rsdp);
    tables.push(Table { at: RSDP, bytes: rsdp });
    tables
}

/// The fixed description: what is true of this board, the old devices included.
fn fadt(dsdt: u64, facs: u64) -> impl Aml {
    const LEGACY_DEVICES: u16 = 1 << 0;
    const HAS_8042: u16 = 1 << 1;
    const NO_VGA: u16 = 1 << 2;
    let port = |offset: u16, bits: u8, access| {
        GAS::new(AddressSpace::SystemIo, bits, 0, access, u64::from(PM_BASE + offset))
    };
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        .flag(Flags::SlpButton) // there is no sleep button
        .flag(Flags::TmrValExt)
        .flag(Flags::ResetRegSup)
        .preferred_pm_profile(PmProfile::EnterpriseServer);
    fadt.firmware_ctrl = (facs as u32).into();
    fadt.dsdt = (dsdt as u32).into();
    fadt.x_dsdt = dsdt.into();
    fadt.sci_int = u16::from(SCI).into();
    let base = u32::from(PM_BASE);
    fadt.pm1a_evt_blk = base.into();
    fadt.pm1a_cnt_blk = (base + 4).into();
    fadt.pm_tmr_blk = (base + 8).into();
    fadt.gpe0_blk = (base + 12).into();
    fadt.pm1_evt_len = 4;
    fadt.pm1_cnt_len = 2;
    fadt.pm_tmr_len = 4;
    fadt.gpe0_blk_len = 4;
    fadt.x_pm1a_evt_blk = port(0, 32, AccessSize::WordAccess);
    fadt.x_pm1a_cnt_blk = port(4, 16, AccessSize::WordAccess);
    fadt.x_pm_tmr_blk = port(8, 32, AccessSize::DwordAccess);
    fadt.x_gpe0_blk = port(12, 32, AccessSize::ByteAccess);
    fadt.p_lvl2_lat = 0xfff_u16.into(); // no C2
    fadt.p_lvl3_lat = 0xffff_u16.into(); // no C3
    fadt.century = crate::chip::CENTURY;
    fadt.iapc_boot_arch = (LEGACY_DEVICES | HAS_8042 | NO_VGA).into();
    fadt.reset_reg = GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, 0xcf9);
    fadt.reset_value = SystemControl::RESET_VALUE;
    fadt.finalize()
}

const _: () = assert!(PM_LENGTH == 16);

/// Where the PCI configuration space is in memory.
fn mcfg() -> MCFG {
    let mut table = MCFG::new(OEM, OEM_TABLE, OEM_REVISION);
    table.add_ecam(ECAM.0, 0, 0, 0);
    table
}

/// The interrupt controllers: each vCPU's local APIC, the I/O APIC, and where ISA interrupts differ.
fn madt(vcpus: u32) -> Sdt {
    const PCAT_COMPAT: u32 = 1;
    /// MPS INTI flags: active high, level.
    const HIGH_LEVEL: u16 = 0b1101;
    let mut bytes = Vec::new();
    bytes.extend(0xfee0_0000u32.to_le_bytes());
    bytes.extend(PCAT_COMPAT.to_le_bytes());
    for id in 0..vcpus {
        match u8::try_from(id) {
            Ok(small) if small < 255 => {
                bytes.extend([0, 8, small, small]);
                bytes.extend(1u32.to_le_bytes()); // enabled
            }
            _ => {
                bytes.extend([9, 16, 0, 0]);
                bytes.extend([id, 1, id].map(u32::to_le_bytes).concat());
            }
        }
    }
    bytes.extend([1, 12, 0, 0]);
    bytes.extend([0xfec0_0000u32, 0].map(u32::to_le_bytes).concat());
    let mut redirect = |irq: u8, gsi: u32, flags: u16| {
        bytes.extend([2, 10, 0, irq]);
        bytes.extend(gsi.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
    };
    redirect(0, 2, 0);
    redirect(SCI, SCI.into(), HIGH_LEVEL);
    // LINT1 is the NMI of all processors, by either kind of entry.
    bytes.extend([4, 6, 0xff, 0, 0, 1]);
    if vcpus > 255 {
        bytes.extend([10, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    }
    let mut table = Sdt::new(*b"APIC", 36, 4, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(&bytes);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    fn dword(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    #[test]
    fn every_table_is_found_and_sums_to_zero() {
        let tables = tables(2);
        let at = |address: u64| &tables.iter().find(|table| table.at.0 == address).unwrap().bytes;
        let rsdp = at(RSDP.0);
        assert_eq!((&rsdp[..8], sum(&rsdp[..20]), sum(rsdp)), (&b"RSD PTR "[..], 0, 0));
        let xsdt = at(dword(rsdp, 24).into());
        assert_eq!((&xsdt[..4], sum(xsdt), xsdt.len()), (&b"XSDT"[..], 0, 36 + 24));
        let [fadt, madt, mcfg] = [36, 44, 52].map(|entry| at(dword(xsdt, entry).into()));
        assert_eq!((&fadt[..4], sum(fadt), dword(fadt, 4) as usize), (&b"FACP"[..], 0, fadt.len()));
        assert_eq!((&madt[..4], sum(madt), dword(madt, 4) as usize), (&b"APIC"[..], 0, madt.len()));
        assert_eq!((&mcfg[..4], sum(mcfg), dword(mcfg, 4) as usize), (&b"MCFG"[..], 0, mcfg.len()));
        assert_eq!((dword(mcfg, 44), mcfg[54], mcfg[55], mcfg.len()), (ECAM.0 as u32, 0, 0, 60));
        let dsdt = at(dword(fadt, 40).into());
        assert_eq!((&dsdt[..4], sum(dsdt), dword(dsdt, 4) as usize), (&b"DSDT"[..], 0, dsdt.len()));
        assert_eq!(&at(dword(fadt, 36).into())[..4], b"FACS");
        assert_eq!((dword(fadt, 56), dword(fadt, 64), dword(fadt, 76)), (0x600, 0x604, 0x608));
    }

    #[test]
    fn processors_above_254_have_x2apic_entries() {
        let madt = madt(300);
        let bytes = madt.as_slice();
        let mut at = 44;
        let (mut small, mut large) = (0, 0);
        while at < bytes.len() {
            match bytes[at] {
                0 => small += 1,
                9 => {
                    large += 1;
                    assert!(dword(bytes, at + 4) >= 255);
                }
                _ => {}
            }
            at += usize::from(bytes[at + 1]);
        }
        assert_eq!((small, large, at), (255, 45, bytes.len()));
    }
}
