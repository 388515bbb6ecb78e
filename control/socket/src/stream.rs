//! What is said on a connection that is for one thing: a command in the guest, or its console.

use serde::{Deserialize, Serialize};

use crate::{Bytes, WindowSize};

/// From the client to a command.
///
/// Of input at most 8192 bytes may be under way: sent, and not yet [taken](FromCommand::Taken).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToCommand {
    /// Input.
    Input {
        /// At most 4096 bytes.
        bytes: Bytes,
    },
    /// There is no more input.
    EndOfInput {},
    /// The terminal has another size.
    Resize(WindowSize),
    /// A signal for the command's process group, by its number on Linux.
    Signal {
        /// The number.
        number: u8,
    },
    /// So much output was written where it belongs; as much may come again.
    Taken {
        /// Bytes of standard output and standard error together.
        bytes: u32,
    },
}

/// From a command to the client.
///
/// Of output at most 256 KiB are under way: sent, and not yet [taken](ToCommand::Taken).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum FromCommand {
    /// It runs.
    Started {
        /// Its process in the guest.
        pid: u32,
    },
    /// It wrote to its standard output, or its terminal.
    Output {
        /// What.
        bytes: Bytes,
    },
    /// It wrote to its standard error.
    ErrorOutput {
        /// What.
        bytes: Bytes,
    },
    /// It took input; as much may be sent again.
    Taken {
        /// How many bytes.
        bytes: u32,
    },
    /// It ended by itself; the last event.
    Exited {
        /// Its status.
        status: u8,
    },
    /// A signal ended it; the last event.
    Killed {
        /// The signal.
        signal: u8,
    },
    /// It could not be started; the only event.
    Failed {
        /// What a shell would exit with.
        status: u8,
        /// Why, for people. The guest says so.
        message: String,
    },
    /// It is gone with the guest, which went off or started anew; the last event.
    Gone {},
}

/// From the client to the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToConsole {
    /// What is typed.
    Input {
        /// The bytes.
        bytes: Bytes,
    },
}

/// From the console to the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum FromConsole {
    /// What the guest writes; first what it wrote last before.
    Output {
        /// The bytes.
        bytes: Bytes,
    },
    /// The client was too slow, and the guest does not wait for it.
    Lost {
        /// So many bytes are missing here.
        bytes: u64,
    },
}
