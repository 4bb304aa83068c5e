//! What a user of the two programs notices, tried on the programs themselves.
//!
//! - `pair`: the two programs with each other.
//! - `server`, `client`: one program, at peers that are not ours.
//! - `hostile`: no peer can stop, stall or falsify the server.
//! - `tampered`: the system fails, or stops a program, at any moment (Linux).
//! - `terminal`: the programs with a person in front of them (Linux).
//! - `examples`: the tutorials' other systems.
//! - `experiments`: what breaks `naive` breaks neither `greet-server` nor its twin in C.
//! - `c_server`: what that twin promises (Linux).
//! - `arguments`, `library`: what may be typed, and the library without programs.
//! - `model`: the proof that the close is a receipt, without programs.
//! - `readme`: the pages say what is so.
//! - `recipes`: the pages' recipes do what they say, in each shell (Unix).
//! - `programs`, `peers`, `needs`: what the tests are made of.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

/// What a test needs. If this system does not have it, the test ends here.
#[cfg(target_os = "linux")]
macro_rules! or_skip {
    ($needed:expr) => {
        match $needed {
            Some(needed) => needed,
            None => return,
        }
    };
}

mod arguments;
#[cfg(target_os = "linux")] // There it gives a receipt.
mod c_server;
mod client;
mod examples;
mod experiments;
mod hostile;
mod library;
mod model;
#[allow(dead_code, reason = "tests/left_out.rs uses the rest")]
mod needs;
mod pair;
mod peers;
mod programs;
mod readme;
#[cfg(unix)] // The shells are there.
mod recipes;
mod server;
#[cfg(target_os = "linux")] // strace(1) is there.
mod tampered;
#[cfg(target_os = "linux")] // script(1) is as expected there.
mod terminal;
