//! What every engine must do, and what a future that is dropped leaves.

use super::*;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

/// Each engine there is, with its bell.
fn engines() -> Vec<(Arc<dyn Engine>, Arc<Bell>)> {
    let bell = || Arc::new(Bell::new().unwrap());
    let mut engines: Vec<(Arc<dyn Engine>, Arc<Bell>)> = vec![(Arc::new(Inline), bell())];
    let one = bell();
    engines.push((Arc::new(Pool::new(&one).unwrap()), one));
    let one = bell();
    engines.push((best(&one).unwrap(), one));
    engines
}

fn range(bytes: &mut [u8]) -> Iovecs {
    Iovecs(vec![libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }])
}

#[test]
fn bytes_are_moved() {
    for (engine, _) in engines() {
        let file = tempfile::tempfile().unwrap();
        let fd = file.as_raw_fd();
        let mut bytes = *b"0123456789";
        let mut read = [0; 20];
        // SAFETY: file and arrays outlive the futures, which are run to their ends here.
        let run = |op| block_on(&*engine, unsafe { run(&*engine, op) });
        assert_eq!(run(Op::Write(fd, 5, range(&mut bytes))).unwrap(), 10);
        assert_eq!(run(Op::Read(fd, 0, range(&mut read))).unwrap(), 15, "to the end of the file");
        assert_eq!(&read[..15], b"\0\0\0\0\x000123456789");
        assert_eq!(run(Op::Read(fd, 99, range(&mut read))).unwrap(), 0);
        assert_eq!(run(Op::Sync(fd)).unwrap(), 0);
        let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        assert_eq!(run(Op::Allocate(fd, hole, 6, 2)).unwrap(), 0);
        file.read_exact_at(&mut read[..10], 5).unwrap();
        assert_eq!(&read[..10], b"0\0\x003456789");
    }
}

#[test]
fn failures_have_their_number() {
    for (engine, _) in engines() {
        let read_only = std::fs::File::open("/dev/null").unwrap();
        let mut bytes = [0; 4];
        // SAFETY: as above.
        let run = |op| block_on(&*engine, unsafe { run(&*engine, op) });
        let error = run(Op::Write(read_only.as_raw_fd(), 0, range(&mut bytes))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{engine:?}");
        let error = run(Op::Allocate(read_only.as_raw_fd(), 0, 0, 0)).unwrap_err();
        assert!(error.raw_os_error().is_some());
    }
}

/// More at once than a queue holds; all are done, and the bell says so.
#[test]
fn many_are_under_way() {
    for (engine, bell) in engines() {
        let file = tempfile::tempfile().unwrap();
        let mut bytes: Vec<[u8; 8]> = (0..1000u64).map(u64::to_le_bytes).collect();
        let futures: Vec<_> = (0..)
            .zip(&mut bytes)
            // SAFETY: file and bytes outlive the futures.
            .map(|(n, bytes)| unsafe { run(&*engine, Op::Write(file.as_raw_fd(), n * 8, range(bytes))) })
            .collect();
        let all = futures::future::join_all(futures);
        let results = block_on(&*engine, all);
        assert!(results.into_iter().all(|result| result.unwrap() == 8));
        assert!(bell.answer() || engine.name() == "inline");
        let mut read = vec![0; 8000];
        file.read_exact_at(&mut read, 0).unwrap();
        assert!(read.chunks(8).zip(0u64..).all(|(bytes, n)| bytes == n.to_le_bytes()));
    }
}

/// Who drops a future may use the memory again at once.
#[test]
fn a_dropped_future_leaves_nothing_under_way() {
    for (engine, _) in engines() {
        let (reader, writer) = io::pipe().unwrap();
        let mut bytes = [0; 4];
        // SAFETY: pipe and bytes outlive the future.
        let pending = unsafe { run(&*engine, Op::Write(writer.as_raw_fd(), 0, range(&mut bytes))) };
        drop(pending);
        bytes.fill(1);
        drop(writer);
        let mut read = Vec::new();
        io::Read::read_to_end(&mut { reader }, &mut read).unwrap();
        assert!(read.is_empty() || read == [0; 4], "{engine:?} wrote {read:?}");
    }
}
