//! What a client asks for.

use serde::{Deserialize, Serialize};

use crate::Word;

/// A terminal's size, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A command to be run in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Exec {
    /// Program and arguments; at least the program.
    pub argv: Vec<Word>,
    /// Variables beside the agent's own, each with its value.
    #[serde(default)]
    pub env: Vec<(Word, Word)>,
    /// The directory to run in; that of the agent's `HOME` unless given.
    #[serde(default)]
    pub directory: Option<Word>,
    /// A terminal of this size, or three pipes.
    #[serde(default)]
    pub terminal: Option<WindowSize>,
}

/// A request. Each is answered by one [`crate::Reply`], in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What is there to know? Answered by [`crate::Reply::Info`].
    Info {},
    /// Asks the guest to go off: through its agent, else by the power button.
    Stop {
        /// Presses the power button, even where there is an agent.
        #[serde(default)]
        button: bool,
    },
    /// Ends the machine at once, as if its plug were pulled.
    Kill {},
    /// Makes it stand.
    Pause {},
    /// Lets it go on.
    Resume {},
    /// Gives it a disk. Answered by [`crate::Reply::Attached`].
    AttachDisk {
        /// The disk as `ringfence run --disk` takes it. Its path must be absolute: the machine's process has a directory
        /// of its own.
        disk: String,
    },
    /// Gives it a network interface. Answered by [`crate::Reply::Attached`].
    AttachNet {
        /// The network as `ringfence run --net` takes it.
        net: String,
    },
    /// Asks the guest to let go of a device, and waits for it.
    Detach {
        /// Which.
        id: String,
        /// For so many milliseconds.
        wait: u64,
    },
    /// Asks the guest for memory, by its balloon.
    Balloon {
        /// How many bytes it shall have given, in all.
        bytes: u64,
    },
    /// Runs a command. After [`crate::Reply::Streaming`] come [`crate::ToCommand`] and [`crate::FromCommand`].
    Exec(Exec),
    /// Connects to the console, the first serial port. After [`crate::Reply::Streaming`] come [`crate::ToConsole`] and
    /// [`crate::FromConsole`].
    Console {},
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_as_they_are_written() {
        let read = |text: &str| serde_json::from_str::<Request>(text);
        assert_eq!(read(r#"{"command":"info"}"#).unwrap(), Request::Info {});
        assert_eq!(read(r#"{"command":"stop"}"#).unwrap(), Request::Stop { button: false });
        let exec = read(r#"{"command":"exec","argv":["sh","-c",{"base64":"/w=="}]}"#).unwrap();
        let Request::Exec(Exec { argv, env, directory: None, terminal: None }) = exec else { panic!() };
        assert_eq!((argv.len(), env.len()), (3, 0));
    }

    #[test]
    fn what_is_no_request() {
        for text in [
            "{}",
            "[]",
            r#"{"command":"fly"}"#,
            r#"{"command":"info","more":1}"#,
            r#"{"command":"stop","buton":true}"#,
            r#"{"command":"detach","id":"disk0"}"#,
            r#"{"command":"detach","id":"disk0","wait":-1}"#,
            r#"{"command":"exec","argv":["x"],"shell":true}"#,
        ] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}
