//! One line each way over TCP, done right.

pub mod client;
pub mod deadline;
pub mod line;
pub mod server;
pub mod terminal;
