//! Page walks: linear to physical by the guest's own tables (SDM vol. 3, 4.3–4.7).

use base::GuestPhys;
use x86::control::{cr0, cr4, efer};
use x86::paging::{
    ACCESSED, ADDRESS, DIRTY, GLOBAL, LARGE, NO_EXECUTE, PRESENT, RESERVED_ADDRESS, USER, WRITABLE,
};
use x86::{Exception, page_fault};

use crate::cpu::Cpu;
use crate::mode::{Paging, View};
use crate::raised::Raised;
use crate::tlb::Rights;

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    Fetch,
}

/// A page as one view sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// Guest-physical address of the 4 KiB page.
    pub phys: GuestPhys,
    /// What may be done without asking again.
    pub rights: Rights,
}

/// The entries met on the way down, joined.
struct Leaf {
    phys: u64,
    writable: bool,
    user: bool,
    executable: bool,
    global: bool,
    dirty: bool,
    /// Address bits within the page.
    shift: u8,
}

impl Leaf {
    /// Before the first entry.
    const TOP: Self = Self {
        phys: 0,
        writable: true,
        user: true,
        executable: true,
        global: false,
        dirty: false,
        shift: 12,
    };
}

impl Cpu {
    /// Translates a linear address for one access with the rights of `view`; sets accessed and dirty bits.
    /// The address is canonical or cut to 32 bits.
    ///
    /// # Errors
    /// #PF, recorded.
    pub fn walk(&mut self, linear: u64, access: Access, view: View) -> Result<Page, Raised> {
        self.statistics.page_walks += 1;
        let all = Rights { read: true, write: true, fetch: true, global: true, shift: 12 };
        let leaf = match self.mode.paging {
            Paging::Off => return Ok(Page { phys: GuestPhys(linear & !0xfff), rights: all }),
            Paging::Long => self.descend(linear, access, view, GuestPhys(self.state.cr3 & ADDRESS), 4)?,
            Paging::Pae => {
                let pdpte = self.state.pdpte[(linear >> 30 & 3) as usize];
                if pdpte & PRESENT == 0 {
                    return Err(self.fault(linear, access, view, 0));
                }
                self.descend(linear, access, view, GuestPhys(pdpte & ADDRESS), 2)?
            }
            Paging::Legacy => self.descend_legacy(linear, access, view)?,
        };
        if !self.granted(&leaf, access, view) {
            return Err(self.fault(linear, access, view, page_fault::PRESENT));
        }
        let rights = Rights {
            read: self.granted(&leaf, Access::Read, view),
            write: leaf.dirty && self.granted(&leaf, Access::Write, view),
            fetch: self.granted(&leaf, Access::Fetch, view),
            global: leaf.global && self.state.cr4 & cr4::PGE != 0,
            shift: leaf.shift,
        };
        Ok(Page { phys: GuestPhys(leaf.phys), rights })
    }

    /// What a walk would find, if it would change nothing: every entry on the way is present and accessed.
    /// For an engine on top that fills its maps ahead; long mode only. `None` where a real walk must decide.
    pub fn inspect(&self, linear: u64, view: View) -> Option<Page> {
        if self.mode.paging != Paging::Long {
            return None;
        }
        let mut leaf = Leaf::TOP;
        let mut table = GuestPhys(self.state.cr3 & ADDRESS);
        for level in (1..=4u8).rev() {
            let shift = 12 + 9 * (level - 1);
            let entry = self.load_entry::<u64>(table.plus((linear >> shift & 0x1ff) * 8));
            let plain = PRESENT | ACCESSED;
            if entry & plain != plain || entry & RESERVED_ADDRESS != 0 {
                return None;
            }
            leaf.writable &= entry & WRITABLE != 0;
            leaf.user &= entry & USER != 0;
            leaf.executable &= entry & NO_EXECUTE == 0;
            if level == 1 || level < 4 && entry & LARGE != 0 {
                let within = (1u64 << shift) - 1;
                if level > 1 && entry & within & !0x1fff & ADDRESS != 0 {
                    return None;
                }
                leaf.global = entry & GLOBAL != 0;
                leaf.dirty = entry & DIRTY != 0;
                leaf.shift = shift;
                leaf.phys = entry & ADDRESS & !within | linear & within & !0xfff;
                let rights = Rights {
                    read: self.granted(&leaf, Access::Read, view),
                    write: leaf.dirty && self.granted(&leaf, Access::Write, view),
                    fetch: self.granted(&leaf, Access::Fetch, view),
                    global: leaf.global && self.state.cr4 & cr4::PGE != 0,
                    shift,
                };
                return Some(Page { phys: GuestPhys(leaf.phys), rights });
            }
            table = GuestPhys(entry & ADDRESS);
        }
        None
    }

    /// Records #PF.
    fn fault(&mut self, linear: u64, access: Access, view: View, code: u32) -> Raised {
        let mut code = code;
        if access == Access::Write {
            code |= page_fault::WRITE;
        }
        if matches!(view, View::User | View::UserAligned) {
            code |= page_fault::USER;
        }
        let reports_fetch = self.state.cr4 & cr4::SMEP != 0
            || self.state.msrs.efer & efer::NXE != 0 && self.state.cr4 & cr4::PAE != 0;
        if access == Access::Fetch && reports_fetch {
            code |= page_fault::FETCH;
        }
        self.raise(Exception::page_fault(linear, code))
    }

    /// Do the joined permissions grant this access? A faulting access sets no dirty bit, so this is
    /// asked before.
    fn granted(&self, leaf: &Leaf, access: Access, view: View) -> bool {
        let user_access = matches!(view, View::User | View::UserAligned);
        let smap = self.state.cr4 & cr4::SMAP != 0 && view == View::Supervisor;
        let smep = self.state.cr4 & cr4::SMEP != 0;
        let reach = if user_access { leaf.user } else { !(smap && leaf.user) };
        match access {
            Access::Read => reach,
            Access::Write => reach && (leaf.writable || !user_access && self.state.cr0 & cr0::WP == 0),
            Access::Fetch => leaf.executable && if user_access { leaf.user } else { !(smep && leaf.user) },
        }
    }

    /// Four-level and PAE tables: `levels` of 512 entries of 8 bytes, 9 address bits each.
    fn descend(
        &mut self,
        linear: u64,
        access: Access,
        view: View,
        root: GuestPhys,
        levels: u32,
    ) -> Result<Leaf, Raised> {
        let nxe = self.state.msrs.efer & efer::NXE != 0;
        let mut leaf = Leaf::TOP;
        let mut table = root;
        let mut level = levels;
        loop {
            let shift = 12 + 9 * (level - 1);
            let at = table.plus((linear >> shift & 0x1ff) * 8);
            let entry = self.load_entry::<u64>(at);
            if entry & PRESENT == 0 {
                return Err(self.fault(linear, access, view, 0));
            }
            let large = level > 1 && entry & LARGE != 0;
            let mut reserved = RESERVED_ADDRESS;
            if !nxe {
                reserved |= NO_EXECUTE;
            }
            if level == 4 {
                reserved |= LARGE;
            }
            if levels == 2 {
                reserved |= 0x7ff0_0000_0000_0000; // PAE: bits 62–52 are reserved (SDM table 4-9)
            }
            if large {
                // Bits between the PAT bit (12) and the page's size are reserved.
                reserved |= ((1u64 << shift) - 1) & !0x1fff;
            }
            if entry & reserved != 0 {
                let code = page_fault::PRESENT | page_fault::RESERVED;
                return Err(self.fault(linear, access, view, code));
            }
            leaf.writable &= entry & WRITABLE != 0;
            leaf.user &= entry & USER != 0;
            leaf.executable &= entry & NO_EXECUTE == 0;
            if level == 1 || large {
                leaf.global = entry & GLOBAL != 0;
                leaf.shift = shift as u8;
                let within = linear & ((1u64 << shift) - 1) & !0xfff;
                leaf.phys = entry & ADDRESS & !((1u64 << shift) - 1) | within;
                if self.granted(&leaf, access, view) {
                    let wanted = ACCESSED | if access == Access::Write { DIRTY } else { 0 };
                    if !self.set_bits::<u64>(at, entry, wanted) {
                        continue; // another CPU changed it: look again
                    }
                    leaf.dirty = (entry | wanted) & DIRTY != 0;
                }
                return Ok(leaf);
            }
            if !self.set_bits::<u64>(at, entry, ACCESSED) {
                continue;
            }
            table = GuestPhys(entry & ADDRESS);
            level -= 1;
        }
    }

    /// Two levels of 1024 entries of 4 bytes, with 4 MiB pages under CR4.PSE.
    fn descend_legacy(&mut self, linear: u64, access: Access, view: View) -> Result<Leaf, Raised> {
        let mut leaf = Leaf::TOP;
        let mut table = GuestPhys(self.state.cr3 & 0xffff_f000);
        let mut level = 2;
        loop {
            let shift = 12 + 10 * (level - 1);
            let at = table.plus((linear >> shift & 0x3ff) * 4);
            let entry = u64::from(self.load_entry::<u32>(at));
            if entry & PRESENT == 0 {
                return Err(self.fault(linear, access, view, 0));
            }
            let large = level == 2 && entry & LARGE != 0 && self.state.cr4 & cr4::PSE != 0;
            // PSE-36: bits 13–16 give physical bits 32–35, 17–20 bits 36–39; 21 is reserved.
            if large && entry & 1 << 21 != 0 {
                let code = page_fault::PRESENT | page_fault::RESERVED;
                return Err(self.fault(linear, access, view, code));
            }
            leaf.writable &= entry & WRITABLE != 0;
            leaf.user &= entry & USER != 0;
            if level == 1 || large {
                leaf.global = entry & GLOBAL != 0;
                leaf.shift = shift as u8;
                leaf.phys = if large {
                    entry & 0xffc0_0000 | (entry >> 13 & 0xff) << 32 | linear & 0x3f_f000
                } else {
                    entry & 0xffff_f000
                };
                if self.granted(&leaf, access, view) {
                    let wanted = ACCESSED | if access == Access::Write { DIRTY } else { 0 };
                    if !self.set_bits::<u32>(at, entry, wanted) {
                        continue;
                    }
                    leaf.dirty = (entry | wanted) & DIRTY != 0;
                }
                return Ok(leaf);
            }
            if !self.set_bits::<u32>(at, entry, ACCESSED) {
                continue;
            }
            table = GuestPhys(entry & 0xffff_f000);
            level -= 1;
        }
    }

    /// A table outside RAM reads as not present: nothing on our boards keeps tables in a device.
    fn load_entry<T: base::Scalar>(&self, at: GuestPhys) -> T {
        self.memory.ram(at).map_or(T::from_u64(0), |at| self.memory.load(at))
    }

    /// Sets bits in an entry that was just read; false if it has changed since.
    fn set_bits<T: base::Scalar>(&mut self, at: GuestPhys, entry: u64, bits: u64) -> bool {
        if entry & bits == bits {
            return true;
        }
        let Some(at) = self.memory.ram(at) else { return true };
        let (found, code) = self.memory.compare_exchange(at, T::from_u64(entry), T::from_u64(entry | bits));
        self.leave |= code;
        found.to_u64() == entry
    }
}
