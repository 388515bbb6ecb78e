//! A distribution mirror of our own, and a store that pulls from it.

use std::fs;
use std::path::PathBuf;

use ringfence_images::{Digest, Store};

use super::http::Server;
use super::packages::Package;

pub struct Mirror {
    pub server: Server,
    pub dir: tempfile::TempDir,
}

impl Mirror {
    /// A mirror that offers `packages`.
    pub fn of(packages: &[Package]) -> Self {
        let server = Server::start();
        let list: String = packages.iter().map(Package::paragraph).collect();
        let release = format!(
            "Origin: test\nSuite: test\nSHA256:\n {} {} Packages\n",
            Digest::of(list.as_bytes()).hex(),
            list.len(),
        );
        server.with(|state| {
            state.files.insert("/Release".to_owned(), release.into_bytes());
            state.files.insert("/Packages".to_owned(), list.into_bytes());
            for package in packages {
                state.files.insert(package.path(), package.deb());
            }
        });
        Self { server, dir: tempfile::tempdir().unwrap() }
    }

    /// A store that pulls from here and nowhere else. Each call opens the same one
    /// anew.
    pub fn store(&self) -> Store {
        self.store_with_fallback().without_fallback()
    }

    /// A store that pulls from here, or from Debian what is not here.
    pub fn store_with_fallback(&self) -> Store {
        let sources = self.dir.path().join("sources.list");
        let line = format!("deb [trusted=yes] http://127.0.0.1:{}/ ./\n", self.server.port);
        fs::write(&sources, line).unwrap();
        Store::open(&self.root()).unwrap().with_sources(&sources)
    }

    pub fn root(&self) -> PathBuf {
        // A path that would need quoting, if anything quoted.
        self.dir.path().join("a \"store\"")
    }
}
