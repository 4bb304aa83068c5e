//! What a user of the two programs notices, tried on the programs themselves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod arguments;
mod client;
mod hostile;
mod library;
mod pair;
mod peers;
mod programs;
mod readme;
#[cfg(target_os = "linux")] // Where strace(1) is.
mod receipt;
mod server;
#[cfg(target_os = "linux")] // Where script(1) is as expected.
mod terminal;
