//! What the stories are written with.
//!
//! A *story* is what a user does with the `ringfence` command, and what must come of it. It knows nothing of our
//! crates' insides: it runs the program as it was built, and looks at its output and its exit status.
//!
//! ```text
//! Story ── for each Engine of its Scope ──► Stage ──run──► Ringfence (the process, with a time limit) ──► Ended
//!                                                 └─native─► the same script on the host, by the same busybox
//! ```
//!
//! Where somebody must reach into a running machine, it runs in our own process ([`Live`]).
//!
//! The engine is a parameter: whatever one passes, all pass ([`Engine::ALL`] is the table). Where a story is told is said
//! where it is declared, by its [`Scope`]; how long it is on a row, by [`Stage::length`].
//!
//! Stories never judge by time. Limits are there so that a machine that hangs is a failure and not the end of
//! the whole suite, and are generous, since they must hold on a busy host as well.

mod ended;
mod engine;
mod host;
mod live;
mod native;
mod peak;
mod program;
mod ringfence;
mod stage;
mod story;
mod times;

pub use ended::Ended;
pub use engine::Engine;
pub use host::Holdings;
pub use live::Live;
pub use native::Native;
pub use peak::Peak;
pub use ringfence::{Ringfence, Running};
pub use stage::Stage;
pub use story::{Scope, Story};
pub use times::Times;
