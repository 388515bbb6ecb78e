//! What an examination of one thing gives.

use std::fmt;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// How it stands with one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// As one would wish.
    Good,
    /// There, with a limit.
    Limited,
    /// Not there.
    Missing,
}

/// One thing about this host.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// A word for scripts.
    pub id: &'static str,
    /// A word for people.
    pub name: &'static str,
    /// How it stands.
    pub status: Status,
    /// What is there.
    pub found: String,
    /// What that means for the user: a sentence.
    pub meaning: String,
    /// What to do, if there is something.
    pub advice: Option<String>,
}

impl Finding {
    /// Good: this is there, and means that.
    pub fn good(
        id: &'static str,
        name: &'static str,
        found: impl Into<String>,
        meaning: impl Into<String>,
    ) -> Self {
        Self { id, name, status: Status::Good, found: found.into(), meaning: meaning.into(), advice: None }
    }

    /// Not as good, and what to do about it.
    pub fn but(self, status: Status, advice: impl Into<String>) -> Self {
        Self { status, advice: Some(advice.into()), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, colour) = match self.status {
            Status::Good => ("good", AnsiColor::Green),
            Status::Limited => ("limited", AnsiColor::Yellow),
            Status::Missing => ("missing", AnsiColor::Red),
        };
        let style = Style::new().bold().fg_color(Some(colour.into()));
        writeln!(f, "{:<18} {style}{word:<8}{style:#} {}", self.name, self.found)?;
        writeln!(f, "{:<28}{}", "", self.meaning)?;
        if let Some(advice) = &self.advice {
            writeln!(f, "{:<28}To do: {advice}", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let finding = Finding::good("tun", "TUN", "no device", "No taps.").but(Status::Missing, "load it");
        let text = anstream::adapter::strip_str(&finding.to_string()).to_string();
        let indent = " ".repeat(28);
        assert_eq!(
            text,
            format!("TUN                missing  no device\n{indent}No taps.\n{indent}To do: load it\n")
        );
        let json = serde_json::to_value(&finding).unwrap();
        assert_eq!((&json["status"], &json["advice"]), (&"missing".into(), &"load it".into()));
    }
}
