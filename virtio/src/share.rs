//! A shared directory (5.11): messages of FUSE's protocol on their way to a back-end, and the replies on their way back.
//!
//! ```text
//!   queues   0 urgent messages, without replies    1 to n requests
//! ```
//!
//! Nothing here knows what the messages say. What can be said of a request without that is checked: it has a header, and
//! is no longer than the longest message.

use std::os::fd::BorrowedFd;

use base::{Record, RestoreError, Saved};
use serde::{Deserialize, Serialize};
use slab::Slab;

use crate::back::{Share as Back, ShareReply, ShareRequest};
use crate::device::{Device, DeviceId};
use crate::mistake::Mistake;
use crate::queue::{Fate, Progress};
use crate::rings::Rings;

/// Entries of the queue of urgent messages.
const URGENT_SIZE: u16 = 128;
/// Entries of a queue of requests: Linux makes no larger requests than fit without an indirect table.
const REQUEST_SIZE: u16 = 1024;
/// Bytes of the tag in the configuration.
const TAG: usize = 36;
/// Bytes of a message's header (`struct fuse_in_header`).
const HEADER: u64 = 40;
/// Bytes of the longest message: 1 MiB to write, and what describes it.
const MOST: u64 = (1 << 20) + (8 << 10);

/// The front.
pub struct Share {
    back: Box<dyn Back>,
    /// Queues of requests.
    requests: u16,
    name: String,
    /// Queue and head of each request under way. Their keys are the tags.
    under_way: Slab<(u16, u16)>,
    /// For replies, kept to save allocations.
    replies: Vec<ShareReply>,
}

impl Share {
    /// A share with so many queues of requests (1 to 63). `name` is what messages call it.
    pub fn new(back: Box<dyn Back>, requests: u16, name: impl Into<String>) -> Self {
        Self {
            back,
            requests: requests.clamp(1, 63),
            name: name.into(),
            under_way: Slab::new(),
            replies: Vec::new(),
        }
    }
}

impl Device for Share {
    fn id(&self) -> DeviceId {
        DeviceId::FileSystem
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> Vec<u16> {
        let requests = std::iter::repeat_n(REQUEST_SIZE, self.requests.into());
        [URGENT_SIZE].into_iter().chain(requests).collect()
    }

    fn config(&self) -> Vec<u8> {
        let mut bytes = self.back.tag().as_bytes().to_vec();
        bytes.resize(TAG, 0);
        bytes.extend(u32::from(self.requests).to_le_bytes());
        bytes
    }

    fn kick(&mut self, rings: &mut Rings, queue: u16) -> Result<Progress, Mistake> {
        let Self { back, under_way, .. } = self;
        rings.queue(queue).each(|_, chain| {
            if chain.readable.len() < HEADER || chain.readable.len() > MOST {
                let what = "a message that is shorter than its header, or longer than any";
                return Err(Mistake::Request { queue, what });
            }
            let tag = under_way.insert((queue, chain.head)) as u64;
            back.submit(ShareRequest { tag, message: chain.readable, reply: chain.writable });
            Ok(Fate::Taken)
        })
    }

    fn wakes(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.back.wake()]
    }

    fn woken(&mut self, rings: &mut Rings) -> Result<Progress, Mistake> {
        let mut replies = std::mem::take(&mut self.replies);
        self.back.complete(&mut replies);
        let mut touched = 0u64;
        let mut result = Ok(());
        for ShareReply { tag, written } in replies.drain(..) {
            if let Some((queue, head)) = self.under_way.try_remove(tag as usize) {
                touched |= 1 << queue;
                // Whatever becomes of one, the others have come back too.
                result = rings.queue(queue).push(head, written).and(result);
            }
        }
        self.replies = replies;
        result?;
        for queue in (0..=self.requests).filter(|queue| touched & 1 << queue != 0) {
            rings.queue(queue).signal()?;
        }
        Ok(Progress::Done)
    }

    fn idle(&self) -> bool {
        self.under_way.is_empty()
    }

    fn reset(&mut self) {
        self.back.reset();
    }

    fn save(&self) -> Record {
        self.to_record()
    }

    fn restore(&mut self, record: &Record) -> Result<(), RestoreError> {
        self.restore_record(record)
    }
}

/// A share at rest: nothing is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareState {
    tag: String,
    requests: u16,
    back: Record,
}

impl Saved for Share {
    type State = ShareState;
    const KIND: &'static str = "virtio-fs";
    const VERSION: u16 = 1;

    fn save(&self) -> ShareState {
        // What is under way is nothing, by contract.
        let Self { back, requests, name: _, under_way: _, replies: _ } = self;
        ShareState { tag: back.tag().to_owned(), requests: *requests, back: back.save() }
    }

    fn restore(&mut self, state: ShareState) -> Result<(), RestoreError> {
        let ShareState { tag, requests, back } = state;
        if (&*tag, requests) != (self.back.tag(), self.requests) {
            let reason = format!("{} is attached in another way, or is another", self.name);
            return Err(RestoreError::Invalid { kind: Self::KIND, reason });
        }
        self.back.restore(&back)
    }
}
