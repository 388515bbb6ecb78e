//! The translator's vCPU: decides what runs next, and answers why translated code came back.
//!
//! ```text
//!        ┌──────────► plain 64-bit code, no attention? ──no──► reference CPU: one instruction ──┐
//!        │                        │ yes                                                         │
//!        │              block at RIP, translated if need be                                     │
//!        │                        │                                                             │
//!        │                     enter ──► … translated code … ──► leave                          │
//!        │                        │                                                             │
//!        └── Link: connect ── Indirect: note the jump ── Fault: fill the map, or reference CPU ─┘
//! ```

mod doors;
mod fault;
mod mirrored;

use std::io;
use std::sync::Arc;

use base::{Enlisted, GuestMemory, PAGE_SIZE, RamOffset, Runner};
use engine::{Attention, Board, Budget, CpuModel, EngineError, Exit, Statistics, Vcpu};
use iced_x86::{Code, Instruction, InstructionInfoFactory};
use interpret::{Facts, Flush, Prepared, Tier};
use x86::CpuState;
use x86::flags::{AC, DF, IF, RESERVED_ONE, RF, STATUS, VM};
use x86::paging::{self as pte, is_canonical};

use self::fault::{DECODED, Decoded};
use self::mirrored::{Left, Mirrors};
use crate::context::{Contexts, View, Views, contexts_each};
use crate::counter::{Counter, ticks};
use crate::counts::Counts;
use crate::emit::block::{Goal, Key, LONGEST_INSTRUCTION, POLL_BYTES, Surroundings};
use crate::emit::branch;
use crate::emit::ring;
use crate::emit::site::{Site, Sites};
use crate::frame::{ExitKind, FramePage, Line};
use crate::map::{NOWHERE, PAGE_BITS, WIDE_TABLE_AT, WRITE_TABLE_AT};
use crate::signal;
use crate::spaces::{Linked, Spaces};
use crate::station::{Pages, Station};
use crate::store::{Source, Store};
use crate::{Ways, enter};

/// Instructions that the reference CPU executes at a stretch where nothing is translated.
const STRETCH: u64 = 4096;

/// A vCPU of the translator.
pub(crate) struct Translated {
    tier: Box<Tier>,
    memory: Arc<GuestMemory>,
    attention: Arc<Attention>,
    frame: FramePage,
    contexts: Contexts,
    store: Store,
    sites: Sites,
    info: InstructionInfoFactory,
    fast_extract: bool,
    host_avx: u32,
    counter: Option<Counter>,
    modes: Modes,
    pcid: u64,
    /// The host's x87 holds the guest's.
    x87_here: bool,
    /// Where other threads leave what they want, and how the watch knows us.
    station: Arc<Station>,
    enlisted: Enlisted,
    /// The host offset of the instruction that started again after the last fill of the map.
    last_fill: u32,
    decoded: Vec<Decoded>,
    /// The last instruction that got a page fault, and the address that it was for.
    faulted: Option<(u64, u64)>,
    counts: Counts,
    mirrors: Mirrors,
    spaces: Spaces,
    /// Supervisor code has run since user code of the active mirror's last did.
    asked: bool,
}

// SAFETY: the frame and the maps belong to the vCPU, not to a thread; `guard` ties a thread to them only
// while `run` lasts.
#[allow(unsafe_code)]
unsafe impl Send for Translated {}

/// Where to go on in translated code.
enum Resume {
    /// Look the block at RIP up.
    Dispatch,
    /// The same, and note the jump in the cache of the context.
    DispatchJump,
    /// The same, and lead this link there.
    DispatchLink(u32),
    /// At this host address.
    At(u64),
}

struct Around<'a> {
    tier: &'a Tier,
    sites: &'a Sites,
    page: usize,
    fast_extract: bool,
    arena: (u64, u64),
}

impl Surroundings for Around<'_> {
    fn decoder_options(&self) -> u32 {
        self.tier.decoder_options()
    }

    fn offers(&self, instruction: &Instruction) -> bool {
        self.tier.offers(instruction)
    }

    fn is_computation(&self, instruction: &Instruction) -> bool {
        self.tier.is_computation(instruction)
    }

    fn prepare(&self, bytes: &[u8]) -> Option<Prepared> {
        self.tier.prepare(bytes)
    }

    fn site(&self, offset: u16) -> Site {
        self.sites.get(self.page, offset)
    }

    fn fast_extract(&self) -> bool {
        self.fast_extract
    }

    fn arena(&self) -> (u64, u64) {
        self.arena
    }
}

impl Translated {
    pub fn new(
        index: u32,
        model: CpuModel,
        memory: &Arc<GuestMemory>,
        attention: &Arc<Attention>,
        board: &Arc<dyn Board>,
        ways: Ways,
    ) -> io::Result<Self> {
        let guard = memory.guard().ok_or_else(|| {
            io::Error::other(
                "no address space to guard guest memory with (see ulimit -v); use --engine interpret",
            )
        })?;
        let mut frame = FramePage::new()?;
        let calm = frame.address() as u64 + std::mem::offset_of!(crate::frame::Frame, calm) as u64;
        let fields = frame.frame();
        fields.poll = calm;
        fields.calm = Line(calm);
        fields.minus_guard = guard.wrapping_neg();
        fields.table_bytes = [WRITE_TABLE_AT as u64, WIDE_TABLE_AT as u64];
        let pages = ((1 << PAGE_BITS) - 1) << 12;
        fields.page_and_low = [0, 1, 3, 7, 15].map(|low| pages | low);
        fields.in_page = PAGE_SIZE - 1;
        fields.carry = PAGE_SIZE;
        fields.beyond = (base::PERIOD - 1) & !(2 * PAGE_SIZE - 1);
        fields.leave = enter::leave as *const () as u64;
        fields.no_return = enter::no_return as *const () as u64;
        ring::forget(fields);
        let tier = Tier::new(index, model, Arc::clone(memory), Arc::clone(attention), Arc::clone(board));
        let pages = (memory.size() / PAGE_SIZE) as usize;
        let most = contexts_each(model.vcpus).ok_or_else(|| io::Error::other("too many vCPUs"))?;
        if model.vcpus > 1 {
            memory.watch().share();
        }
        let station = Arc::new(Station::new(frame.address()));
        let enlisted = memory.watch().enlist(Arc::clone(&station) as Arc<dyn Runner>);
        let kicked = Arc::clone(&station);
        attention.set_kick(Some(Box::new(move || kicked.alarm())));
        Ok(Self {
            tier: Box::new(tier),
            memory: Arc::clone(memory),
            attention: Arc::clone(attention),
            contexts: Contexts::new(model.vcpus, most, memory.host_base().as_ptr() as u64, guard, pages),
            frame,
            store: Store::new()?,
            sites: Sites::default(),
            info: InstructionInfoFactory::new(),
            fast_extract: ways.fast_extract,
            host_avx: u32::from(std::arch::is_x86_feature_detected!("avx")),
            modes: Modes::default(),
            pcid: 0,
            counter: Counter::supported(model.vcpus).then(|| Counter::new(|| board.tsc())),
            x87_here: false,
            station,
            enlisted,
            last_fill: u32::MAX,
            decoded: vec![Decoded::default(); DECODED],
            faulted: None,
            counts: Counts::default(),
            mirrors: Mirrors::new(ways.mirrors),
            spaces: Spaces::new(ways.spaces),
            asked: false,
        })
    }

    fn run_loop(&mut self, mut left: u64) -> io::Result<Exit> {
        let _guard = signal::guard(self.store.cache.range(), self.frame.address())?;
        let counted = left != u64::MAX;
        let mut resume = Resume::Dispatch;
        // Where instructions are counted the board is asked, and only for what the guest asks.
        if let Some(counter) = &mut self.counter
            && !counted
        {
            counter.restart(self.frame.frame(), || self.tier.tsc());
        }
        loop {
            self.carry_out_flushes();
            if self.carry_out_orders() {
                resume = Resume::Dispatch;
            }
            if left == 0 {
                self.store_x87();
                return Ok(Exit::Budget);
            }
            let facts = self.tier.facts();
            let wanted = self.attention.any() || self.tier.event_due();
            let mirrored = (!counted || self.mirrors.always)
                && facts.user
                && facts.plain_64
                && !facts.checks_alignment
                && facts.fpu;
            if wanted && mirrored {
                self.consider_mirror();
            }
            if wanted && facts.user && facts.plain_64 && !counted {
                self.consider_space(&facts);
            }
            if wanted || !facts.plain_64 || facts.checks_alignment {
                self.store_x87();
                let stretch = if facts.code_64 { 1 } else { STRETCH.min(left) };
                let before = self.tier.statistics().instructions;
                match self.tier.run(stretch) {
                    Exit::Budget => {}
                    exit => return Ok(exit),
                }
                // A guest that only faults completes no instruction and must come to an end, too.
                left = spend(left, (self.tier.statistics().instructions - before).max(1));
                resume = Resume::Dispatch;
                continue;
            }
            self.asked |= !facts.user;
            if mirrored && self.mirrors.is_active(self.tier.root()) && self.is_quiet() {
                match self.run_mirror(&facts) {
                    Left::Again => left = spend(left, STRETCH),
                    Left::Interpret => {
                        if let Some(decoded) = self.instruction_here() {
                            self.counts.mirrored(decoded.instruction.code());
                        }
                        if let Some(exit) = self.interpret(&mut left) {
                            return Ok(exit);
                        }
                    }
                }
                resume = Resume::Dispatch;
                continue;
            }
            self.notice(&facts);
            let views = self.contexts.views(View::of(&facts), facts.smap, &self.frame)?;
            let entry = match resume {
                Resume::At(address) => address,
                Resume::Dispatch | Resume::DispatchJump | Resume::DispatchLink(_) => {
                    let flushes = self.store.flushes;
                    let Some(number) = self.block_here(&facts, counted) else {
                        if let Some(exit) = self.interpret(&mut left) {
                            return Ok(exit);
                        }
                        resume = Resume::Dispatch;
                        continue;
                    };
                    match resume {
                        Resume::DispatchJump if self.store.block(number).key().jumps() => {
                            self.note_jump(&facts, number);
                        }
                        Resume::DispatchLink(link) if self.store.flushes == flushes => {
                            self.store.connect_across(link, number);
                            self.note_linked(number);
                        }
                        _ => {}
                    }
                    let block = self.store.block(number);
                    let rip = self.tier.rip();
                    self.frame.frame().page = rip & !(PAGE_SIZE - 1);
                    self.store.cache.address(block.near() + POLL_BYTES)
                }
            };
            if !self.enter(entry, views, &facts, counted) {
                resume = Resume::Dispatch;
                continue;
            }
            let after = self.tier.facts();
            self.contexts.enter(View::of(&after), &self.frame)?;
            resume = match self.left(&mut left, counted)? {
                Ok(resume) => resume,
                Err(exit) => return Ok(exit),
            };
        }
    }

    /// Forgets what the guest has flushed.
    fn carry_out_flushes(&mut self) {
        let flushes = self.tier.take_flushes();
        if flushes.is_empty() {
            return;
        }
        ring::forget(self.frame.frame());
        for flush in flushes {
            match flush {
                Flush::All => self.store.unmap(None),
                Flush::Page(linear) => self.store.unmap(Some(linear)),
                Flush::NotGlobal | Flush::Pcid(_) => {}
            }
            self.contexts.flush(flush);
            self.mirrors.flush(flush);
            self.spaces.flush(flush);
        }
    }

    /// Forgets where jumps and returns lead: what is translated now is translated otherwise.
    fn forget_jumps(&mut self) {
        self.contexts.clear_jumps();
        ring::forget(self.frame.frame());
    }

    /// Forgets jumps and returns where they would lead to what was translated under other circumstances.
    fn notice(&mut self, facts: &Facts) {
        let modes =
            Modes { fpu: facts.fpu, avx: facts.avx, bases: facts.bases, no_counter: facts.no_counter };
        if std::mem::replace(&mut self.modes, modes) != modes {
            self.forget_jumps();
        }
        if std::mem::replace(&mut self.pcid, facts.pcid) != facts.pcid {
            ring::forget(self.frame.frame());
        }
        self.spaces.enter(self.tier.root(), facts.pcid, ticks);
        let tier = &self.tier;
        let settled =
            self.spaces.settle(ticks, |linear, user| tier.peek_code(linear, user).map(RamOffset::page));
        settled.gone.iter().for_each(|&page| self.store.unmap(Some(page)));
        if settled.ended {
            self.forget_jumps();
        }
        if self.spaces.always && self.spaces.now() == 0 {
            self.adopt_space();
        }
    }

    /// User code was found running: is it time that it gets a space?
    fn consider_space(&mut self, facts: &Facts) {
        let (root, now) = (self.tier.root(), ticks());
        self.spaces.enter(root, facts.pcid, || now);
        if self.spaces.consider(root, now) {
            self.adopt_space();
        }
    }

    /// Gives the present address space a space.
    fn adopt_space(&mut self) {
        self.counts.spaces += 1;
        if let Some(before) = self.spaces.adopt(ticks()) {
            self.store.drop_space(before);
        }
        self.forget_jumps();
    }

    /// A link leads to a block in another page.
    fn note_linked(&mut self, number: usize) {
        let (key, ram) = (self.store.block(number).key(), self.store.block(number).page());
        if let Some(page) = key.at.filter(|_| key.space != 0) {
            self.spaces.note(page, Linked { ram, user: key.user });
        }
    }

    /// Does what other threads have asked for. True if blocks may be gone.
    fn carry_out_orders(&mut self) -> bool {
        let Some(orders) = self.station.take() else { return false };
        self.mirrors.forbid(&orders.forbidden);
        self.mirrors.drop_stale(&self.memory, &orders.stale);
        match orders.forbidden {
            Pages::Some(pages) => pages.into_iter().for_each(|page| self.contexts.forbid_writes(page)),
            Pages::All => self.contexts.forget(),
        }
        self.store.drop_stale(&self.memory, &orders.stale);
        true
    }

    /// The number of the block at RIP, translated if need be; `None` if the fetch faults or the code is being written.
    fn block_here(&mut self, facts: &Facts, single: bool) -> Option<usize> {
        let rip = self.tier.rip();
        let at = self.tier.code_at(rip)?;
        let mut key = self.key(facts, single);
        if !single {
            let global = !facts.user && self.tier.is_code_global(rip);
            key.space = if global { 0 } else { self.spaces.now() };
            key.at = (global || key.space != 0).then_some(rip & !(PAGE_SIZE - 1));
        }
        let second = self.second_page(rip, at)?;
        self.block_at(&Source { at, second, key })
    }

    /// Where the instruction at RIP, which lies at `at`, goes on in another page, if it does; `None` if that cannot be fetched.
    fn second_page(&mut self, rip: u64, at: RamOffset) -> Option<Option<RamOffset>> {
        let left = PAGE_SIZE - rip % PAGE_SIZE;
        if left < LONGEST_INSTRUCTION as u64 && self.runs_on(at, left) {
            return Some(Some(self.tier.code_at(rip.wrapping_add(left))?));
        }
        Some(None)
    }

    /// Does the instruction at `at` need more than the `left` bytes of its page?
    fn runs_on(&self, at: RamOffset, left: u64) -> bool {
        let mut bytes = [0; LONGEST_INSTRUCTION];
        let bytes = &mut bytes[..left as usize];
        self.memory.read_at(at, bytes);
        branch::runs_on(bytes, self.tier.decoder_options())
    }

    fn block_at(&mut self, source: &Source) -> Option<usize> {
        if let Some(number) = self.store.find(source) {
            return Some(number);
        }
        if self.store.is_full() {
            self.store.clear();
            self.spaces.forget();
            self.forget_jumps();
        }
        let around = Around {
            tier: &self.tier,
            sites: &self.sites,
            page: source.at.page(),
            fast_extract: self.fast_extract,
            arena: (0, 0),
        };
        self.store.translate(&self.memory, &self.enlisted, source, &around)
    }

    /// Executes translated code until it leaves. False if it was not entered because somebody wants something.
    #[allow(unsafe_code)]
    fn enter(&mut self, entry: u64, views: Views, facts: &Facts, counted: bool) -> bool {
        if !self.x87_here {
            enter::load_x87(self.tier.fpu());
            self.x87_here = true;
        }
        let fpu = std::ptr::from_mut(self.tier.fpu()) as u64;
        let flags = self.tier.status() | RESERVED_ONE | 0x200;
        let (system, waits) = (self.tier.system_flags(), self.tier.interrupt_waits());
        let seen = self.tier.seen();
        let frame = self.frame.frame();
        frame.gpr.copy_from_slice(self.tier.registers());
        frame.flags = flags;
        frame.interrupts = system & IF;
        frame.system_flags = system & !(IF | AC | RF | VM) | RESERVED_ONE;
        frame.event_waits = u64::from(waits);
        frame.sti_poll = if waits { NOWHERE } else { frame.calm.0 };
        frame.fs_base = facts.fs_base;
        frame.gs_base = facts.gs_base;
        frame.fpu = fpu;
        frame.wide = u32::from(facts.avx) | self.host_avx << 1;
        frame.context =
            if facts.user { views.user } else { views.supervisor[usize::from(facts.reaches_user)] };
        frame.write_table = frame.context + WRITE_TABLE_AT as u64;
        frame.wide_table = frame.context + WIDE_TABLE_AT as u64;
        frame.views = views.supervisor;
        frame.user_view = views.user;
        // Where SYSCALL keeps arithmetic flags it is the interpreter's: no kernel asks for that. Where user code runs in a
        // mirror, SYSRET must come back to us.
        let returns = self.mirrors.is_active(seen.cr3 & pte::ADDRESS) && !facts.user;
        let plain = facts.fast_call_mask & STATUS == STATUS && !counted && !returns;
        frame.call_target = facts.fast_call.filter(|_| plain).unwrap_or(0);
        frame.call_keeps = !facts.fast_call_mask | RESERVED_ONE;
        frame.user = u64::from(facts.user);
        frame.switched = 0;
        frame.ac = system & AC;
        frame.kernel_gs_base = seen.kernel_gs_base;
        frame.selectors = seen.selectors.map(u64::from);
        frame.call_selectors = seen.call_selectors.map(|pair| pair.map(u64::from));
        (frame.cr2, frame.cr3, frame.tsc_aux) = (seen.cr2, seen.cr3, seen.tsc_aux);
        if let Some(counter) = &mut self.counter
            && !counted
            && counter.update(frame, seen.tsc_adjust, || self.tier.tsc())
        {
            // From now on RDTSC is translated otherwise.
            self.contexts.clear_jumps();
            ring::forget(frame);
        }
        frame.entry = entry;
        if !self.station.enter(|| self.attention.any()) {
            return false;
        }
        // SAFETY: `guard` is in force; the frame is filled in; `entry` is in a live block.
        unsafe { enter::enter(self.frame.address()) };
        self.station.leave();
        let frame = self.frame.frame();
        let (registers, flags, interrupts) = (frame.gpr, frame.flags, frame.interrupts);
        let system = frame.system_flags | interrupts | frame.ac;
        let (fs_base, gs_base, kernel_gs_base) = (frame.fs_base, frame.gs_base, frame.kernel_gs_base);
        let (user, switched) = (frame.user != 0, frame.switched != 0);
        self.tier.set_registers(&registers);
        self.tier.set_status(flags & STATUS);
        self.tier.set_system_flags(system);
        if switched {
            self.tier.after_fast_call(user);
        }
        self.tier.set_bases(fs_base, gs_base, kernel_gs_base);
        true
    }

    /// Answers why translated code came back.
    fn left(&mut self, left: &mut u64, counted: bool) -> io::Result<Result<Resume, Exit>> {
        let frame = self.frame.frame();
        let (page, kind, value) = (frame.page, frame.exit_kind, frame.exit_value);
        let (target, fault_at) = (frame.target, frame.fault_at);
        self.counts.exit(kind);
        if counted
            && ![
                ExitKind::Call as u64,
                ExitKind::Interpret as u64,
                ExitKind::InterpretFpu as u64,
                ExitKind::Fault as u64,
                ExitKind::Missed as u64,
            ]
            .contains(&kind)
        {
            *left = spend(*left, 1);
        }
        Ok(Ok(match kind {
            k if k == ExitKind::Call as u64 => return self.call(page, value as u32, left),
            k if k == ExitKind::Interpret as u64 || k == ExitKind::InterpretFpu as u64 => {
                self.tier.set_rip(page.wrapping_add(value & 0xffff));
                self.counts.interpreted(value >> 16);
                if k == ExitKind::InterpretFpu as u64 {
                    self.store_x87();
                }
                if let Some(exit) = self.interpret_general(left) {
                    return Ok(Err(exit));
                }
                Resume::Dispatch
            }
            k if k == ExitKind::Link as u64 => {
                let link = value as u32;
                match self.store.goal(link) {
                    (Goal::Within(offset), ram, key) => {
                        self.tier.set_rip(page.wrapping_add(u64::from(offset)));
                        let flushes = self.store.flushes;
                        if !counted {
                            let at = ram.plus(u64::from(offset));
                            let number = self.block_at(&Source { at, second: None, key });
                            if let Some(number) = number.filter(|_| self.store.flushes == flushes) {
                                self.store.connect(link, number);
                            }
                        }
                        Resume::Dispatch
                    }
                    (Goal::Across { target, .. }, ..) => {
                        self.tier.set_rip(target);
                        Resume::DispatchLink(link)
                    }
                }
            }
            k if k == ExitKind::Indirect as u64 => {
                if is_canonical(target) {
                    self.tier.set_rip(target);
                    Resume::DispatchJump
                } else {
                    self.rewind(page.wrapping_add(value));
                    if let Some(exit) = self.interpret(left) {
                        return Ok(Err(exit));
                    }
                    Resume::Dispatch
                }
            }
            k if k == ExitKind::Continue as u64 => {
                self.tier.set_rip(page.wrapping_add(value));
                Resume::DispatchJump
            }
            k => return self.fault(page, fault_at, k == ExitKind::Missed as u64, left),
        }))
    }

    /// Has the reference CPU execute an instruction of a block.
    fn call(&mut self, page: u64, number: u32, left: &mut u64) -> io::Result<Result<Resume, Exit>> {
        let (block, call) = self.store.call(number);
        self.counts.interpreted(u64::from(call.prepared.code()));
        self.tier.set_rip(page.wrapping_add(u64::from(call.offset)));
        if call.fpu {
            self.store_x87();
        }
        *left = spend(*left, 1);
        let follows = match self.tier.execute(&call.prepared) {
            Ok(follows) => follows,
            Err(exit) => {
                self.store_x87();
                return Ok(Err(exit));
            }
        };
        if call.prepared.code() == Code::Iretq as u16 && self.faulted.is_some() {
            self.carry_out_flushes();
            self.anticipate()?;
        }
        let Some(resume) = call.resume.filter(|_| follows) else { return Ok(Ok(Resume::Dispatch)) };
        let block = self.store.block(block);
        let key = block.key();
        let elsewhere = key.space != 0 && !self.spaces.is_in(key.space, self.tier.root());
        if elsewhere || self.key(&self.tier.facts(), false) != (Key { at: None, space: 0, ..key }) {
            return Ok(Ok(Resume::Dispatch));
        }
        Ok(Ok(Resume::At(self.store.cache.address(block.host + resume))))
    }

    /// What translations depend on now.
    fn key(&self, facts: &Facts, single: bool) -> Key {
        let direction = self.tier.system_flags() & DF != 0;
        Key {
            user: facts.user,
            fpu: facts.fpu,
            avx: facts.avx,
            direction,
            at: None,
            space: 0,
            counter: !(single || facts.user && facts.no_counter)
                && self.counter.as_ref().is_some_and(Counter::is_known),
            bases: facts.bases,
            single,
            direct: false,
        }
    }

    /// A branch to a non-canonical address faults at the branch, before it has touched RSP.
    fn rewind(&mut self, rip: u64) {
        self.tier.set_rip(rip);
        let Some(Decoded { instruction, .. }) = self.instruction_here() else { return };
        let mut registers = [0; 16];
        registers.copy_from_slice(self.tier.registers());
        let change = i64::from(instruction.stack_pointer_increment());
        if change < 0
            && let Some(mapped) = self.tier.probe(registers[4], true).page()
        {
            // A call: its return address goes as well.
            let under = self.frame.frame().under_call;
            let at = mapped.page.plus(registers[4] % PAGE_SIZE);
            if registers[4] % PAGE_SIZE <= PAGE_SIZE - 8 {
                self.memory.store(at, under);
            }
        }
        registers[4] = registers[4].wrapping_sub(change as u64);
        self.tier.set_registers(&registers);
    }

    /// Gives one instruction to the reference CPU. Something, if that ends the run.
    fn interpret(&mut self, left: &mut u64) -> Option<Exit> {
        let Some(decoded) = self.instruction_here() else {
            self.store_x87();
            return self.interpret_general(left);
        };
        if decoded.fpu {
            self.store_x87();
        }
        if let Some(prepared) = decoded.prepared {
            *left = spend(*left, 1);
            return self.tier.execute(&prepared).err().inspect(|_| self.store_x87());
        }
        self.interpret_general(left)
    }

    /// The same, for an instruction that is known not to use x87, MMX or SSE state.
    fn interpret_general(&mut self, left: &mut u64) -> Option<Exit> {
        let before = self.tier.statistics().instructions;
        let exit = self.tier.step();
        *left = spend(*left, (self.tier.statistics().instructions - before).max(1));
        if exit == Exit::Budget {
            return None;
        }
        self.store_x87();
        Some(exit)
    }

    fn store_x87(&mut self) {
        if std::mem::take(&mut self.x87_here) {
            enter::store_x87(self.tier.fpu());
        }
    }
}

/// What all translations depend on, and changes seldom.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Modes {
    fpu: bool,
    avx: bool,
    bases: bool,
    no_counter: bool,
}

/// Takes what was executed off a budget that is not unlimited.
fn spend(left: u64, done: u64) -> u64 {
    if left == u64::MAX { left } else { left.saturating_sub(done) }
}

impl Drop for Translated {
    fn drop(&mut self) {
        // Its thread uses the frame.
        self.mirrors.silence();
        self.attention.set_kick(None);
        self.memory.watch().dismiss(&self.enlisted);
    }
}

impl Vcpu for Translated {
    fn run(&mut self, budget: Budget) -> Result<Exit, EngineError> {
        let left = match budget {
            Budget::Unlimited => u64::MAX,
            Budget::Instructions(count) => count,
        };
        let exit = self.run_loop(left);
        self.store_x87();
        exit.map_err(|source| EngineError::Host { what: "memory for the shadow map", source })
    }

    fn state(&self) -> CpuState {
        self.tier.export()
    }

    fn set_state(&mut self, state: &CpuState) {
        self.tier.import(state);
    }

    fn statistics(&self) -> Statistics {
        Statistics {
            blocks: self.store.translated,
            invalidations: self.store.invalidated,
            ..self.tier.statistics()
        }
    }

    fn details(&self) -> Vec<(String, u64)> {
        let mut details = self.counts.details();
        details.push(("whole-cache flushes".to_owned(), self.store.flushes));
        details.push(("code cache bytes".to_owned(), self.store.cache.used() as u64));
        details.push(("shadow map bytes".to_owned(), self.contexts.resident() as u64));
        details
    }
}
