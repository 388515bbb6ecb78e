//! The x86-64 architecture as data.
