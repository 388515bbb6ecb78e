//! Time: it does not go back, sleeps are as long as asked, and timers come. Only PASS and FAIL, as no two
//! runs take the same time.

#![allow(unsafe_code)] // RDTSC

use std::arch::x86_64::_rdtsc;
use std::io;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, ClockNanosleepFlags, clock_getres, clock_gettime, clock_nanosleep};

use crate::Scale;
use crate::report::Report;

/// A sleep may take so much longer before something is wrong; a busy host or a slow engine takes its share.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn run(report: &mut Report, scale: &Scale) -> io::Result<()> {
    let clocks = [
        ("monotonic", ClockId::CLOCK_MONOTONIC),
        ("monotonic raw", ClockId::CLOCK_MONOTONIC_RAW),
        ("monotonic coarse", ClockId::CLOCK_MONOTONIC_COARSE),
        ("boot time", ClockId::CLOCK_BOOTTIME),
        ("process time", ClockId::CLOCK_PROCESS_CPUTIME_ID),
        ("thread time", ClockId::CLOCK_THREAD_CPUTIME_ID),
    ];
    for (name, clock) in clocks {
        report.check(
            &format!("{name} never goes back"),
            forward(|| nanoseconds(clock), 20_000 * scale.rounds)?,
        );
        let resolution = clock_getres(clock)?;
        report.check(&format!("{name} has a resolution"), resolution > TimeSpec::new(0, 0));
    }
    // SAFETY: RDTSC reads a counter.
    let counter = forward(|| Ok(unsafe { _rdtsc() }.cast_signed()), 100_000 * scale.rounds)?;
    report.check("the counter never goes back", counter);
    report.check("system call and vDSO agree", system_call_agrees()?);
    report.check("no thread is ahead of another", between_threads(5000 * scale.rounds)?);
    report.check("process time passes with work", work_takes_time()?);
    sleeps(report)?;
    timers(report)?;
    report.check("the counter and the clock keep step", rates_agree());
    Ok(())
}

fn nanoseconds(clock: ClockId) -> io::Result<i64> {
    let now = clock_gettime(clock)?;
    Ok(now.tv_sec() * 1_000_000_000 + now.tv_nsec())
}

/// Whether many readings in a row never fall.
fn forward(mut read: impl FnMut() -> io::Result<i64>, count: u32) -> io::Result<bool> {
    let mut last = read()?;
    for _ in 0..count {
        let now = read()?;
        if now < last {
            return Ok(false);
        }
        last = now;
    }
    Ok(true)
}

/// Readings by the C library (the vDSO, where it is used) and by the kernel, in turns.
fn system_call_agrees() -> io::Result<bool> {
    let mut turn = false;
    let read = || {
        turn = !turn;
        if turn {
            return nanoseconds(ClockId::CLOCK_MONOTONIC);
        }
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes one timespec through the pointer.
        if unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut now) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(now.tv_sec * 1_000_000_000 + now.tv_nsec)
    };
    forward(read, 5000)
}

/// Threads take readings under a lock, so that each is after the one before, whichever processor it was on.
fn between_threads(count: u32) -> io::Result<bool> {
    let last = Mutex::new((0, true));
    let step = || -> io::Result<()> {
        for _ in 0..count {
            if let Ok(mut last) = last.lock() {
                let now = nanoseconds(ClockId::CLOCK_MONOTONIC)?;
                last.1 &= now >= last.0;
                last.0 = now;
            }
        }
        Ok(())
    };
    let results = thread::scope(|scope| {
        let threads = [scope.spawn(step), scope.spawn(step), scope.spawn(step)];
        threads.map(|thread| thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into())))
    });
    for result in results {
        result?;
    }
    Ok(last.into_inner().is_ok_and(|last| last.1))
}

fn work_takes_time() -> io::Result<bool> {
    let start = Instant::now();
    let before = nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    // Until the kernel has noticed, whose accounting may go by its ticks.
    while nanoseconds(ClockId::CLOCK_PROCESS_CPUTIME_ID)? <= before {
        if start.elapsed() > PATIENCE {
            return Ok(false);
        }
    }
    Ok(true)
}

fn in_bounds(start: Instant, asked: Duration) -> bool {
    let took = start.elapsed();
    took >= asked && took < asked + PATIENCE
}

fn sleeps(report: &mut Report) -> io::Result<()> {
    for milliseconds in [1, 10, 50] {
        let asked = Duration::from_millis(milliseconds);
        let start = Instant::now();
        thread::sleep(asked);
        report.check(&format!("sleep of {milliseconds} ms"), in_bounds(start, asked));
    }
    let start = Instant::now();
    let until = clock_gettime(ClockId::CLOCK_MONOTONIC)? + TimeSpec::new(0, 15_000_000);
    clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &until)?;
    let late = clock_gettime(ClockId::CLOCK_MONOTONIC)? >= until;
    report.check("sleep until a time", late && in_bounds(start, Duration::from_millis(15)));
    let (reader, _writer) = io::pipe()?;
    let start = Instant::now();
    let ready = poll(&mut [PollFd::new(reader.as_fd(), PollFlags::POLLIN)], PollTimeout::from(20_u8))?;
    report.check("poll in vain", ready == 0 && in_bounds(start, Duration::from_millis(20)));
    Ok(())
}

fn timers(report: &mut Report) -> io::Result<()> {
    let timer = TimerFd::new(TimerClock::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
    let period = Duration::from_millis(5);
    let start = Instant::now();
    timer.set(Expiration::Interval(TimeSpec::from(period)), TimerSetTimeFlags::empty())?;
    let mut count = 0;
    while count < 10 {
        let mut expired = [0; 8];
        nix::unistd::read(timer.as_fd(), &mut expired)?;
        count += u64::from_ne_bytes(expired);
    }
    // Ten or more periods have passed, and not more than there were expirations.
    let took = start.elapsed();
    let periods = u128::from(count) * period.as_nanos();
    report.check("periodic timer", took.as_nanos() >= periods && took < PATIENCE);
    Ok(())
}

/// The counter's rate, measured over two spans, is the same within a few per cent: virtual time and the
/// virtual counter run alike. A span in which the process was off the processor between two readings is
/// measured again.
fn rates_agree() -> bool {
    let rate = || {
        let read = || loop {
            let before = Instant::now();
            // SAFETY: RDTSC reads a counter.
            let counter = unsafe { _rdtsc() };
            if before.elapsed() < Duration::from_millis(1) {
                return (before, counter);
            }
        };
        let (start, from) = read();
        thread::sleep(Duration::from_millis(60));
        let (end, to) = read();
        to.wrapping_sub(from) as f64 / (end - start).as_nanos() as f64
    };
    let (first, second) = (rate(), rate());
    first > 0.0 && (first / second - 1.0).abs() < 0.1
}
