//! What a person types: a port, a timeout, a host.

use std::{net::Ipv6Addr, time::Duration};

/// The TCP port on which the two programs meet unless told otherwise.
pub const DEFAULT_PORT: u16 = 65_432;

/// Reads a timeout from 0.001 to 1,000,000 seconds. Decimals are allowed.
///
/// # Errors
///
/// What the argument must be instead.
pub fn parse_timeout(seconds: &str) -> Result<Duration, &'static str> {
    match seconds.parse::<f64>() {
        // The socket options of Linux, macOS and Windows can all count this much. Windows counts in
        // milliseconds and ends at 49 days.
        Ok(seconds @ 0.001..=1_000_000.0) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("must be a number of seconds from 0.001 to 1000000"),
    }
}

/// Takes a host name or an IP address, and refuses one with a port in it.
///
/// # Errors
///
/// What the argument must be instead.
pub fn parse_host(host: &str) -> Result<String, &'static str> {
    if host.is_empty() {
        return Err("must not be empty");
    }
    // A link-local address names its interface after a percent sign (RFC 4007, section 11).
    let (address, interface) = host.split_once('%').unwrap_or((host, ""));
    let has_port = address.contains(':') && address.parse::<Ipv6Addr>().is_err();
    if has_port || interface.contains(':') || host.contains(['[', ']']) {
        return Err("must be a host alone, without brackets; its port goes to --port");
    }
    Ok(host.into())
}
