//! What a person types: a port, a timeout, a host.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::{io, time::Duration};

use crate::line::check_line;

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
pub fn parse_count(count: &str) -> Result<u64, String> {
    match count.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err(format!("must be a whole number from 1 to {}", u64::MAX)),
    }
}

/// Takes a text that is to be sent as one line.
///
/// # Errors
///
/// The errors of [`check_line`].
pub fn parse_line(text: &str) -> io::Result<String> {
    check_line(text.as_bytes())?;
    Ok(text.into())
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
    // A link-local address names its interface after a percent sign (RFC 4007, section 11).
    let (address, interface) = host.split_once('%').unwrap_or((host, ""));
    let ipv6 = address.parse::<Ipv6Addr>();
    let has_port = address.contains([':', '[', ']']) && ipv6.is_err() || interface.contains(':');
    let is_link_local = ipv6.is_ok_and(|ip| ip.is_unicast_link_local());
    let lacks_interface = is_link_local && interface.trim_matches('0').is_empty();
    // No name has one of these. A CR may come from a file with the line ends of Windows.
    let is_stray =
        |character: char| character.is_whitespace() || character.is_control() || character == '/';
    // If each part is a number, the system takes it for an IPv4 address, however few parts there are, and
    // octal or hexadecimal ones, too (inet(3)): 10.1 for 10.0.0.1, and 010 for 8.
    let is_number = |part: &str| match part.to_lowercase().strip_prefix("0x") {
        Some(digits) => digits.chars().all(|digit| digit.is_ascii_hexdigit()),
        None => part.chars().all(|digit| digit.is_ascii_digit()),
    };
    let is_ipv4 = host.split('.').all(is_number);
    Err(match host {
        "" => "must not be empty",
        _ if has_port => "must be a host alone, without brackets; its port goes to --port",
        _ if host.contains(is_stray) => "must not have a blank, a control character or a slash",
        _ if lacks_interface => "a link-local address needs its interface, as in fe80::1%eth0",
        _ if is_ipv4 && host.parse::<Ipv4Addr>().is_err() => {
            "must be a name or a whole address: four numbers from 0 to 255, none as 010"
        }
        _ => return Ok(host.into()),
    })
}
