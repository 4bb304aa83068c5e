//! README.md, held to its word: what it links is there, and what it states is so.

use std::fs;
use std::path::{Path, PathBuf};

use crate::programs::{Program, client_command, server_command};

fn at_the_top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(at_the_top(path)).expect(path)
}

/// Every link of the page: its text and its target.
fn links(page: &str) -> impl Iterator<Item = (&str, &str)> {
    page.match_indices("](").map(|(middle, _)| {
        let (before, behind) = (&page[..middle], &page[middle + 2..]);
        let text = before.rsplit_once('[').unwrap().1;
        (text, behind.split_once(')').unwrap().0)
    })
}

#[test]
fn every_link_leads_to_what_it_names() {
    let page = read("README.md");
    let headings: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.to_lowercase().replace(' ', "-").replace(',', ""))
        .collect();
    let mut lines = 0;
    for (text, target) in links(&page) {
        if let Some(heading) = target.strip_prefix('#') {
            assert!(headings.iter().any(|it| it == heading), "{target}");
        } else if let Some((path, line)) = target.split_once("#L") {
            let source = read(path);
            let line = source.lines().nth(line.parse::<usize>().unwrap() - 1);
            let name = text.trim_matches('`');
            assert!(line.unwrap().contains(name), "{name} is not at {target}");
            lines += 1;
        } else if !target.starts_with("https://") {
            assert!(at_the_top(target).exists(), "{target}");
        }
    }
    assert!(lines > 10);
}

#[test]
fn every_test_it_names_is_there() {
    let page = read("README.md");
    let tests: String = fs::read_dir(at_the_top("tests/greet"))
        .unwrap()
        .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    let table = page.split("## From Winsock to Rust").nth(1).unwrap();
    let table = table.split("\n## ").next().unwrap();
    let column = table.lines().filter_map(|row| row.rsplit(" | ").next());
    let mut names: Vec<&str> = column
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|name| !name.contains("cargo test"))
        .collect();
    names.push("pipelines");
    assert!(names.len() > 10);
    for name in names {
        let is_named = |line: &str| line.starts_with("fn ") && line.contains(name);
        assert!(tests.lines().any(is_named), "{name}");
    }
}

#[test]
fn every_option_has_the_default_that_it_states() {
    let page = read("README.md");
    let [server, client] = [server_command(), client_command()].map(|mut command| {
        let help = Program::start(command.arg("--help")).end().output;
        help.replace("\n                           ", " ")
    });
    let mut help = &server;
    let mut options = 0;
    for line in page.lines() {
        if line.starts_with("| `greet-client` | meaning") {
            help = &client;
        }
        if let Some(row) = line.strip_prefix("| `-") {
            let name = row.split("`--").nth(1).unwrap().split(' ').next().unwrap();
            let default = row.rsplit('`').nth(1).unwrap();
            let in_help = help.lines().find(|it| it.contains(&format!(" --{name} ")));
            let stated = format!("[default: {default}]");
            assert!(in_help.unwrap().ends_with(&stated), "--{name} {stated}");
            options += 1;
        }
    }
    assert_eq!(options, 7);
}

#[test]
fn its_numbers_and_messages_are_those_of_the_source() {
    let page = read("README.md").replace('\n', " ");
    for (stated, path, source) in [
        ("65,536 bytes", "src/line.rs", "LIMIT: usize = 65_536;"),
        (
            "delays the next by less than a second",
            "src/deadline.rs",
            "LINGER: Duration = Duration::from_millis(750);",
        ),
        (
            "from 0.001 to 1000000 seconds",
            "src/deadline.rs",
            "seconds from 0.001 to 1000000",
        ),
        (
            "at least 0.90 of",
            "tests/bench/measures.rs",
            "AtLeast(0.90)",
        ),
        ("at most 1.30 of", "tests/bench/measures.rs", "AtMost(1.30)"),
        ("13 system calls", "tests/bench/measures.rs", "AtMost(13.0)"),
        ("3 MiB of memory", "tests/bench/measures.rs", "AtMost(3.0)"),
        (
            "Rust 1.85 or later",
            "Cargo.toml",
            "rust-version = \"1.85\"",
        ),
        (
            "`cannot connect to …:",
            "src/bin/greet-client.rs",
            "\"cannot connect to {",
        ),
        (
            "`no greeting from …:",
            "src/bin/greet-client.rs",
            "\"no greeting from {",
        ),
        (
            "`nothing was sent to …:",
            "src/bin/greet-client.rs",
            "\"nothing was sent to {",
        ),
        (
            "`the message may have arrived at …:",
            "src/bin/greet-client.rs",
            "\"the message may have arrived at {",
        ),
        (
            ": no line on standard input`",
            "src/bin/greet-client.rs",
            "\"no line on standard input\"",
        ),
        (
            ": closed without a greeting`",
            "src/client.rs",
            "\"closed without a greeting\"",
        ),
        (
            ": timed out after …`",
            "src/deadline.rs",
            "\"timed out after {",
        ),
        (
            "`cannot listen on …:",
            "src/bin/greet-server.rs",
            "\"cannot listen on {",
        ),
        (
            "`cannot show the message from …`",
            "src/bin/greet-server.rs",
            "\"cannot show the message from {",
        ),
    ] {
        assert!(page.contains(stated), "{stated}");
        assert!(read(path).contains(source), "{source}");
    }
}
