//! Accesses that found no way through the map: what the guest's instruction wanted, and what to do about it.

use std::io;

use base::PAGE_SIZE;
use engine::Exit;
use iced_x86::{Decoder, Instruction, Mnemonic, OpAccess, OpKind, Register};
use interpret::{Mapped, Prepared, Probed};

use super::{LONGEST_INSTRUCTION, POLL_BYTES, Resume, Translated, spend};
use crate::context::View;
use crate::emit::block::is_fpu;
use crate::emit::site::Site;

/// Pages on each side of a missed one that are filled with it.
const AHEAD: u64 = 16;

/// What a fault came from.
enum Repair {
    /// The map was filled: the instruction can start again.
    Filled,
    /// The guest gets a page fault for this address, and nothing else comes before it.
    PageFault(u64),
    /// The same, but the reference CPU shall find out what comes first.
    Unclear(u64),
    /// The reference CPU shall find out.
    Other,
    /// The site would be better served otherwise.
    Site(Site),
}

/// Instructions kept decoded: where one faults others will.
pub(super) const DECODED: usize = 512;

/// The only memory operand of an instruction that accesses nothing else and raises nothing before: most that fault are such.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sole {
    operand: u32,
    write: bool,
}

impl Sole {
    /// The operand of an instruction, if it is such a one.
    fn of(instruction: &Instruction) -> Option<Self> {
        let only_read = matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test);
        let plain = matches!(
            instruction.mnemonic(),
            Mnemonic::Mov
                | Mnemonic::Movzx
                | Mnemonic::Movsx
                | Mnemonic::Movsxd
                | Mnemonic::Add
                | Mnemonic::Sub
                | Mnemonic::And
                | Mnemonic::Or
                | Mnemonic::Xor
                | Mnemonic::Inc
                | Mnemonic::Dec
        );
        let system = |n| instruction.op_kind(n) == OpKind::Register && !instruction.op_register(n).is_gpr();
        let operands = 0..instruction.op_count();
        if !(plain || only_read) || operands.clone().any(system) {
            return None;
        }
        let operand = operands.into_iter().find(|&n| instruction.op_kind(n) == OpKind::Memory)?;
        Some(Self { operand, write: operand == 0 && !only_read })
    }
}

/// A decoded instruction, and what it was decoded from.
#[derive(Clone, Default)]
pub(super) struct Decoded {
    rip: u64,
    bytes: [u8; LONGEST_INSTRUCTION],
    /// All of the bytes could be fetched.
    whole: bool,
    pub instruction: Instruction,
    /// For the reference CPU, if it does not repeat itself.
    pub prepared: Option<Prepared>,
    /// It uses x87, MMX or SSE state.
    pub fpu: bool,
    /// See there.
    sole: Option<Sole>,
}

impl Translated {
    /// A host fault in translated code, or what a checked access found instead of one.
    pub(super) fn fault(
        &mut self,
        page: u64,
        at: u64,
        checked: bool,
        left: &mut u64,
    ) -> io::Result<Result<Resume, Exit>> {
        let host = self.store.cache.offset(at);
        let found = host.and_then(|host| self.store.at_host(host).map(|number| (host, number)));
        let Some((host, number)) = found else {
            return Err(io::Error::other(format!(
                "translated code faulted at {at:#x}, outside of any block"
            )));
        };
        let block = self.store.block(number);
        let (near, ram_page) = (block.near(), block.page());
        let (offset, start) = self.store.site(number, host);
        self.tier.set_rip(page.wrapping_add(u64::from(offset)));
        if host >= near && host < near + POLL_BYTES {
            self.counts.polls += 1;
            return Ok(Ok(Resume::Dispatch));
        }
        let repair = self.repair(ram_page, offset)?;
        if matches!(repair, Repair::Filled | Repair::PageFault(_) | Repair::Unclear(_)) {
            self.note_haste(number, offset);
        }
        match repair {
            // Whatever faults again right after a fill needs something else: nothing may loop here.
            Repair::Filled if self.last_fill != start => {
                self.last_fill = start;
                return Ok(Ok(Resume::At(self.store.cache.address(start))));
            }
            Repair::Filled => {}
            Repair::PageFault(linear) => {
                self.counts.odd_faults += 1;
                self.faulted = Some((self.tier.rip(), linear));
                self.last_fill = u32::MAX;
                *left = spend(*left, 1);
                let delivered = self.tier.deliver_fault();
                return Ok(delivered.map(|()| Resume::Dispatch).inspect_err(|_| self.store_x87()));
            }
            Repair::Unclear(linear) => {
                self.counts.odd_faults += 1;
                self.faulted = Some((self.tier.rip(), linear));
            }
            Repair::Other => self.counts.odd_faults += 1,
            Repair::Site(site) => {
                self.counts.site_faults += 1;
                // A checked site has learnt what there is to learn.
                if !checked && self.sites.note(ram_page, offset, site) {
                    self.store.invalidate(number);
                }
            }
        }
        self.last_fill = u32::MAX;
        if let Some(exit) = self.interpret(left) {
            return Ok(Err(exit));
        }
        Ok(Ok(Resume::Dispatch))
    }

    /// A site has faulted: has it done so often, or others no more?
    fn note_haste(&mut self, number: usize, offset: u16) {
        let now = crate::counter::ticks();
        if self.sites.hasty.note((self.store.block(number).page(), offset), now) {
            self.store.invalidate(number);
        }
        for (page, offset) in self.sites.hasty.sober(now) {
            self.store.invalidate_at(page, offset);
        }
    }

    /// The guest has returned to an instruction. If that got a page fault, the access will come again and find its page:
    /// enters it into the map beforehand.
    pub(super) fn anticipate(&mut self) -> io::Result<()> {
        let Some((rip, linear)) = self.faulted else { return Ok(()) };
        if rip != self.tier.rip() {
            return Ok(());
        }
        let facts = self.tier.facts();
        // A mirror, should it be entered, needs the page as well.
        if !(facts.user && self.mirrors.is_active(self.tier.root())) {
            self.faulted = None;
        }
        let view = View::of(&facts);
        self.contexts.enter(view, &self.frame)?;
        if let Some(mapped) = self.tier.peek(linear) {
            let granted = mapped.write && self.grant(&mapped, false);
            self.contexts.fill(linear, &mapped, granted)?;
            self.counts.anticipated += 1;
            self.fill_around(linear)?;
        }
        Ok(())
    }

    /// Finds out what the instruction at RIP wanted of memory, and fills the map if that is all it needs.
    fn repair(&mut self, ram_page: usize, offset: u16) -> io::Result<Repair> {
        let Some(decoded) = self.instruction_here() else { return Ok(Repair::Other) };
        let accesses = self.accesses(&decoded);
        let mut filled = false;
        for (linear, size, write) in accesses {
            let site = self.sites.get(ram_page, offset).for_size(size as usize);
            if linear % PAGE_SIZE + size > PAGE_SIZE {
                let better = if site == Site::Aligned { Site::Unaligned } else { Site::Crossing };
                return Ok(Repair::Site(better));
            }
            let (read_entry, write_entry) = self.contexts.map().entry(linear);
            if (if write { write_entry } else { read_entry }).is_none() {
                let mapped = match self.tier.probe(linear, write) {
                    Probed::Page(mapped) => mapped,
                    Probed::Fault if decoded.sole.is_some() => return Ok(Repair::PageFault(linear)),
                    Probed::Fault | Probed::Other => return Ok(Repair::Unclear(linear)),
                    Probed::Device => {
                        self.contexts.open(linear)?;
                        return Ok(Repair::Site(Site::Checked));
                    }
                };
                let granted = mapped.write && self.grant(&mapped, write);
                self.contexts.fill(linear, &mapped, granted)?;
                self.counts.fills += 1;
                self.fill_around(linear)?;
                if write && !granted {
                    return Ok(Repair::Site(Site::Checked));
                }
                filled = true;
            }
            let aligned = size <= 1 || linear.is_multiple_of(size.next_power_of_two());
            if aligned && size == 16 && site == Site::Aligned {
                let widened = self.contexts.map().widen(linear)?;
                if !widened && !filled {
                    // Only to be read: the table for 16 bytes has no such pages.
                    return Ok(Repair::Site(Site::Unaligned));
                }
                filled = true;
            }
            if !aligned && (site == Site::Aligned || !filled) {
                return Ok(Repair::Site(Site::Unaligned));
            }
        }
        Ok(if filled { Repair::Filled } else { Repair::Other })
    }

    /// The accesses of the instruction at RIP: address, bytes, and whether it writes.
    pub(super) fn accesses(&mut self, decoded: &Decoded) -> Vec<(u64, u64, bool)> {
        let registers: [u64; 16] = self.tier.registers().try_into().unwrap_or([0; 16]);
        let facts = self.tier.facts();
        let value = |register: Register, _: usize, _: usize| {
            Some(match register {
                Register::FS => facts.fs_base,
                Register::GS => facts.gs_base,
                register if register.is_segment_register() => 0,
                register if register.is_gpr() => {
                    let whole = registers[register.full_register().number()];
                    if register.size() == 4 { whole & 0xffff_ffff } else { whole }
                }
                _ => return None,
            })
        };
        let instruction = &decoded.instruction;
        if let Some(Sole { operand, write }) = decoded.sole {
            let size = instruction.memory_size().size() as u64;
            let address = instruction.virtual_address(operand, 0, value);
            return address.map(|address| vec![(address, size, write)]).unwrap_or_default();
        }
        self.info
            .info(instruction)
            .used_memory()
            .iter()
            .filter(|used| used.access() != OpAccess::NoMemAccess)
            .filter_map(|used| {
                let write = !matches!(used.access(), OpAccess::Read | OpAccess::CondRead);
                Some((used.virtual_address(0, value)?, used.memory_size().size() as u64, write))
            })
            .collect()
    }

    /// May a page be entered for writes? `now` if one is about to happen.
    fn grant(&self, mapped: &Mapped, now: bool) -> bool {
        self.memory.watch().grant(&self.enlisted, mapped.page.page(), now)
    }

    /// Fills the map around a page that was just missed: a signal costs as much as hundreds of entries.
    fn fill_around(&mut self, linear: u64) -> io::Result<()> {
        let page = linear & !(PAGE_SIZE - 1);
        for step in [PAGE_SIZE, PAGE_SIZE.wrapping_neg()] {
            let mut near = page;
            for _ in 1..AHEAD {
                near = near.wrapping_add(step);
                // The same page table only: beyond its end the neighbours are no neighbours.
                if near >> 21 != linear >> 21 {
                    break;
                }
                // What lies behind a page that is there was looked at with that.
                if self.contexts.map().entry(near).0.is_some() {
                    break;
                }
                // Where nothing is mapped, what lies behind is seldom needed at once.
                let Some(mapped) = self.tier.peek(near) else { break };
                let granted = mapped.write && self.grant(&mapped, false);
                self.contexts.fill(near, &mapped, granted)?;
            }
        }
        Ok(())
    }

    /// The instruction at RIP.
    pub(super) fn instruction_here(&mut self) -> Option<Decoded> {
        let rip = self.tier.rip();
        let at = self.tier.code_at(rip)?;
        let mut bytes = [0; LONGEST_INSTRUCTION];
        let here = ((PAGE_SIZE - at.0 % PAGE_SIZE) as usize).min(bytes.len());
        self.memory.read_at(at, &mut bytes[..here]);
        let mut whole = here == bytes.len();
        if !whole && let Some(second) = self.tier.code_at(rip.wrapping_add(here as u64)) {
            self.memory.read_at(second, &mut bytes[here..]);
            whole = true;
        }
        let known = &self.decoded[(rip as usize ^ at.page()) % DECODED];
        if known.rip == rip && known.bytes == bytes && known.whole == whole {
            return Some(known.clone());
        }
        let mut decoder = Decoder::with_ip(64, &bytes, rip, self.tier.decoder_options());
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return None;
        }
        let fpu = is_fpu(&instruction);
        // What the bytes of a page that cannot be fetched are missing for is for the reference CPU to find out.
        let prepared = self.tier.prepare(&bytes).filter(|_| whole);
        let sole = Sole::of(&instruction);
        let decoded = Decoded { rip, bytes, whole, instruction, prepared, fpu, sole };
        self.decoded[(rip as usize ^ at.page()) % DECODED] = decoded.clone();
        Some(decoded)
    }
}
