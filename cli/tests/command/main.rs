//! The command as a user meets it, where no guest with a user space is needed.

mod disks;
mod errors;
mod host;
mod images;
mod manual;
mod offline;
mod support;
mod terminal;
