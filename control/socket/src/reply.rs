//! What a server says.

use serde::{Deserialize, Serialize};

use crate::Facts;

/// The first line of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The version of Ringfence, for people.
    pub ringfence: String,
    /// The [version of the protocol](crate::PROTOCOL).
    pub protocol: u32,
}

/// What kind of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The request is not of the protocol; the connection ends.
    Malformed,
    /// There are as many clients as there can be; the connection ends.
    Busy,
    /// What was asked for cannot be, for it is wrong.
    Invalid,
    /// There is no such thing.
    NotFound,
    /// Not with this machine, or not as it is now.
    Unavailable,
    /// The guest has not done its part in time; it still may.
    TimedOut,
    /// The host failed.
    Host,
    /// One that this version does not know.
    #[serde(other)]
    Other,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// What kind, for programs.
    pub kind: ProblemKind,
    /// What happened, for people.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without advice.
    pub fn new(kind: ProblemKind, message: impl ToString) -> Self {
        Self { kind, message: message.to_string(), hint: None }
    }

    /// With advice.
    pub fn hint(self, hint: impl ToString) -> Self {
        Self { hint: Some(hint.to_string()), ..self }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// What there is to know.
    Info(Facts),
    /// It is done, or begun where it takes its time.
    Done,
    /// A device is on the bus.
    Attached {
        /// What `detach` calls it.
        id: String,
    },
    /// From here on the connection is for one thing.
    Streaming,
    /// It was not done.
    Error(Problem),
}

impl From<Result<Reply, Problem>> for Reply {
    fn from(result: Result<Reply, Problem>) -> Self {
        result.unwrap_or_else(Self::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_as_they_are_written() {
        let json = |reply: &Reply| serde_json::to_string(reply).unwrap();
        assert_eq!(json(&Reply::Done), r#"{"reply":"done"}"#);
        let problem = Problem::new(ProblemKind::NotFound, "no device `x`");
        let text = r#"{"reply":"error","kind":"not-found","message":"no device `x`"}"#;
        assert_eq!(json(&Reply::Error(problem)), text);
    }

    #[test]
    fn a_later_servers_words_are_understood_as_far_as_they_go() {
        let text = r#"{"reply":"error","kind":"haunted","message":"boo","since":3}"#;
        let Reply::Error(problem) = serde_json::from_str(text).unwrap() else { panic!() };
        assert_eq!((problem.kind, &problem.message[..]), (ProblemKind::Other, "boo"));
    }
}
