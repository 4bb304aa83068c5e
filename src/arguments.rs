//! What a person types: a timeout, a host.

use std::net::Ipv6Addr;
use std::time::Duration;

/// Reads a timeout from 0.001 to 1,000,000 seconds, decimals allowed.
///
/// # Errors
///
/// What it must be instead.
pub fn parse_timeout(seconds: &str) -> Result<Duration, &'static str> {
    match seconds.parse() {
        // What the socket options of Linux, macOS and Windows can all count: Windows starts at a
        // millisecond and stops at 49 days.
        Ok(seconds @ 0.001..=1_000_000.0) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("must be a number of seconds from 0.001 to 1000000"),
    }
}

/// Takes a host name or an IP address, and refuses one with a port in it.
///
/// # Errors
///
/// What it must be instead.
pub fn parse_host(host: &str) -> Result<String, &'static str> {
    if host.is_empty() {
        return Err("must not be empty");
    }
    // The interface of a link-local address is named after a percent sign (RFC 4007, section 11).
    let (address, interface) = host.split_once('%').unwrap_or((host, ""));
    let has_port = address.contains(':') && address.parse::<Ipv6Addr>().is_err();
    if has_port || interface.contains(':') || host.contains(['[', ']']) {
        return Err("must be a host alone, without brackets; its port goes to --port");
    }
    Ok(host.into())
}
