//! What every front must stand, through the transport, from a driver that does as it likes.

mod balloon;
mod cable;
mod console;
mod disk;
mod driver;
mod fronts;
mod hostile;
mod interface;
mod master;
mod negotiation;
mod requests;
mod rng;
mod saved;
mod share;
mod socket;
