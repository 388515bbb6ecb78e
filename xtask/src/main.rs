//! The developers’ door.
fn main() {}
