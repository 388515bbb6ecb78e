//! Sorting, by a quicksort that branches on data, a heapsort that jumps about, and the library's.

use std::collections::BinaryHeap;

use crate::Scale;
use crate::digest::Digest;
use crate::generate::Generator;
use crate::report::Report;

pub fn run(report: &mut Report, scale: &Scale) {
    let mut generator = Generator::new(7);
    let mut agree = true;
    let mut digest = Digest::new();
    for _ in 0..scale.rounds {
        let numbers: Vec<u64> = (0..100_000).map(|_| generator.next() >> 40).collect();
        let mut quick = numbers.clone();
        quicksort(&mut quick);
        let heap = numbers.iter().copied().collect::<BinaryHeap<u64>>().into_sorted_vec();
        let mut library = numbers;
        library.sort_unstable();
        agree &= quick == library && heap == library;
        for number in quick {
            digest.number(number);
        }
    }
    report.value("sorted numbers", digest);
    report.check("three ways to sort agree", agree);
}

fn quicksort(mut numbers: &mut [u64]) {
    while numbers.len() > 1 {
        let pivot = numbers[numbers.len() / 2];
        let (mut low, mut high) = (0, numbers.len() - 1);
        loop {
            while numbers[low] < pivot {
                low += 1;
            }
            while numbers[high] > pivot {
                high -= 1;
            }
            if low >= high {
                break;
            }
            numbers.swap(low, high);
            low += 1;
            high -= 1;
        }
        // The smaller part by recursion, so that its depth is the logarithm of the length.
        let (left, right) = numbers.split_at_mut(low);
        let (small, large) = if left.len() < right.len() { (left, right) } else { (right, left) };
        quicksort(small);
        numbers = large;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quicksort_sorts() {
        let mut generator = Generator::new(1);
        for length in 0..70 {
            for range in [1, 2, 5, 1000] {
                let mut numbers: Vec<u64> = (0..length).map(|_| generator.next() % range).collect();
                let mut sorted = numbers.clone();
                sorted.sort_unstable();
                quicksort(&mut numbers);
                assert_eq!(numbers, sorted);
            }
        }
    }
}
