//! What some tests need of the system. If it is missing they do nothing, and `tests/left_out.rs` says so, once, at
//! the end.

use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// A program that may be missing, or may not do what a test asks of it.
pub struct Need {
    /// What the tests ask for.
    pub name: &'static str,
    /// The package of Debian that brings it.
    pub package: &'static str,
    /// A command that succeeds if it is there, and if this user may do such a thing here.
    trial: &'static str,
}

/// All that can be missing where the tests run at all. Windows has none of it, and no test there asks.
const NEEDS: &[Need] = if cfg!(target_os = "linux") {
    &[
        need("strace", "strace", "strace -o /dev/null true"),
        need(
            "a network of their own",
            "iproute2",
            "unshare -rmn sh -c 'ip link set lo up && mount -t tmpfs none /mnt'",
        ),
        need("::1", "none", "grep -q . /proc/net/if_inet6"),
        need("script", "bsdutils", "script -V"),
        need("cc", "gcc", "cc --version"),
        need("bash", "bash", "bash -c :"),
        need("dash", "dash", "dash -c :"),
        need("zsh", "zsh", "zsh -c :"),
        need("busybox", "busybox", "busybox ash -c :"),
        need("timeout", "coreutils", "timeout 9 true"),
    ]
} else if cfg!(unix) {
    &[
        need("bash", "bash", "bash -c :"),
        need("dash", "dash", "dash -c :"),
        need("zsh", "zsh", "zsh -c :"),
        need("busybox", "busybox", "busybox ash -c :"),
        need("timeout", "coreutils", "timeout 9 true"),
    ]
} else {
    &[]
};

const fn need(name: &'static str, package: &'static str, trial: &'static str) -> Need {
    Need {
        name,
        package,
        trial,
    }
}

/// What is missing here.
pub static MISSING: LazyLock<Vec<&'static Need>> = LazyLock::new(|| {
    let is_missing = |need: &&Need| {
        let mut trial = Command::new("sh");
        trial.args(["-c", need.trial]);
        trial
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        !trial.status().is_ok_and(|status| status.success())
    };
    NEEDS.iter().filter(is_missing).collect()
});

/// Whether this system has what a test needs.
pub fn has(name: &str) -> bool {
    assert!(
        NEEDS.iter().any(|need| need.name == name),
        "{name} is not listed"
    );
    MISSING.iter().all(|need| need.name != name)
}
