//! Translated blocks: where they are, what they were made from, how they are linked.

mod block;
mod extra;
mod link;
mod places;

use std::io;

use base::{Enlisted, GuestMemory, PAGE_SIZE, RamOffset};
use rustc_hash::FxHashMap;

use crate::cache::CodeCache;
use crate::emit::block::{Call, Goal, Key, LONGEST_INSTRUCTION, POLL_BYTES, Surroundings, translate};
use crate::emit::listing::Listing;
use crate::emit::shared::Shared;
use crate::station::Pages;

pub(crate) use self::block::Block;
use self::block::{Extent, NONE, Origin};
use self::extra::Extra;
use self::link::{Crossing, Link};
use self::places::Places;

/// Blocks that are found at once: a power of two.
const FOUND: usize = 1024;
/// Bytes of the cache in a stretch.
const STRETCH: u32 = 4096;

/// A block is at most this long in the cache: offsets in it have 16 bits.
const LONGEST: usize = 64 * 1024;

#[derive(Default)]
struct CodePage {
    generation: u64,
    /// By the offset in the page at which they start.
    blocks: Vec<(u16, u32)>,
    /// Blocks of the page before whose instruction ends here.
    crossing: Vec<u32>,
}

/// Code to translate.
pub(crate) struct Source {
    /// Where it starts.
    pub at: RamOffset,
    /// The start of the next page of the guest's, if the instruction at `at` runs on into it.
    pub second: Option<RamOffset>,
    pub key: Key,
}

/// All blocks of a vCPU.
pub(crate) struct Store {
    pub cache: CodeCache,
    /// What stands at the start of the cache, and how long that is.
    shared: Option<Shared>,
    head: u32,
    blocks: Vec<Block>,
    /// For each block of a mirror.
    extras: Vec<Extra>,
    /// For each stretch of the cache the first block that begins there or later.
    firsts: Vec<u32>,
    /// Blocks found of late, by where their code lies.
    found: Box<[u32; FOUND]>,
    places: Places,
    links: Vec<Link>,
    crossings: Vec<Crossing>,
    calls: Vec<(u32, Call)>,
    /// Links that lead across pages, by the guest's page that they lead to.
    across: FxHashMap<u64, Vec<u32>>,
    pages: FxHashMap<usize, CodePage>,
    /// Bytes of blocks that can be entered.
    living: usize,
    /// Blocks translated since the start.
    pub translated: u64,
    /// Blocks thrown away because their code was written.
    pub invalidated: u64,
    /// Times that the whole cache was thrown away.
    pub flushes: u64,
}

impl Store {
    pub fn new() -> io::Result<Self> {
        let shared = Shared::new();
        let code = shared.code.clone();
        Ok(Self::over(CodeCache::new()?, Some(shared), &code))
    }

    /// A store of code for a mirror, with `head` before all blocks.
    pub fn for_mirror(cache: CodeCache, head: &[u8]) -> Self {
        Self::over(cache, None, head)
    }

    fn over(mut cache: CodeCache, shared: Option<Shared>, head: &[u8]) -> Self {
        cache.append(head);
        Self {
            cache,
            shared,
            head: head.len() as u32,
            blocks: Vec::new(),
            extras: Vec::new(),
            firsts: Vec::new(),
            found: Box::new([NONE; FOUND]),
            places: Places::default(),
            links: Vec::new(),
            crossings: Vec::new(),
            calls: Vec::new(),
            across: FxHashMap::default(),
            pages: FxHashMap::default(),
            living: 0,
            translated: 0,
            invalidated: 0,
            flushes: 0,
        }
    }

    /// The number of the block that was made from this, if there is one.
    pub fn find(&mut self, source: &Source) -> Option<usize> {
        let Source { at, second, key } = *source;
        let (start, second) = ((at.0 % PAGE_SIZE) as u16, second.map(RamOffset::page));
        let place = (at.0 ^ (at.0 / PAGE_SIZE)) as usize % FOUND;
        if let Some(block) = self.blocks.get(self.found[place] as usize)
            && block.live
            && (block.page(), block.start, block.second()) == (at.page(), start, second)
            && block.has_key(key)
        {
            return Some(self.found[place] as usize);
        }
        let blocks = &self.pages.get(&at.page())?.blocks;
        let from = blocks.partition_point(|&(other, _)| other < start);
        let same = blocks[from..].iter().take_while(|&&(other, _)| other == start);
        let number = same.map(|&(_, number)| number).find(|&number| {
            let block = &self.blocks[number as usize];
            block.has_key(key) && block.second() == second
        })?;
        self.found[place] = number;
        Some(number as usize)
    }

    /// A block by number.
    pub fn block(&self, number: usize) -> &Block {
        &self.blocks[number]
    }

    /// A jump has come to this block by the jump cache.
    pub fn note_door(&mut self, number: usize) {
        self.blocks[number].door = true;
    }

    /// The blocks of a page of RAM that jumps have come to, with this key: their offsets in the page, and their host addresses.
    /// (Not those whose code runs on into another page, which they depend on, too.)
    pub fn doors(&self, page: usize, key: Key) -> impl Iterator<Item = (u64, u64)> {
        let blocks = self.pages.get(&page).map_or(&[][..], |page| &page.blocks);
        let blocks = blocks.iter().map(|&(_, number)| &self.blocks[number as usize]);
        let doors = blocks.filter(move |block| block.door && block.second().is_none() && block.has_key(key));
        doors.map(|block| (u64::from(block.start), self.cache.address(block.host)))
    }

    /// Host offset in the block and guest offset in the page of each of a block's instructions.
    fn places(&self, number: usize) -> impl Iterator<Item = (u16, u16)> {
        let end = self.blocks.get(number + 1).map_or_else(|| self.places.next(), |next| next.places);
        self.places.of(self.blocks[number].places, end)
    }

    /// The guest offset in the page that a host offset within a block belongs to, and the host offset at which that
    /// instruction starts.
    pub fn site(&self, number: usize, host: u32) -> (u16, u32) {
        let start = self.blocks[number].host;
        let before = self.places(number).take_while(|&(at, _)| u32::from(at) <= host - start);
        let (at, offset) = before.last().unwrap_or((0, self.blocks[number].start));
        (offset, start + u32::from(at))
    }

    /// Must the cache be thrown away before anything more is translated? Where most of it is what the guest still has, it
    /// grows instead.
    pub fn is_full(&mut self) -> bool {
        if self.cache.has_room(LONGEST) {
            return false;
        }
        let worth_more = self.living >= self.cache.used() / 4 * 3;
        !(worth_more && self.cache.grow())
    }

    /// What a mirror's block has besides.
    pub fn extra(&self, number: usize) -> &Extra {
        &self.extras[number]
    }

    /// Is there room for one more block, and no more perhaps?
    pub fn is_nearly_full(&self) -> bool {
        !self.cache.has_room(2 * LONGEST)
    }

    /// The links of a mirror's block that lead nowhere yet, and the guest addresses that they are for.
    pub fn open_links(&self, number: usize) -> Vec<(u32, u64)> {
        let first = self.links.partition_point(|link| (link.from as usize) < number);
        let of_block = self.links[first..].iter().take_while(|link| link.from as usize == number);
        let open = of_block.enumerate().filter(|(_, link)| link.to == NONE);
        open.map(|(n, _)| (first + n) as u32).map(|link| (link, self.target(link))).collect()
    }

    /// The guest address that a link of a mirror's block is for.
    pub fn target(&self, link: u32) -> u64 {
        match self.goal(link) {
            (Goal::Within(offset), _, key) => key.at.unwrap_or(0) + u64::from(offset),
            (Goal::Across { target, .. }, ..) => target,
        }
    }

    /// Leads a link of a mirror's block to the block that it is for, in its page or in another.
    pub fn join(&mut self, link: u32, block: usize) {
        match self.goal(link).0 {
            Goal::Within(_) => self.connect(link, block),
            Goal::Across { .. } => self.connect_across(link, block),
        }
    }

    /// Translates a block for the runner `who`. The cache is not full. Gives its number; `None` if another CPU was
    /// writing the code.
    pub fn translate(
        &mut self,
        memory: &GuestMemory,
        who: &Enlisted,
        source: &Source,
        surroundings: &dyn Surroundings,
    ) -> Option<usize> {
        let Source { at, second, key } = *source;
        let (page, start) = (at.page(), (at.0 % PAGE_SIZE) as u16);
        let code = read(memory, page, second);
        let code = &code[..if second.is_some() { code.len() } else { PAGE_SIZE as usize }];
        let first = (self.links.len() as u32, self.calls.len() as u32);
        let emitted = translate(code, start, key, surroundings, first);
        let span = u64::from(emitted.guest_bytes).max(1);
        let here = span.min(PAGE_SIZE - u64::from(start));
        let generation = memory.watch().cache_code_of(who, at, here);
        let beyond = second
            .map(|second| (second.page(), memory.watch().cache_code_of(who, second, (span - here).max(1))));
        // What is translated must be what lies there now that every write to it is seen.
        let used = usize::from(start)..usize::from(start) + span as usize;
        if code.get(used.clone()) != read(memory, page, second).get(used) {
            return None;
        }
        assert!(emitted.code.len() <= LONGEST);
        let number = self.blocks.len();
        let host = self.cache.append(&emitted.code);
        if let Some(shared) = &self.shared {
            for jump in &emitted.to_shared {
                self.cache.link(host + jump.at, shared.at(jump.place));
            }
        }
        let address = self.cache.address(host);
        for relative in &emitted.direct.relatives {
            let displacement = relative.target.wrapping_sub(address + u64::from(relative.next)) as i32;
            self.cache.patch(host + relative.at, &displacement.to_le_bytes());
        }
        tracing::trace!(target: "ringfence::perf", "{address:x} {:x} guest_{:x}", emitted.code.len(), at.0);
        tracing::trace!(target: "ringfence::blocks", "block at RAM {:#x}, {key:?}\n{}", at.0,
            Listing { page: code, emitted: &emitted, host });
        for link in &emitted.links {
            let goal = link.goal.moved(host);
            let link = Link::new(number as u32, link.at, link.stub, goal, link.forward, &mut self.crossings);
            self.links.push(link);
        }
        self.calls.extend(emitted.calls.into_iter().map(|call| (number as u32, call)));
        let origin = Origin { page, second: second.map(RamOffset::page), key, start };
        let len = emitted.code.len() as u32;
        let extent = Extent { host, len, near: emitted.near, stale: emitted.stale };
        while self.firsts.len() as u32 * STRETCH <= host {
            self.firsts.push(number as u32);
        }
        self.blocks.push(Block::new(&origin, &extent, self.places.next()));
        self.places.add(emitted.sites.iter().map(|&(at, offset)| (at as u16, offset)));
        if key.direct {
            self.extras.push(Extra::of(emitted.direct));
        }
        if let Some((page, generation)) = beyond {
            self.code_page(page, generation).crossing.push(number as u32);
        }
        let blocks = &mut self.code_page(page, generation).blocks;
        blocks.insert(blocks.partition_point(|&(other, _)| other <= start), (start, number as u32));
        self.translated += 1;
        self.living += emitted.code.len();
        Some(number)
    }

    /// The record of a page whose code has this generation; blocks of an older one go.
    fn code_page(&mut self, page: usize, generation: u64) -> &mut CodePage {
        if self.pages.get(&page).is_some_and(|code| code.generation != generation) {
            self.drop_page(page);
        }
        self.pages.entry(page).or_insert_with(|| CodePage { generation, ..CodePage::default() })
    }

    /// Where a link leads, and the key of its target. What is in its own page is in this page of RAM.
    pub fn goal(&self, link: u32) -> (Goal, RamOffset, Key) {
        let link = &self.links[link as usize];
        let block = &self.blocks[link.from as usize];
        (link.goal(&self.crossings), RamOffset(block.page() as u64 * PAGE_SIZE), block.key())
    }

    /// An instruction that a block calls the reference CPU for, and the block's number.
    pub fn call(&self, number: u32) -> (usize, Call) {
        let (block, call) = self.calls[number as usize];
        (block as usize, call)
    }

    /// The cache offset of a link's stub.
    fn stub(&self, link: u32) -> u32 {
        let link = &self.links[link as usize];
        link.places(self.blocks[link.from as usize].host).1
    }

    /// Leads a link to a block.
    pub fn connect(&mut self, link: u32, block: usize) {
        let near = self.blocks[block].near();
        // Whoever only goes forwards comes to an end without being asked to.
        let entry = if self.links[link as usize].is_forward() { near + POLL_BYTES } else { near };
        self.lead(link, entry);
        let before = std::mem::replace(&mut self.links[link as usize].to, block as u32);
        if before == block as u32 {
            return;
        }
        if before != NONE {
            self.take_out(before, link);
        }
        let first = std::mem::replace(&mut self.blocks[block].incoming, link);
        self.links[link as usize].next = first;
    }

    /// Takes a link out of the list of those that lead to a block.
    fn take_out(&mut self, block: u32, link: u32) {
        let next = self.links[link as usize].next;
        let mut at = self.blocks[block as usize].incoming;
        if at == link {
            self.blocks[block as usize].incoming = next;
            return;
        }
        while at != NONE {
            let after = self.links[at as usize].next;
            if after == link {
                self.links[at as usize].next = next;
                return;
            }
            at = after;
        }
    }

    /// Leads a link to a block in another page if both are global, otherwise to the jump cache.
    pub fn connect_across(&mut self, link: u32, block: usize) {
        let (at, to) = (&self.links[link as usize], &self.blocks[block]);
        let Goal::Across { target, other } = at.goal(&self.crossings) else { return };
        let page = target & !(PAGE_SIZE - 1);
        let from = self.blocks[at.from as usize].key();
        let runs_on = to.second().is_some();
        let fits = (from.direct || !runs_on) && to.has_key(Key { at: Some(page), ..from });
        if self.links[link as usize].note() {
            self.across.entry(page).or_default().push(link);
            if fits && runs_on {
                self.across.entry(page.wrapping_add(PAGE_SIZE)).or_default().push(link);
            }
        }
        if fits {
            self.connect(link, block);
        } else {
            self.lead(link, other);
        }
    }

    /// Leads a link to a place in the cache, unless its block is gone: what sends those away who enter that may stand
    /// where its links were.
    fn lead(&mut self, link: u32, to: u32) {
        let from = &self.blocks[self.links[link as usize].from as usize];
        if from.live {
            self.cache.link(self.links[link as usize].places(from.host).0, to);
        }
    }

    /// Forgets what rests on how the guest maps global pages: one of them, or all.
    pub fn unmap(&mut self, page: Option<u64>) {
        let links: Vec<u32> = match page {
            Some(page) => self.across.remove(&(page & !(PAGE_SIZE - 1))).unwrap_or_default(),
            None => std::mem::take(&mut self.across).into_values().flatten().collect(),
        };
        for link in links {
            self.links[link as usize].strike();
            self.lead(link, self.stub(link));
        }
    }

    /// Throws away the blocks of a space.
    pub fn drop_space(&mut self, space: u8) {
        let of_space = |&number: &usize| self.blocks[number].live && self.blocks[number].key().space == space;
        for number in (0..self.blocks.len()).filter(of_space).collect::<Vec<_>>() {
            self.invalidate(number);
        }
    }

    /// The block that a host offset lies in.
    pub fn at_host(&self, host: u32) -> Option<usize> {
        // They lie in the order in which they were made.
        let stretch = (host / STRETCH) as usize;
        let first = self.firsts.get(stretch).map_or(self.blocks.len(), |&first| first as usize);
        let end = self.firsts.get(stretch + 1).map_or(self.blocks.len(), |&first| first as usize);
        let within = self.blocks[first..end].partition_point(|block| block.host <= host);
        let number = (first + within).checked_sub(1)?;
        let block = &self.blocks[number];
        (host < block.host + block.len).then_some(number)
    }

    /// Throws one block away: whoever enters it comes back to the dispatcher.
    pub fn invalidate(&mut self, number: usize) {
        let block = &mut self.blocks[number];
        if !std::mem::take(&mut block.live) {
            return;
        }
        self.living -= block.len as usize;
        let (near, stale) = (block.near(), block.host + u32::from(block.stale));
        let (page, start) = (block.page(), block.start);
        let mut incoming = std::mem::replace(&mut block.incoming, NONE);
        while incoming != NONE {
            self.lead(incoming, self.stub(incoming));
            let link = &mut self.links[incoming as usize];
            (link.to, incoming) = (NONE, link.next);
        }
        self.cache.patch(near, &[0xe9]);
        self.cache.link(near + 1, stale);
        if let Some(page) = self.pages.get_mut(&page)
            && let Some(at) = page.blocks.iter().position(|&entry| entry == (start, number as u32))
        {
            page.blocks.remove(at);
        }
        self.invalidated += 1;
    }

    /// Throws away the blocks in which the instruction at this offset of a RAM page is translated.
    pub fn invalidate_at(&mut self, page: usize, offset: u16) {
        let Some(code) = self.pages.get(&page) else { return };
        let has = |&number: &usize| self.places(number).any(|(_, site)| site == offset);
        let numbers = code.blocks.iter().map(|&(_, number)| number as usize);
        for number in numbers.filter(has).collect::<Vec<_>>() {
            self.invalidate(number);
        }
    }

    /// Throws away the blocks of these pages whose code was written.
    pub fn drop_stale(&mut self, memory: &GuestMemory, pages: &Pages) {
        let pages = match pages {
            Pages::Some(pages) => pages.clone(),
            Pages::All => self.pages.keys().copied().collect(),
        };
        for page in pages {
            let generation = memory.watch().generation(page);
            if self.pages.get(&page).is_some_and(|code| code.generation != generation) {
                self.drop_page(page);
            }
        }
    }

    fn drop_page(&mut self, page: usize) {
        if let Some(code) = self.pages.remove(&page) {
            let blocks = code.blocks.into_iter().map(|(_, number)| number);
            for number in blocks.chain(code.crossing) {
                self.invalidate(number as usize);
            }
        }
    }

    /// Throws everything away.
    pub fn clear(&mut self) {
        self.cache.truncate(self.head);
        // Not only emptied: their memory is not needed either.
        (self.blocks, self.extras, self.firsts, self.places, self.links) = Default::default();
        self.found.fill(NONE);
        (self.crossings, self.calls, self.across, self.pages) = Default::default();
        self.living = 0;
        self.flushes += 1;
    }
}

/// The bytes of a page, and what an instruction may need of the page that follows it for the guest.
fn read(
    memory: &GuestMemory,
    page: usize,
    second: Option<RamOffset>,
) -> [u8; PAGE_SIZE as usize + LONGEST_INSTRUCTION] {
    let mut code = [0; PAGE_SIZE as usize + LONGEST_INSTRUCTION];
    memory.read_at(RamOffset(page as u64 * PAGE_SIZE), &mut code[..PAGE_SIZE as usize]);
    if let Some(second) = second {
        memory.read_at(second, &mut code[PAGE_SIZE as usize..]);
    }
    code
}
