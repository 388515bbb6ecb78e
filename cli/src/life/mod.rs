//! The commands that reach running machines, each through the machine's control socket.

mod console;
mod devices;
mod ps;
mod stop;

use control::{Client, ClientError, Name, ProblemKind, Registry, RegistryError, Request};

use crate::exit::Exit;
use crate::failure::Failure;

pub use console::console;
pub use devices::{attach, detach};
pub use ps::ps;
pub use stop::{kill, stop};

/// A connection to the machine of this name.
fn connect(name: &Name) -> Result<Client, Failure> {
    Ok(Client::connect(&Registry::open()?, name)?)
}

/// Asks machines for something that is done at once.
pub fn ask(names: &[Name], request: &Request) -> Result<u8, Failure> {
    for name in names {
        connect(name)?.ask(request)?;
    }
    Ok(0)
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::InUse(_) => Self::usage(error),
            _ => Self::host(error),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NoSuch(_) => Self::usage(error).hint("`ringfence ps` lists those that are"),
            ClientError::Problem(problem) => {
                let exit = match problem.kind {
                    ProblemKind::Invalid | ProblemKind::NotFound => Exit::Usage,
                    ProblemKind::Host => Exit::Host,
                    _ => Exit::Failure,
                };
                Self { hint: problem.hint.clone(), ..Self::new(exit, problem) }
            }
            ClientError::Silent { ref name, .. } => {
                let hint = format!("`ringfence kill {name}` ends it in any case");
                Self::new(Exit::Failure, error).hint(hint)
            }
            ClientError::Foreign(_) | ClientError::Version { .. } => Self::new(Exit::Failure, error),
        }
    }
}
