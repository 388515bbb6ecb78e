//! Differential checks between engines and the host's own CPU.
