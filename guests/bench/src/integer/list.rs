//! Linked lists whose nodes lie about: find, reverse, merge sort.

use std::io;

use crate::digest::Digest;
use crate::random::Random;
use crate::workload::Round;

/// Nodes of the list.
const LENGTH: usize = 4000;
/// The end of a list.
const END: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Node {
    next: u32,
    key: u32,
}

struct List {
    nodes: Vec<Node>,
    first: u32,
}

impl List {
    /// Keys and places at random.
    fn new(length: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut order: Vec<u32> = (0..length as u32).collect();
        random.shuffle(&mut order);
        let mut nodes = vec![Node { next: END, key: 0 }; length];
        for (at, &place) in order.iter().enumerate() {
            let next = order.get(at + 1).copied().unwrap_or(END);
            nodes[place as usize] = Node { next, key: random.number() as u32 % 10_000 };
        }
        Self { nodes, first: order.first().copied().unwrap_or(END) }
    }

    fn find(&self, key: u32) -> Option<u32> {
        let mut at = self.first;
        while at != END {
            let node = self.nodes[at as usize];
            if node.key == key {
                return Some(at);
            }
            at = node.next;
        }
        None
    }

    fn reverse(&mut self) {
        let (mut at, mut before) = (self.first, END);
        while at != END {
            let next = std::mem::replace(&mut self.nodes[at as usize].next, before);
            (before, at) = (at, next);
        }
        self.first = before;
    }

    fn sort(&mut self) {
        self.first = self.sorted(self.first, self.nodes.len());
    }

    /// Sorts `length` nodes from `first`, stably; gives the new first.
    fn sorted(&mut self, first: u32, length: usize) -> u32 {
        if length <= 1 {
            if first != END {
                self.nodes[first as usize].next = END;
            }
            return first;
        }
        let half = length / 2;
        let mut middle = first;
        for _ in 0..half {
            middle = self.nodes[middle as usize].next;
        }
        let (left, right) = (self.sorted(first, half), self.sorted(middle, length - half));
        self.merge(left, right)
    }

    fn merge(&mut self, mut left: u32, mut right: u32) -> u32 {
        let (mut first, mut last) = (END, END);
        while left != END || right != END {
            let from_left = right == END
                || left != END && self.nodes[left as usize].key <= self.nodes[right as usize].key;
            let side = if from_left { &mut left } else { &mut right };
            let taken = std::mem::replace(side, self.nodes[*side as usize].next);
            match last {
                END => first = taken,
                last => self.nodes[last as usize].next = taken,
            }
            last = taken;
        }
        first
    }

    fn keys(&self) -> impl Iterator<Item = u32> {
        let place = |at: u32| (at != END).then_some(at);
        std::iter::successors(place(self.first), move |at| place(self.nodes[*at as usize].next))
            .map(|at| self.nodes[at as usize].key)
    }
}

pub fn start() -> io::Result<Round> {
    let fresh = List::new(LENGTH, 11);
    let mut list = List::new(LENGTH, 11);
    Ok(Box::new(move || {
        let mut digest = Digest::default();
        for _ in 0..6 {
            list.nodes.copy_from_slice(&fresh.nodes);
            list.first = fresh.first;
            for key in 0..12 {
                digest.add(list.find(key * 7).map_or(0, u64::from));
                list.reverse();
            }
            list.sort();
            list.keys().for_each(|key| digest.add(u64::from(key)));
        }
        Ok(digest.value())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_sorted_and_reversed_whole() {
        let mut list = List::new(100, 5);
        let mut keys: Vec<u32> = list.keys().collect();
        list.reverse();
        assert!(list.keys().eq(keys.iter().rev().copied()));
        list.sort();
        keys.sort();
        assert!(list.keys().eq(keys.iter().copied()));
        assert!(list.find(keys[50]).is_some_and(|at| list.nodes[at as usize].key == keys[50]));
        assert_eq!(list.find(10_001), None);
    }
}
