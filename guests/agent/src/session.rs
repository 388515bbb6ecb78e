//! What a session is started with.

use std::ffi::CString;

use crate::body::Body;

/// The host's name for one running command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub cols: u16,
}

impl WindowSize {
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&self.cols.to_le_bytes());
    }

    pub(crate) fn read(body: &mut Body<'_>) -> Option<Self> {
        Some(Self { rows: body.u16()?, cols: body.u16()? })
    }
}

/// One variable that a command's environment has beside or instead of the agent's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name: not empty, without `=` (the agent ends a conversation that breaks this).
    pub name: CString,
    /// Its value.
    pub value: CString,
}

/// A command to run: NUL-free strings, as `execve` takes them, in whatever encoding the guest likes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program, looked up in `PATH` where it has no slash, and its arguments. An empty list is a
    /// malformed message.
    pub argv: Vec<CString>,
    /// Additions to the agent's own `PATH`, `HOME`, `TERM` and `USER`.
    pub env: Vec<Variable>,
    /// The directory to run in; empty is the agent's `HOME`.
    pub cwd: CString,
    /// A terminal of this size, or `None` for three pipes.
    pub tty: Option<WindowSize>,
}

impl Command {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.tty.is_some()));
        self.tty.unwrap_or(WindowSize { rows: 0, cols: 0 }).write(out);
        out.extend_from_slice(self.cwd.as_bytes_with_nul());
        count(out, self.argv.len());
        for argument in &self.argv {
            out.extend_from_slice(argument.as_bytes_with_nul());
        }
        count(out, self.env.len());
        for Variable { name, value } in &self.env {
            out.extend_from_slice(name.as_bytes_with_nul());
            out.extend_from_slice(value.as_bytes_with_nul());
        }
    }

    pub(crate) fn read(body: &mut Body<'_>) -> Option<Self> {
        let has_tty = match body.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let size = WindowSize::read(body)?;
        let command = Self {
            tty: has_tty.then_some(size),
            cwd: body.string()?,
            argv: body.list(Body::string)?,
            env: body.list(|body| {
                let variable = Variable { name: body.string()?, value: body.string()? };
                let name = variable.name.as_bytes();
                (!name.is_empty() && !name.contains(&b'=')).then_some(variable)
            })?,
        };
        (!command.argv.is_empty()).then_some(command)
    }
}

/// A list's length. One beyond 16 bits takes more bytes than a frame can have, so clamping it loses nothing:
/// the frame is refused as too long in any case.
fn count(out: &mut Vec<u8>, length: usize) {
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_le_bytes());
}
