//! What a person types: a port, a timeout, a host.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::{io, time::Duration};

use crate::line::check_line;

/// The TCP port on which the two programs meet unless told otherwise.
pub const DEFAULT_PORT: u16 = 65_432;

/// How many seconds a peer may take unless told otherwise, as text, because clap parses it.
pub const DEFAULT_TIMEOUT: &str = "60";

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

/// Takes a host name or an IP address, and refuses what can never lead to the machine that was meant: then
/// trying again would never end, or reach another machine.
///
/// # Errors
///
/// What the argument must be instead.
pub fn parse_host(host: &str) -> Result<String, &'static str> {
    // An address may name its interface behind a percent sign (RFC 4007, section 11).
    let (address, interface) = match host.split_once('%') {
        Some((address, interface)) => (address, Some(interface)),
        None => (host, None),
    };
    let ipv6 = address.parse::<Ipv6Addr>();
    if host.is_empty() {
        return Err("must not be empty");
    }
    // The colons of an IPv6 address are its own.
    let rest = if ipv6.is_ok() {
        interface.unwrap_or_default()
    } else {
        host
    };
    if rest.contains([':', '[', ']']) {
        return Err("must be a host alone, without brackets; its port goes to --port");
    }
    match ipv6 {
        Ok(ip) => check_interface(ip, interface)?,
        Err(_) => check_name(host)?,
    }
    Ok(host.into())
}

/// A link-local address may be another machine on each interface, so it is nothing without one.
fn check_interface(ip: Ipv6Addr, interface: Option<&str>) -> Result<(), &'static str> {
    let cannot_be_in_it = |character: char| character.is_whitespace() || character.is_control();
    match interface {
        None if !ip.is_unicast_link_local() => Ok(()),
        // An interface may also be a number, and 0 is none.
        Some(name) if !name.trim_matches('0').is_empty() && !name.contains(cannot_be_in_it) => {
            Ok(())
        }
        _ => Err("needs the name of an interface behind the address, as in fe80::1%eth0"),
    }
}

/// A name, or an IPv4 address.
fn check_name(host: &str) -> Result<(), &'static str> {
    // A dot at the end says that the name is whole (RFC 1034, section 3.1).
    let mut parts = host.strip_suffix('.').unwrap_or(host).split('.');
    // In another alphabet there may be more: that is for the system to say. But none has blanks in a name, nor
    // the mark that an editor may write at the beginning of a file.
    let can_be_in_a_name = |character: char| match character {
        '-' | '_' => true,
        '\u{feff}' => false,
        _ if character.is_ascii() => character.is_ascii_alphanumeric(),
        _ => !character.is_whitespace() && !character.is_control(),
    };
    if !parts
        .clone()
        .all(|part| !part.is_empty() && part.chars().all(can_be_in_a_name))
    {
        return Err("must be a name of letters, digits, '-', '_' and single dots, or an address");
    }
    // If each part is a number, the system takes it for an address, however few parts there are, and octal or
    // hexadecimal ones, too (inet(3)). It would take 10.1.5 for 10.1.0.5, and 010 for 8.
    if parts.all(is_number) && host.parse::<Ipv4Addr>().is_err() {
        return Err(
            "must have four numbers from 0 to 255, such as 192.0.2.7, and none such as 010",
        );
    }
    Ok(())
}

/// Whether this is a decimal, octal or hexadecimal number.
fn is_number(text: &str) -> bool {
    match text.to_ascii_lowercase().strip_prefix("0x") {
        Some(digits) => digits.chars().all(|digit| digit.is_ascii_hexdigit()) && !digits.is_empty(),
        None => text.chars().all(|digit| digit.is_ascii_digit()),
    }
}
