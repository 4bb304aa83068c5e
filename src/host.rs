//! A host, as a person types it.

use std::net::Ipv6Addr;

/// Takes a host name or an IP address, and refuses one with a port in it.
///
/// # Errors
///
/// What it must be instead.
pub fn parse_host(host: &str) -> Result<String, String> {
    let address = host.split('%').next().unwrap_or(host);
    let is_ipv6 = address.parse::<Ipv6Addr>().is_ok();
    if host.is_empty() {
        Err("must not be empty".into())
    } else if host.contains(['[', ']']) || host.contains(':') && !is_ipv6 {
        Err("must be a host alone, without brackets; its port goes to --port".into())
    } else {
        Ok(host.into())
    }
}
