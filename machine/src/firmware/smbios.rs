//! SMBIOS 3.0 tables: enough for a guest to say what it runs on (DMTF DSP0134, version 3.0).

use base::GuestPhys;

use super::Table;

/// Where the entry point is; kernels search F0000h to FFFFFh.
const ENTRY: u64 = 0xf_0000;
const STRUCTURES: u64 = ENTRY + 32;

/// The entry point and the structures after it.
pub fn table(vcpus: u32, memory: u64) -> Table {
    let mut structures = Structures(Vec::new());
    let vendor = "Ringfence";
    let version = env!("CARGO_PKG_VERSION");
    // Type 0, BIOS: characteristics “not supported”, and in the second extension byte “virtual machine”.
    let mut bios = vec![1, 2];
    bios.extend(0xe000u16.to_le_bytes()); // where it would start
    bios.extend([3, 0]); // release date, 64 KiB
    bios.extend((1u64 << 3).to_le_bytes());
    bios.extend([0, 0x10, 0, 0, 0xff, 0xff]);
    structures.push(0, &bios, &[vendor, version, "01/01/2026"]);
    // Type 1, system: UUID not set, wake-up by the power switch.
    let mut system = vec![1, 2, 3, 0];
    system.extend([0; 16]);
    system.extend([6, 0, 0]);
    structures.push(1, &system, &[vendor, "Virtual machine", version]);
    // Type 3, chassis: other.
    structures.push(3, &[1, 1, 0, 0, 0, 3, 3, 3, 2, 0, 0, 0, 0, 0, 1, 0, 0], &[vendor]);
    // Type 4, processor.
    structures.push(4, &processor(vcpus), &["CPU 0", vendor]);
    // Type 16, memory array: system board, system memory, no error correction.
    let mut array = vec![1, 3, 3];
    array.extend(0x8000_0000u32.to_le_bytes());
    array.extend([0xfe, 0xff, 1, 0]);
    array.extend(memory.to_le_bytes());
    let array = structures.push(16, &array, &[]);
    structures.push(17, &module(array, memory), &["DIMM 0", vendor]);
    // Type 32, boot status: no errors; type 127, end.
    structures.push(32, &[0, 0, 0, 0, 0, 0, 0], &[]);
    structures.push(127, &[], &[]);

    let mut bytes = entry_point(structures.0.len() as u32);
    bytes.resize((STRUCTURES - ENTRY) as usize, 0);
    bytes.append(&mut structures.0);
    Table { at: GuestPhys(ENTRY), bytes }
}

fn processor(vcpus: u32) -> Vec<u8> {
    let few = vcpus.min(255) as u8;
    let mut bytes = vec![1, 3, 1, 2]; // central processor; family “other”: see the last word
    bytes.extend([0; 8]); // ID: CPUID knows better
    bytes.extend([0, 0]); // version, voltage
    bytes.extend([0, 0, 0, 0, 0, 0]); // clocks unknown
    bytes.extend([0x41, 1]); // populated and enabled, upgrade “other”
    bytes.extend([0xff; 6]); // no cache structures
    bytes.extend([0, 0, 0, few, few, few]);
    bytes.extend(0x4u16.to_le_bytes()); // 64-bit capable
    bytes.extend(2u16.to_le_bytes()); // family “unknown”
    bytes.extend([vcpus as u16; 3].map(u16::to_le_bytes).concat());
    bytes
}

/// Type 17, the one memory module.
fn module(array: u16, memory: u64) -> Vec<u8> {
    let mib = memory >> 20;
    let (size, extended) = if mib < 0x7fff { (mib as u16, 0) } else { (0x7fff, mib as u32) };
    let mut bytes = array.to_le_bytes().to_vec();
    bytes.extend(0xfffeu16.to_le_bytes()); // no error information
    bytes.extend([0xff; 4]); // widths unknown
    bytes.extend(size.to_le_bytes());
    bytes.extend([9, 0, 1, 0, 7]); // DIMM, no set, its locator, no bank, RAM
    bytes.extend([0, 0, 0, 0]); // no detail, speed unknown
    bytes.extend([2, 0, 0, 0, 0]); // manufacturer, no more strings
    bytes.extend(extended.to_le_bytes());
    bytes.extend([0; 8]); // configured speed and voltages unknown
    bytes
}

/// The 64-bit entry point, 24 bytes.
fn entry_point(len: u32) -> Vec<u8> {
    let mut bytes = b"_SM3_\0\x18\x03\x00\x00\x01\0".to_vec();
    bytes.extend(len.to_le_bytes());
    bytes.extend(STRUCTURES.to_le_bytes());
    bytes[5] = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    bytes
}

struct Structures(Vec<u8>);

impl Structures {
    /// Appends a structure with its strings; gives its handle.
    fn push(&mut self, kind: u8, body: &[u8], strings: &[&str]) -> u16 {
        let handle = 0x100 + u16::from(kind);
        self.0.extend([kind, body.len() as u8 + 4]);
        self.0.extend(handle.to_le_bytes());
        self.0.extend(body);
        for string in strings {
            self.0.extend(string.bytes());
            self.0.push(0);
        }
        if strings.is_empty() {
            self.0.push(0);
        }
        self.0.push(0);
        handle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_can_be_walked_to_their_end() {
        let table = table(4, 64 << 30).bytes;
        assert_eq!(&table[..5], b"_SM3_");
        assert_eq!(table[..24].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        let mut at = 32;
        let mut lengths = Vec::new();
        loop {
            let (kind, len) = (table[at], usize::from(table[at + 1]));
            lengths.push((kind, len));
            at += len;
            while table[at..at + 2] != [0, 0] {
                at += 1;
            }
            at += 2;
            if kind == 127 {
                break;
            }
        }
        assert_eq!(at, table.len());
        // The lengths that the specification gives each version of a structure.
        assert_eq!(lengths, [(0, 24), (1, 27), (3, 21), (4, 48), (16, 23), (17, 40), (32, 11), (127, 4)]);
    }
}
