//! What a person types: a port, a timeout, a host.

use std::net::Ipv6Addr;
use std::{num::NonZeroU64, time::Duration};

/// The TCP port on which the two programs meet unless told otherwise.
pub const DEFAULT_PORT: u16 = 65_432;

/// Makes a parser for a TCP port from `lowest` up. A server may listen on port 0, which picks a free one.
///
/// The parser fails with what the argument must be instead.
pub fn parse_port(lowest: u16) -> impl Fn(&str) -> Result<u16, String> + Clone {
    move |port| match port.parse() {
        Ok(port) if port >= lowest => Ok(port),
        _ => Err(format!("must be a port from {lowest} to {}", u16::MAX)),
    }
}

/// Reads how many times something is to happen, at least once.
///
/// # Errors
///
/// What the argument must be instead.
pub fn parse_count(count: &str) -> Result<NonZeroU64, String> {
    let reason = |_| format!("must be a whole number from 1 to {}", u64::MAX);
    count.parse().map_err(reason)
}

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

/// Takes a host name or an IP address, and refuses one with a port in it, and one that can never lead to
/// the machine that was meant.
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
    let ipv6 = address.parse::<Ipv6Addr>();
    let has_port = address.contains(':') && ipv6.is_err();
    if has_port || interface.contains(':') || host.contains(['[', ']']) {
        return Err("must be a host alone, without brackets; its port goes to --port");
    }
    if ipv6.is_ok_and(|ip| ip.is_unicast_link_local()) && interface.trim_matches('0').is_empty() {
        return Err("a link-local address needs its interface, as in fe80::1%eth0");
    }
    let has_leading_zero = |part: &str| part.len() > 1 && part.starts_with('0');
    if host.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.'))
        && host.split('.').any(has_leading_zero)
    {
        return Err("must not have a part that begins with 0: the system would read 010 as 8");
    }
    Ok(host.into())
}

/// Makes a parser for a host and a port from `lowest` up, as in `127.0.0.1:8080`, `localhost:8080` or
/// `[::1]:8080`.
///
/// The parser fails with what the argument must be instead.
pub fn parse_address(lowest: u16) -> impl Fn(&str) -> Result<(String, u16), String> + Clone {
    move |address| {
        let form = "must be a host and a port, as in 127.0.0.1:8080 or [::1]:8080";
        let (host, port) = address.rsplit_once(':').ok_or(form)?;
        let in_brackets = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if in_brackets.is_none() && host.contains(':') {
            return Err(form.into());
        }
        let host = parse_host(in_brackets.unwrap_or(host))?;
        Ok((host, parse_port(lowest)(port)?))
    }
}
