//! The files that the guest knows, by the numbers it knows them by.
//!
//! A node is a *place*: a name in a parent's directory, down from the root. It holds no descriptor, so a guest may know
//! many; each use walks there anew ([`beneath`](super::beneath)) and sees by the inode whether it is still the same file.
//! If it is not, the guest hears ESTALE, and its kernel looks the name up again by itself. When a file loses its name its
//! node loses its place; what the guest has open stays open.
//!
//! A node lives as long as the guest counts on it (`nlookup` of FUSE) or has nodes below it.

use std::collections::BTreeMap;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::beneath::Name;

/// The shared directory's own number (`FUSE_ROOT_ID`).
pub const ROOT: u64 = 1;
/// Nodes at the same time. Beyond, the guest hears ENFILE.
pub const MOST: usize = 1 << 18;
/// Bytes of a path (PATH_MAX, with its NUL).
const MOST_PATH: usize = 4095;

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    parent: u64,
    name: Vec<u8>,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Node {
    /// `None` for one that lost its name.
    place: Option<Place>,
    /// `None` until it is seen for the first time after a restore: another host has other numbers.
    #[serde(skip)]
    inode: Option<u64>,
    lookups: u64,
    /// Nodes whose place is in this one.
    #[serde(skip)]
    children: u32,
}

/// All of them but the root, which is always there.
#[derive(Debug)]
pub struct Nodes {
    nodes: BTreeMap<u64, Node>,
    numbers: BTreeMap<Place, u64>,
    next: u64,
}

impl Default for Nodes {
    fn default() -> Self {
        Self { nodes: BTreeMap::new(), numbers: BTreeMap::new(), next: ROOT + 1 }
    }
}

impl Nodes {
    /// The way to a node, from the root.
    pub fn path(&self, number: u64) -> Result<Vec<u8>, Errno> {
        if number == ROOT {
            return Ok(b".".to_vec());
        }
        let mut names = Vec::new();
        let (mut at, mut len) = (number, 0);
        while at != ROOT {
            let node = self.nodes.get(&at).ok_or(Errno::STALE)?;
            let place = node.place.as_ref().ok_or(Errno::STALE)?;
            len += place.name.len() + 1;
            // Also the end of a circle, which there is not.
            if len > MOST_PATH {
                return Err(Errno::NAMETOOLONG);
            }
            names.push(&*place.name);
            at = place.parent;
        }
        names.reverse();
        Ok(names.join(&b'/'))
    }

    /// Is a file that was found at the node's place the node's?
    pub fn is(&mut self, number: u64, inode: u64) -> bool {
        number == ROOT
            || self.nodes.get_mut(&number).is_some_and(|node| *node.inode.get_or_insert(inode) == inode)
    }

    /// The guest has looked up a name and this was found: its number. It counts for one lookup.
    pub fn found(&mut self, parent: u64, name: Name<'_>, inode: u64) -> Result<u64, Errno> {
        let place = Place { parent, name: name.bytes().to_vec() };
        if let Some(&number) = self.numbers.get(&place) {
            if self.is(number, inode)
                && let Some(node) = self.nodes.get_mut(&number)
            {
                node.lookups = node.lookups.saturating_add(1);
                return Ok(number);
            }
            self.displace(number);
        }
        if parent != ROOT && !self.nodes.contains_key(&parent) {
            return Err(Errno::STALE);
        }
        if self.nodes.len() >= MOST {
            return Err(Errno::NFILE);
        }
        let number = self.next;
        self.next = number.checked_add(1).ok_or(Errno::NFILE)?;
        self.nodes.insert(number, Node { place: None, inode: Some(inode), lookups: 1, children: 0 });
        self.place(number, place);
        Ok(number)
    }

    /// The guest counts on a node so many times less.
    pub fn forget(&mut self, number: u64, lookups: u64) {
        if let Some(node) = self.nodes.get_mut(&number) {
            node.lookups = node.lookups.saturating_sub(lookups);
            self.tidy(number);
        }
    }

    /// A name is gone.
    pub fn removed(&mut self, parent: u64, name: Name<'_>) {
        let place = Place { parent, name: name.bytes().to_vec() };
        if let Some(&number) = self.numbers.get(&place) {
            self.displace(number);
        }
    }

    /// A file has another name now; what had that name has lost it, or got the first one's in `exchange`.
    pub fn renamed(&mut self, from: (u64, Name<'_>), to: (u64, Name<'_>), exchange: bool) {
        let place = |(parent, name): (u64, Name<'_>)| Place { parent, name: name.bytes().to_vec() };
        let (from, to) = (place(from), place(to));
        if from == to {
            return;
        }
        let (moved, met) = (self.numbers.get(&from).copied(), self.numbers.get(&to).copied());
        // Both stay until they are at their new places: nobody goes with the last child.
        let both: Vec<u64> = [moved, met].into_iter().flatten().collect();
        both.iter().for_each(|number| self.unplace(*number));
        if let Some(moved) = moved {
            self.move_to(moved, to);
        }
        if let Some(met) = met.filter(|_| exchange) {
            self.move_to(met, from);
        }
        both.iter().for_each(|number| self.tidy(*number));
    }

    fn move_to(&mut self, number: u64, place: Place) {
        // The kernel makes no directory its own parent, but the tree may have changed since we walked there.
        let mut above = place.parent;
        while above != ROOT && above != number {
            match self.nodes.get(&above).and_then(|node| node.place.as_ref()) {
                Some(place) => above = place.parent,
                None => break,
            }
        }
        let known = place.parent == ROOT || self.nodes.contains_key(&place.parent);
        if above != number && known {
            self.place(number, place);
        }
    }

    /// It has a place, which is free.
    fn place(&mut self, number: u64, place: Place) {
        if let Some(parent) = self.nodes.get_mut(&place.parent) {
            parent.children += 1;
        }
        if let Some(node) = self.nodes.get_mut(&number) {
            node.place = Some(place.clone());
        }
        self.numbers.insert(place, number);
    }

    /// It has none any more. Its parent may be without use.
    fn unplace(&mut self, number: u64) {
        let Some(place) = self.nodes.get_mut(&number).and_then(|node| node.place.take()) else { return };
        self.numbers.remove(&place);
        if let Some(parent) = self.nodes.get_mut(&place.parent) {
            parent.children -= 1;
            self.tidy(place.parent);
        }
    }

    fn displace(&mut self, number: u64) {
        self.unplace(number);
        self.tidy(number);
    }

    /// Drops a node that is without use, and its parents if they were there for it alone.
    fn tidy(&mut self, number: u64) {
        let mut at = number;
        while let Some(node) = self.nodes.get(&at)
            && node.lookups == 0
            && node.children == 0
        {
            let Some(place) = self.nodes.remove(&at).and_then(|node| node.place) else { return };
            self.numbers.remove(&place);
            at = place.parent;
            if let Some(parent) = self.nodes.get_mut(&at) {
                parent.children -= 1;
            }
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        assert_eq!(self.numbers.len(), self.nodes.values().filter(|node| node.place.is_some()).count());
        self.nodes.len()
    }

    /// At rest.
    pub fn state(&self) -> NodesState {
        let Self { nodes, numbers: _, next } = self;
        NodesState {
            nodes: nodes.iter().map(|(number, node)| (*number, node.clone())).collect(),
            next: *next,
        }
    }
}

/// Nodes at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodesState {
    nodes: Vec<(u64, Node)>,
    next: u64,
}

impl NodesState {
    /// The nodes, if they can be.
    pub fn wake(self) -> Result<Nodes, &'static str> {
        let Self { nodes, next } = self;
        if nodes.len() > MOST || next > u64::MAX / 2 {
            return Err("the guest knows too many files");
        }
        let count = nodes.len();
        let fresh = |(number, node)| (number, Node { inode: None, children: 0, ..node });
        let nodes = nodes.into_iter().map(fresh).collect();
        let mut woken = Nodes { nodes, numbers: BTreeMap::new(), next };
        let good = |number: u64| (ROOT + 1..next).contains(&number);
        if woken.nodes.len() != count || !woken.nodes.keys().all(|number| good(*number)) {
            return Err("two files have one number, or one has none of its own");
        }
        let places: Vec<_> =
            woken.nodes.iter().filter_map(|(number, node)| Some((*number, node.place.clone()?))).collect();
        for (number, place) in places {
            let known = place.parent == ROOT || woken.nodes.contains_key(&place.parent);
            if !known || Name::new(&place.name).is_err() || woken.numbers.contains_key(&place) {
                return Err("a file's place cannot be");
            }
            woken.place(number, place);
        }
        if !woken.is_tree() {
            return Err("a file is within itself");
        }
        let useless = woken.nodes.values().any(|node| node.lookups == 0 && node.children == 0);
        if useless { Err("a file is of no use") } else { Ok(woken) }
    }
}

impl Nodes {
    /// Does every way up come to an end?
    fn is_tree(&self) -> bool {
        let mut ends: BTreeMap<u64, ()> = BTreeMap::new();
        for &number in self.nodes.keys() {
            let mut way = Vec::new();
            let mut at = number;
            while at != ROOT && !ends.contains_key(&at) {
                way.push(at);
                if way.len() > self.nodes.len() {
                    return false;
                }
                match self.nodes.get(&at).and_then(|node| node.place.as_ref()) {
                    Some(place) => at = place.parent,
                    None => break,
                }
            }
            ends.extend(way.into_iter().map(|at| (at, ())));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name<'_> {
        Name::new(text.as_bytes()).unwrap()
    }

    fn path(nodes: &Nodes, number: u64) -> Result<String, Errno> {
        nodes.path(number).map(|path| String::from_utf8(path).unwrap())
    }

    #[test]
    fn nodes_follow_their_names() {
        let mut nodes = Nodes::default();
        let a = nodes.found(ROOT, name("a"), 10).unwrap();
        let b = nodes.found(a, name("b"), 11).unwrap();
        let c = nodes.found(b, name("c"), 12).unwrap();
        assert_eq!(path(&nodes, c).unwrap(), "a/b/c");
        assert_eq!(nodes.found(ROOT, name("a"), 10), Ok(a), "it is the same");
        nodes.renamed((a, name("b")), (ROOT, name("x")), false);
        assert_eq!(path(&nodes, c).unwrap(), "x/c");
        nodes.renamed((ROOT, name("x")), (ROOT, name("a")), true);
        assert_eq!((path(&nodes, c).unwrap(), path(&nodes, a).unwrap()), ("a/c".into(), "x".into()));
        nodes.removed(b, name("c"));
        assert_eq!(nodes.path(c), Err(Errno::STALE));
        // Another file by the same name is another node.
        let other = nodes.found(b, name("c"), 99).unwrap();
        assert!(other != c && nodes.is(other, 99) && !nodes.is(other, 12));
        let third = nodes.found(b, name("c"), 100).unwrap();
        assert_eq!((nodes.path(other), path(&nodes, third).unwrap()), (Err(Errno::STALE), "a/c".into()));
        for (number, lookups) in [(other, 1), (c, 9), (b, 1), (third, 1), (a, 1)] {
            nodes.forget(number, lookups);
        }
        assert_eq!(nodes.len(), 1, "the guest has looked `a` up twice");
        nodes.forget(a, 1);
        assert_eq!(nodes.len(), 0);
        assert_eq!(nodes.found(a, name("b"), 1), Err(Errno::STALE));
    }

    #[test]
    fn a_parent_lives_for_its_children() {
        let mut nodes = Nodes::default();
        let a = nodes.found(ROOT, name("a"), 1).unwrap();
        let b = nodes.found(a, name("b"), 2).unwrap();
        nodes.forget(a, 1);
        assert_eq!(path(&nodes, b).unwrap(), "a/b");
        nodes.forget(b, 1);
        assert_eq!(nodes.len(), 0);
    }

    #[test]
    fn names_go_nowhere_else() {
        for bad in [&b""[..], b".", b"..", b"/", b"a/b", b"../x", b"a\0", &[b'x'; 256]] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
        assert!(Name::new(b"...").is_ok());
    }

    fn states() -> impl Strategy<Value = NodesState> {
        let node = (proptest::option::of((0u64..8, "[ab]")), 0u64..3).prop_map(|(place, lookups)| Node {
            place: place.map(|(parent, name)| Place { parent, name: name.into_bytes() }),
            inode: None,
            lookups,
            children: 0,
        });
        (proptest::collection::vec((2u64..8, node), 0..6), 2u64..9)
            .prop_map(|(nodes, next)| NodesState { nodes, next })
    }

    proptest! {
        /// Whatever a state says, what is accepted has an end to every way up, and can be used.
        #[test]
        fn states_are_woken_or_refused(state in states()) {
            if let Ok(mut nodes) = state.wake() {
                for number in 2..9 {
                    let _ = nodes.path(number);
                }
                nodes.len();
                let _ = nodes.found(ROOT, name("a"), 7);
                nodes.renamed((ROOT, name("a")), (2, name("b")), false);
                (2..9).for_each(|number| nodes.forget(number, u64::MAX));
                prop_assert_eq!(nodes.len(), 0);
            }
        }

        /// Any sequence of what a guest can bring about: the maps stay one, and all goes when the guest forgets.
        #[test]
        fn anything_may_happen(steps in proptest::collection::vec((0u8..5, 1u64..9, 1u64..9, 0u8..3, 0u8..3), 0..80)) {
            let mut nodes = Nodes::default();
            let names = ["a", "b", "c"];
            for (step, one, other, first, second) in steps {
                let (first, second) = (name(names[usize::from(first)]), name(names[usize::from(second)]));
                match step {
                    0 | 1 => drop(nodes.found(one, first, other)),
                    2 => nodes.forget(one, other),
                    3 => nodes.removed(one, first),
                    _ => nodes.renamed((one, first), (other, second), one % 2 == 0),
                }
                nodes.len();
                let mut state = nodes.state();
                let woken = state.clone().wake().map(|woken| woken.state());
                state.nodes.iter_mut().for_each(|(_, node)| node.inode = None);
                prop_assert_eq!(woken, Ok(state));
            }
            (2..99).for_each(|number| nodes.forget(number, u64::MAX));
            prop_assert_eq!(nodes.len(), 0);
        }
    }
}
