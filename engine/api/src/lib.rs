//! The seam between a machine and whatever executes guest instructions.
