//! Addresses, guest memory, saved state and virtual time.
