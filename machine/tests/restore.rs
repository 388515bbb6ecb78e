//! A running guest is paused, saved, and goes on in another machine.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base::RamOffset;
use interpret::Interpreter;
use ringfence_machine::{Images, Outcome, Vm, VmConfig, Wires};

/// A multiboot guest that echoes COM1 with interrupts off, counting in EBX, and leaves with EBX at `q`.
///
/// ```text
///   xor ebx, ebx; mov dx, 3fdh
/// 1: in al, dx; test al, 1; jz 1b
///   mov dx, 3f8h; in al, dx; out dx, al; inc ebx; mov dx, 3fdh; cmp al, 'q'; jne 1b
///   mov eax, ebx; out 0f4h, al; hlt
/// ```
const ECHO: [u8; 31] = [
    0x31, 0xdb, 0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, 0x66, 0xba, 0xf8, 0x03, 0xec, 0xee,
    0x43, 0x66, 0xba, 0xfd, 0x03, 0x3c, b'q', 0x75, 0xec, 0x89, 0xd8, 0xe6, 0xf4, 0xf4,
];

fn kernel() -> Arc<[u8]> {
    let words = [0x1bad_b002, 0x1_0000, 0xe451_4ffe_u32, 0x10_0000, 0x10_0000, 0, 0, 0x10_0020];
    let header = words.iter().flat_map(|word| word.to_le_bytes());
    header.chain(ECHO).collect::<Vec<_>>().into()
}

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Output {
    fn wait_for(&self, wanted: &[u8]) {
        let start = Instant::now();
        while *self.0.lock().unwrap() != wanted {
            assert!(start.elapsed() < Duration::from_secs(60), "got {:?}", self.0.lock().unwrap());
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn machine() -> (Arc<Vm>, Output) {
    let output = Output::default();
    let wires = Wires { consoles: [Some(Box::new(output.clone())), None, None, None], ..Wires::default() };
    let config = VmConfig { memory: 2 << 20, ..VmConfig::default() };
    let images = Images { kernel: kernel(), ..Images::default() };
    (Arc::new(Vm::new(config, images, wires, &Interpreter).unwrap()), output)
}

#[test]
fn a_guest_goes_on_in_another_machine() {
    let (vm, output) = machine();
    let runner = std::thread::spawn({
        let vm = vm.clone();
        move || vm.run()
    });
    vm.console_input(0).unwrap().send_all(b"abc");
    output.wait_for(b"abc");
    vm.pause().unwrap();
    // What arrives while it stands belongs to this machine's host, not to its state.
    vm.console_input(0).unwrap().send_all(b"zq");
    let state = vm.save().unwrap();
    let mut ram = vec![0; vm.memory().size() as usize];
    vm.memory().read_at(RamOffset(0), &mut ram);

    let (other, other_output) = machine();
    other.memory().write_at(RamOffset(0), &ram);
    other.restore(&state).unwrap();
    other.console_input(0).unwrap().send_all(b"de!q");
    assert!(matches!(other.run(), Ok(Outcome::DebugExit(code)) if code == 7 << 1 | 1));
    other_output.wait_for(b"de!q");
    assert!(other.time() > state.board.time);

    vm.resume().unwrap();
    assert!(matches!(runner.join().unwrap(), Ok(Outcome::DebugExit(code)) if code == 5 << 1 | 1));
    output.wait_for(b"abczq");
}
