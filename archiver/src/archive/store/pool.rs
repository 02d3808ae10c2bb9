//! What costs as much to make as to use once: kept until somebody needs it again.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As many are kept as usually work at once.
const KEPT_MAX: usize = 4;

pub(super) struct Pool<T> {
    new: fn() -> io::Result<T>,
    free: Mutex<Vec<T>>,
}

impl<T> Pool<T> {
    pub(super) const fn new(new: fn() -> io::Result<T>) -> Self {
        Self { new, free: Mutex::new(Vec::new()) }
    }

    fn free(&self) -> MutexGuard<'_, Vec<T>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `work` use one. After an error it is not used again.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut T) -> io::Result<R>) -> io::Result<R> {
        let kept = self.free().pop();
        let mut one = match kept {
            Some(one) => one,
            None => (self.new)()?,
        };
        let done = work(&mut one)?;
        let mut free = self.free();
        if free.len() < KEPT_MAX {
            free.push(one);
        }
        Ok(done)
    }
}
