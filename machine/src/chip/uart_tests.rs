//! The UART against its data sheet and against what Linux probes.

use super::*;

/// FIFOs on, trigger at 8, interrupts as given, lines up.
fn uart(ier: u8) -> Uart {
    let mut uart = Uart::default();
    uart.write(2, 0x81, 0);
    uart.write(4, 0x0b, 0);
    uart.write(1, ier, 0);
    uart
}

fn drain(uart: &mut Uart) -> Vec<u8> {
    let mut out = Vec::new();
    uart.take_output(&mut out);
    out
}

#[test]
fn output_comes_out_in_one_piece() {
    let mut uart = uart(0);
    for &byte in b"hello" {
        assert_eq!(uart.read(5, 0) & LSR_EMPTY, LSR_EMPTY);
        uart.write(0, byte, 0);
    }
    assert_eq!(drain(&mut uart), b"hello");
}

#[test]
fn a_host_that_does_not_read_stops_the_guest_and_loses_nothing() {
    let mut uart = uart(IER_EMPTY);
    let mut sent = 0;
    while uart.read(5, 0) & 0x20 != 0 {
        uart.write(0, sent as u8, 0);
        sent += 1;
        assert!(sent <= OUTPUT_CAPACITY + FIFO);
    }
    assert_eq!((sent, uart.output()), (OUTPUT_CAPACITY + 1, Output::Low));
    for _ in 0..100 {
        uart.write(0, 0xee, 0); // a guest that does not wait
    }
    let bytes = drain(&mut uart);
    assert_eq!(bytes.len(), OUTPUT_CAPACITY + FIFO);
    assert!(bytes[..sent].iter().enumerate().all(|(index, byte)| *byte == index as u8));
    assert_eq!((uart.output(), uart.read(5, 0) & 0x60), (Output::High, 0x60));
    assert_eq!(drain(&mut uart), b"");
}

#[test]
fn transmitter_empty_is_reported_as_the_linux_driver_tests_it() {
    let mut uart = uart(0);
    uart.write(1, IER_EMPTY, 0);
    assert_eq!(uart.read(2, 0), IIR_FIFO | IIR_EMPTY);
    assert_eq!(uart.read(2, 0), IIR_FIFO | IIR_NONE, "reading IIR clears it");
    uart.write(1, 0, 0);
    uart.write(1, IER_EMPTY, 0);
    assert_eq!(uart.read(2, 0) & 0xf, IIR_EMPTY, "enabling it anew reports it again");
    uart.write(0, b'x', 0);
    assert_eq!((uart.output(), uart.read(2, 0) & 0xf), (Output::High, IIR_EMPTY));
}

#[test]
fn the_receiver_interrupts_at_its_trigger_or_after_four_characters() {
    let mut uart = uart(IER_RECEIVED);
    assert_eq!(uart.receive(b"abc", 1000), 3);
    assert_eq!((uart.output(), uart.read(5, 0) & 1), (Output::Low, 1));
    let timeout = uart.deadline().unwrap();
    uart.advance(timeout);
    assert_eq!((uart.output(), uart.read(2, 0)), (Output::High, IIR_FIFO | IIR_TIMEOUT));
    assert_eq!((uart.read(0, timeout), uart.output()), (b'a', Output::Low), "a read restarts the time-out");
    uart.receive(b"defghi", timeout);
    assert_eq!(uart.read(2, 0), IIR_FIFO | IIR_RECEIVED);
    assert_eq!(uart.receive(&[0; 100], timeout), 8, "no more than there is room for");
    assert_eq!(uart.room(), 0);
    let text: Vec<_> = (0..8).map(|_| uart.read(0, timeout)).collect();
    assert_eq!(text, b"bcdefghi");
}

#[test]
fn without_fifos_it_is_a_16450() {
    let mut uart = uart(IER_RECEIVED);
    uart.write(2, 0, 0);
    assert_eq!((uart.room(), uart.read(2, 0)), (1, IIR_NONE));
    assert_eq!(uart.receive(b"ab", 0), 1);
    assert_eq!((uart.read(2, 0), uart.deadline()), (IIR_RECEIVED, None));
}

#[test]
fn linux_autoconfiguration_finds_a_16550a() {
    let mut uart = Uart::default();
    // autoconfig(): IER holds four bits, the loop returns the modem lines.
    uart.write(1, 0, 0);
    assert_eq!(uart.read(1, 0) & 0xf, 0);
    uart.write(1, 0xf, 0);
    assert_eq!(uart.read(1, 0), 0xf);
    uart.write(1, 0x4f, 0);
    assert_eq!(uart.read(1, 0) & 0x40, 0, "no XScale bit");
    uart.write(1, 0, 0);
    uart.write(4, MCR_LOOP | 0x0a, 0);
    assert_eq!(uart.read(6, 0) & 0xf0, 0x90);
    uart.write(4, 0, 0);
    uart.write(3, 0xbf, 0);
    uart.write(2, 0, 0);
    uart.write(3, 0, 0);
    uart.write(2, 1, 0);
    assert_eq!(uart.read(2, 0) >> 6, 3);
    // No 64-byte FIFO of a 16750.
    uart.write(2, 0x21, 0);
    assert_eq!(uart.read(2, 0) >> 5, 6);
    uart.write(3, 0x80, 0);
    uart.write(2, 0x21, 0);
    assert_eq!(uart.read(2, 0) >> 5, 6);
}

#[test]
fn the_loop_returns_bytes_and_lines() {
    let mut uart = uart(0xf);
    uart.read(6, 0);
    uart.write(4, MCR_LOOP | 0x0f, 0);
    assert_eq!(uart.output(), Output::Low, "OUT2 does not reach the line");
    assert_eq!(uart.read(6, 0), 0xf0, "RI rose, which is no event");
    uart.write(4, MCR_LOOP, 0);
    assert_eq!(uart.read(6, 0), 0x0f, "all four fell");
    for byte in 0..17 {
        uart.write(0, byte, 0);
    }
    assert_eq!((uart.room(), uart.output_len()), (0, 0));
    assert_eq!(uart.read(2, 0) & 0xf, IIR_LINE);
    assert_eq!(uart.read(5, 0) & 0x1f, LSR_READY | LSR_OVERRUN);
    assert_eq!(uart.read(5, 0) & 0x1f, LSR_READY, "reading clears the error");
    assert_eq!((uart.read(0, 0), uart.read(0, 0)), (0, 1));
    uart.write(3, LCR_BREAK, 0);
    assert_eq!(uart.read(5, 0) & LSR_BREAK, LSR_BREAK);
}

#[test]
fn fifo_resets_empty_the_fifos() {
    let mut uart = uart(IER_RECEIVED);
    uart.receive(b"abcdefghij", 0);
    uart.write(2, 0x83, 0);
    assert_eq!((uart.room(), uart.output(), uart.read(0, 0)), (16, Output::Low, 0));
}

#[test]
fn the_divisor_stands_behind_dlab() {
    let mut uart = uart(IER_RECEIVED);
    uart.write(3, 0x83, 0);
    uart.write(0, 1, 0);
    uart.write(1, 0, 0);
    assert_eq!((uart.read(0, 0), uart.read(1, 0)), (1, 0));
    uart.write(3, 3, 0);
    assert_eq!(uart.read(1, 0), IER_RECEIVED);
    assert_eq!(uart.timeout(), 4 * 10 * 16 * 1_000_000_000 / 1_843_200, "115200 8N1");
    uart.write(7, 0x5a, 0);
    assert_eq!(uart.read(7, 0), 0x5a);
}

#[test]
fn the_state_round_trips_and_nonsense_is_refused() {
    let mut uart = uart(7);
    uart.receive(b"in", 77);
    for &byte in b"out" {
        uart.write(0, byte, 80);
    }
    let mut copy = Uart::default();
    copy.restore_record(&uart.to_record()).unwrap();
    assert_eq!(copy.save(), uart.save());
    assert_eq!(drain(&mut copy), b"out");
    let spoil = |change: fn(&mut UartState)| {
        let mut state = uart.save();
        change(&mut state);
        Uart::default().restore(state).is_err()
    };
    assert!(spoil(|state| state.received = vec![0; 17]));
    assert!(spoil(|state| state.trigger = 3));
    assert!(spoil(|state| state.ier = 0x10));
    assert!(spoil(|state| state.output = vec![0; 1 << 20]));
}
