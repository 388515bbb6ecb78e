//! Pulling images, end to end, with the host's own apt.

mod from_distribution;
mod from_mirror;
mod support;
