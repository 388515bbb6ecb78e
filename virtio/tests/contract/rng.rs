//! Random numbers.

use ringfence_virtio::Rng;

use crate::driver::*;

const DATA: u64 = 0x20_0000;

#[test]
fn buffers_are_filled_with_numbers_that_differ() {
    let driver = Driver::new(Box::new(Rng::default()));
    driver.start(0, 8);
    for n in 0..2 {
        driver.chain(0, 2 * n, &[(DATA + 0x1000 * u64::from(n), 16, WRITE), (DATA + 0x800, 16, WRITE)]);
        driver.offer(0, 8, 2 * n);
    }
    driver.kick(0);
    driver.await_used(0, 2);
    assert_eq!([driver.used(0, 8, 0), driver.used(0, 8, 1)], [(0, 32), (2, 32)]);
    let [first, second] = [DATA, DATA + 0x1000].map(|at| driver.get::<16>(at));
    assert!(first != [0; 16] && first != second);
    assert_eq!(driver.get::<16>(DATA + 16), [0; 16], "nothing beyond");
}

#[test]
fn a_greedy_request_is_cut_short_and_an_empty_one_is_a_mistake() {
    let driver = Driver::new(Box::new(Rng::default()));
    driver.start(0, 8);
    driver.chain(0, 0, &[(DATA, 1 << 20, WRITE)]);
    driver.offer(0, 8, 0);
    driver.kick(0);
    driver.await_used(0, 1);
    assert_eq!(driver.used(0, 8, 0), (0, 64 << 10));
    driver.chain(0, 0, &[(DATA, 64, 0)]);
    driver.offer(0, 8, 0);
    driver.kick(0);
    driver.await_mistake();
}
