//! `ringfence attach` and `ringfence detach`.

use std::io::{self, Write};
use std::path;

use backend::block::Spec;
use control::{Reply, Request};

use super::connect;
use crate::args::{AttachArgs, DetachArgs};
use crate::failure::Failure;

/// Attaches devices and prints their names.
pub fn attach(args: &AttachArgs) -> Result<u8, Failure> {
    let mut requests = Vec::new();
    for disk in &args.disk {
        requests.push(Request::AttachDisk { disk: from_anywhere(disk)? });
    }
    requests.extend(args.net.iter().map(|net| Request::AttachNet { net: net.to_string() }));
    let mut client = connect(&args.name)?;
    for request in requests {
        let Reply::Attached { id } = client.ask(&request)? else {
            return Err(Failure::host("the machine answers something else"));
        };
        if let Err(error) = writeln!(io::stdout(), "{id}") {
            return Err(Failure::host(format!("cannot write standard output: {error}")));
        }
    }
    Ok(0)
}

/// The machine's process is in another directory: its path, as seen from anywhere.
fn from_anywhere(disk: &str) -> Result<String, Failure> {
    let spec: Spec = disk.parse().map_err(Failure::usage)?;
    if spec.source.path.is_absolute() {
        return Ok(disk.to_owned());
    }
    let here =
        path::absolute(".").map_err(|error| Failure::host(format!("no working directory: {error}")))?;
    match here.to_str() {
        Some(here) => Ok(format!("{}/{disk}", here.replace(',', ",,"))),
        None => {
            Err(Failure::usage("this directory's name is not UTF-8").hint("name the disk from elsewhere"))
        }
    }
}

/// Takes a device away.
pub fn detach(args: &DetachArgs) -> Result<u8, Failure> {
    let wait = u64::try_from(args.timeout.as_millis()).unwrap_or(u64::MAX);
    connect(&args.name)?.ask(&Request::Detach { id: args.id.clone(), wait })?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_found_from_anywhere() {
        let here = std::env::current_dir().unwrap();
        let spec: Spec = from_anywhere("x,,y.img,readonly").unwrap().parse().unwrap();
        assert_eq!(spec.source.path, here.join("x,y.img"));
        assert_eq!(from_anywhere("/a.img,format=qcow2").unwrap(), "/a.img,format=qcow2");
        assert_eq!(from_anywhere("a.img,what").unwrap_err().status, 2);
    }
}
