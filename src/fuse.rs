//! A fuse: after one failure, nothing passes any more.

use std::io;

/// A stream that can be used in steps until one of them fails.
///
/// After a failure, nobody knows where the next line begins. What comes then may be the second half of a
/// line that a timeout cut off, and it must not be taken for a line. Nor does a socket report a failure
/// twice: from then on it looks as if it had been closed in order.
#[derive(Debug)]
pub(crate) struct Fuse<T> {
    stream: T,
    is_blown: bool,
}

impl<T> Fuse<T> {
    pub(crate) fn new(stream: T) -> Self {
        Self {
            stream,
            is_blown: false,
        }
    }

    /// Takes one step on the stream.
    ///
    /// # Errors
    ///
    /// The step's error, and from then on always an error.
    pub(crate) fn step<R>(&mut self, step: impl FnOnce(&mut T) -> io::Result<R>) -> io::Result<R> {
        self.check()?;
        let outcome = step(&mut self.stream);
        self.is_blown = outcome.is_err();
        outcome
    }

    /// Gives the stream back, unless a step has failed.
    pub(crate) fn into_inner(self) -> io::Result<T> {
        self.check()?;
        Ok(self.stream)
    }

    fn check(&self) -> io::Result<()> {
        if self.is_blown {
            let reason = "an earlier step on this connection has failed";
            return Err(io::Error::other(reason));
        }
        Ok(())
    }
}
