//! Translated blocks: where they are, what they were made from, how they are linked.

use std::collections::BTreeMap;
use std::io;

use base::{Enlisted, GuestMemory, PAGE_SIZE, RamOffset};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::cache::CodeCache;
use crate::emit::direct::Saved;
use crate::emit::block::{Call, Goal, Key, LONGEST_INSTRUCTION, POLL_BYTES, Surroundings, translate};
use crate::emit::listing::Listing;
use crate::emit::shared::Shared;
use crate::frame::ExitKind;
use crate::station::Pages;

/// A block is at most this long in the cache.
const LONGEST: usize = 64 * 1024;

/// A placed block.
pub(crate) struct Block {
    /// Offset of its first byte (the far entry) in the cache.
    pub host: u32,
    len: u32,
    near: u32,
    stale: u32,
    /// RAM page and key of its code.
    pub page: usize,
    pub key: Key,
    pub start: u16,
    /// Host offset in the block and guest offset in the page of each instruction.
    sites: Box<[(u16, u16)]>,
    /// The RAM page that the block's only instruction runs on into.
    second: Option<usize>,
    /// Links that lead here.
    incoming: Vec<u32>,
    live: bool,
    /// For a mirror: the exits, and where registers are saved.
    exits: Box<[(u32, ExitKind, u32)]>,
    saved: Box<[Saved]>,
    tail: u32,
    /// For a mirror: where the call at its end returns to.
    pub returns: Option<u64>,
}

impl Block {
    /// The guest offset that a host offset within the block belongs to, and the host offset at which that
    /// instruction starts.
    pub fn site(&self, host: u32) -> (u16, u32) {
        let within = host - self.host;
        let n = self.sites.partition_point(|&(at, _)| u32::from(at) <= within).saturating_sub(1);
        let (at, offset) = self.sites[n];
        (offset, self.host + u32::from(at))
    }

    /// What the INT3 at a host offset is for, and the value that belongs to it.
    pub fn exit(&self, host: u32) -> Option<(ExitKind, u32)> {
        let within = host - self.host;
        self.exits.iter().find(|&&(at, ..)| at == within).map(|&(_, kind, value)| (kind, value))
    }

    /// Is a host offset out of line, where no instruction starts?
    pub fn is_tail(&self, host: u32) -> bool {
        host - self.host >= self.tail
    }

    /// The registers, a bit each, whose values are saved rather than in place at a host offset.
    pub fn saved(&self, host: u32) -> u16 {
        let within = host - self.host;
        let range = self.saved.iter().find(|range| (range.from..range.to).contains(&within));
        range.map_or(0, |range| range.registers)
    }

    /// The near entry.
    pub fn near(&self) -> u32 {
        self.host + self.near
    }
}

/// A direct branch.
struct Link {
    /// Cache offset of its displacement.
    at: u32,
    /// Cache offset of its stub.
    stub: u32,
    /// The block that it is in.
    from: u32,
    /// The block that it was led to last.
    to: Option<u32>,
    goal: Goal,
    /// It leads to behind itself.
    forward: bool,
}

#[derive(Default)]
struct CodePage {
    generation: u64,
    blocks: FxHashMap<(u16, Key), usize>,
    /// Blocks of the page before whose instruction ends here.
    crossing: Vec<usize>,
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
    /// What stands at the start of the cache, and how long it is.
    shared: Option<Shared>,
    head: u32,
    blocks: Vec<Block>,
    links: Vec<Link>,
    calls: Vec<(usize, Call)>,
    /// Links that lead across pages, by the guest's page that they lead to.
    across: FxHashMap<u64, FxHashSet<u32>>,
    pages: FxHashMap<usize, CodePage>,
    by_host: BTreeMap<u32, usize>,
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
            links: Vec::new(),
            calls: Vec::new(),
            across: FxHashMap::default(),
            pages: FxHashMap::default(),
            by_host: BTreeMap::new(),
            living: 0,
            translated: 0,
            invalidated: 0,
            flushes: 0,
        }
    }

    /// The block at a place in RAM, if it is translated. What its instruction runs on into is for the caller to
    /// compare.
    pub fn find(&self, at: RamOffset, key: Key) -> Option<usize> {
        let page = self.pages.get(&at.page())?;
        page.blocks.get(&((at.0 % PAGE_SIZE) as u16, key)).copied()
    }

    /// The RAM page that a block's only instruction runs on into.
    pub fn second(&self, number: usize) -> Option<usize> {
        self.blocks[number].second
    }

    /// A block by number.
    pub fn block(&self, number: usize) -> &Block {
        &self.blocks[number]
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

    /// Is there room for one more block, and no more perhaps?
    pub fn is_nearly_full(&self) -> bool {
        !self.cache.has_room(2 * LONGEST)
    }

    /// The links of a mirror's block that lead nowhere yet, and the guest addresses that they are for.
    pub fn open_links(&self, number: usize) -> Vec<(u32, u64)> {
        let page = self.blocks[number].key.at.unwrap_or(0);
        let first = self.links.partition_point(|link| (link.from as usize) < number);
        let of_block = self.links[first..].iter().take_while(|link| link.from as usize == number);
        let open = of_block.enumerate().filter(|(_, link)| link.to.is_none());
        open.map(|(n, link)| {
            let target = match link.goal {
                Goal::Within(offset) => page + u64::from(offset),
                Goal::Across { target, .. } => target,
            };
            ((first + n) as u32, target)
        })
        .collect()
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
            self.links.push(Link {
                at: host + link.at,
                stub: host + link.stub,
                from: number as u32,
                to: None,
                goal: link.goal.moved(host),
                forward: link.forward,
            });
        }
        self.calls.extend(emitted.calls.into_iter().map(|call| (number, call)));
        self.blocks.push(Block {
            host,
            len: emitted.code.len() as u32,
            near: emitted.near,
            stale: emitted.stale,
            page,
            key,
            start,
            sites: emitted.sites.iter().map(|&(at, offset)| (at as u16, offset)).collect(),
            second: second.map(RamOffset::page),
            incoming: Vec::new(),
            live: true,
            exits: emitted.direct.exits.into(),
            saved: emitted.direct.saved.into(),
            tail: emitted.direct.tail,
            returns: emitted.direct.returns,
        });
        self.by_host.insert(host, number);
        if let Some((page, generation)) = beyond {
            self.code_page(page, generation).crossing.push(number);
        }
        self.code_page(page, generation).blocks.insert((start, key), number);
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
        (link.goal, RamOffset(block.page as u64 * PAGE_SIZE), block.key)
    }

    /// An instruction that a block calls the reference CPU for, and the block's number.
    pub fn call(&self, number: u32) -> (usize, Call) {
        self.calls[number as usize]
    }

    /// Leads a link to a block.
    pub fn connect(&mut self, link: u32, block: usize) {
        let near = self.blocks[block].near();
        let from = &mut self.links[link as usize];
        // Whoever only goes forwards comes to an end without being asked to.
        let entry = if from.forward { near + POLL_BYTES } else { near };
        let before = from.to.replace(block as u32);
        self.lead(link, entry);
        if before == Some(block as u32) {
            return;
        }
        if let Some(before) = before {
            self.blocks[before as usize].incoming.retain(|&other| other != link);
        }
        self.blocks[block].incoming.push(link);
    }

    /// Leads a link to a block in another page if both are global, otherwise to the jump cache.
    pub fn connect_across(&mut self, link: u32, block: usize) {
        let (at, to) = (&self.links[link as usize], &self.blocks[block]);
        let from = self.blocks[at.from as usize].key;
        let Goal::Across { target, other } = at.goal else { return };
        let page = target & !(PAGE_SIZE - 1);
        self.across.entry(page).or_default().insert(link);
        if to.second.is_some() && from.direct {
            self.across.entry(page.wrapping_add(PAGE_SIZE)).or_default().insert(link);
        }
        let whole = to.second.is_none() || from.direct;
        if whole && to.key == (Key { at: Some(page), ..from }) {
            self.connect(link, block);
        } else {
            self.lead(link, other);
        }
    }

    /// Leads a link to a place in the cache, unless its block is gone: what sends those away who enter that stands
    /// where its links may have been.
    fn lead(&mut self, link: u32, to: u32) {
        let link = &self.links[link as usize];
        if self.blocks[link.from as usize].live {
            self.cache.link(link.at, to);
        }
    }

    /// Forgets what rests on how the guest maps global pages: one of them, or all.
    pub fn unmap(&mut self, page: Option<u64>) {
        let links: Vec<u32> = match page {
            Some(page) => self.across.remove(&(page & !(PAGE_SIZE - 1))).into_iter().flatten().collect(),
            None => std::mem::take(&mut self.across).into_values().flatten().collect(),
        };
        for link in links {
            self.lead(link, self.links[link as usize].stub);
        }
    }

    /// The block that a host offset lies in.
    pub fn at_host(&self, host: u32) -> Option<usize> {
        let (_, &number) = self.by_host.range(..=host).next_back()?;
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
        let (near, stale) = (block.near(), block.host + block.stale);
        let (page, place) = (block.page, (block.start, block.key));
        for link in std::mem::take(&mut block.incoming) {
            self.links[link as usize].to = None;
            self.lead(link, self.links[link as usize].stub);
        }
        self.cache.patch(near, &[0xe9]);
        self.cache.link(near + 1, stale);
        if let Some(page) = self.pages.get_mut(&page)
            && page.blocks.get(&place) == Some(&number)
        {
            page.blocks.remove(&place);
        }
        self.invalidated += 1;
    }

    /// Throws away the blocks in which the instruction at this offset of a RAM page is translated.
    pub fn invalidate_at(&mut self, page: usize, offset: u16) {
        let Some(code) = self.pages.get(&page) else { return };
        let has = |&&number: &&usize| self.blocks[number].sites.iter().any(|&(_, site)| site == offset);
        for number in code.blocks.values().filter(has).copied().collect::<Vec<_>>() {
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
            for number in code.blocks.into_values().chain(code.crossing) {
                self.invalidate(number);
            }
        }
    }

    /// Throws everything away.
    pub fn clear(&mut self) {
        self.cache.truncate(self.head);
        // Not only emptied: their memory is not needed either.
        (self.blocks, self.links, self.calls) = Default::default();
        (self.across, self.pages, self.by_host) = Default::default();
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
