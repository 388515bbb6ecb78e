//! What chips ask of the whole machine, on its way from the thread that caused it to the one that runs the VM.

use std::sync::{Arc, Mutex, PoisonError};

use engine::{Attention, Signals};

use crate::chip::Request;

/// The first request since it was last taken; later ones do not count.
#[derive(Debug)]
pub struct Control {
    request: Mutex<Option<Request>>,
    attention: Box<[Arc<Attention>]>,
}

impl Control {
    /// For these vCPUs.
    pub fn new(attention: Box<[Arc<Attention>]>) -> Self {
        Self { request: Mutex::default(), attention }
    }

    /// Asks, and makes every vCPU leave its engine.
    pub fn ask(&self, request: Request) {
        self.request.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(request);
        self.stop_all();
    }

    /// Makes every vCPU leave its engine.
    pub fn stop_all(&self) {
        for attention in &self.attention {
            attention.raise(Signals::STOP);
        }
    }

    /// Takes what was asked.
    pub fn take(&self) -> Option<Request> {
        self.request.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Was something asked?
    pub fn is_asked(&self) -> bool {
        self.request.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}
