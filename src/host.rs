//! A host, as a person types it.

use std::net::Ipv6Addr;

/// Takes a host name or an IP address, and refuses one with a port in it.
///
/// # Errors
///
/// What it must be instead.
pub fn parse_host(host: &str) -> Result<String, &'static str> {
    // The interface of a link-local address is named behind a percent sign (RFC 4007, section 11).
    let address = host.split('%').next().unwrap_or(host);
    let has_port = host.contains(':') && address.parse::<Ipv6Addr>().is_err();
    if host.is_empty() || has_port || host.contains(['[', ']']) {
        return Err("must be a host alone, without brackets; its port goes to --port");
    }
    Ok(host.into())
}
