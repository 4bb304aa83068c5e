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
mod server;
