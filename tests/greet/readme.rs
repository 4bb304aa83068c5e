//! The two README.md, held to their word: what they link is there, and what they state is so.

use std::fs;
use std::path::Path;

use crate::programs::{Program, client_command, server_command};

/// The user's page and the learner's, each with the folder that its links start from. (Cargo runs
/// tests at the top.)
const PAGES: [(&str, &str); 2] = [("README.md", "."), ("src/README.md", "src")];

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// All files of a folder, one behind the other.
fn read_all(folder: &str) -> String {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files.filter(|path| path.is_file()).map(read).collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// A heading's name in a link.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
    headings
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect()
}

#[test]
fn every_link_leads_to_what_it_names() {
    let mut items = 0;
    for (name, folder) in PAGES {
        let page = read(name);
        // `[text](target)`, where the text may name the target and items in it.
        for (middle, _) in page.match_indices("](") {
            let text = page[..middle].rsplit_once('[').unwrap().1;
            let target = page[middle + 2..].split_once(')').unwrap().0;
            if target.starts_with("https://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = Path::new(folder).join(path);
            let content = if target.starts_with('#') {
                page.clone()
            } else {
                read(&path)
            };
            assert!(
                anchor.is_empty() || anchors(&content).iter().any(|it| it == anchor),
                "{target}"
            );
            for item in quoted(text) {
                let is_file = target.ends_with(item);
                assert!(
                    is_file || content.contains(item),
                    "{item} is not in {target}"
                );
                items += usize::from(!is_file);
            }
        }
    }
    assert!(items > 10);
}

#[test]
fn every_test_they_name_is_there() {
    let tests = read_all("tests/greet");
    let page = read("src/README.md");
    let brackets = page
        .split("(`")
        .skip(1)
        .map(|piece| piece.split(')').next().unwrap());
    let brackets: Vec<String> = brackets.map(|names| format!("`{names}")).collect();
    let names: Vec<&str> = brackets.iter().flat_map(|names| quoted(names)).collect();
    assert!(names.len() > 20);
    for name in names {
        let is_named = |line: &str| line.starts_with("fn ") && line.contains(name);
        assert!(tests.lines().any(is_named), "{name}");
    }
}

#[test]
fn the_help_is_as_it_is_printed() {
    let page = read("README.md");
    for (command, mut program) in [
        ("$ greet-server --help\n", server_command()),
        ("$ greet-client --help\n", client_command()),
    ] {
        let help = Program::start(program.arg("--help")).end().output;
        let shown = page
            .split_once(command)
            .unwrap()
            .1
            .split("```")
            .next()
            .unwrap();
        assert_eq!(shown, help.replace(".exe", ""));
    }
}

#[test]
fn every_message_they_quote_is_in_the_source() {
    let (page, source) = (read("README.md"), read_all("src") + &read_all("src/bin"));
    for message in [
        "listening on ",
        " connected",
        " bytes received",
        "connected to ",
        " bytes delivered",
        "nothing was sent",
        "no line on standard input",
        "the server had closed",
        "cannot connect to ",
        "no greeting from ",
        "timed out after ",
        "closed without a greeting",
        "the message may have arrived",
        "cannot listen on ",
        "cannot show the message from ",
    ] {
        assert!(page.contains(message), "{message}");
        assert!(source.contains(message), "{message}");
    }
}

#[test]
fn their_numbers_are_those_of_the_source() {
    let pages = PAGES
        .map(|(name, _)| read(name))
        .concat()
        .replace('\n', " ");
    let source = ["src", "tests/bench"].map(read_all).concat() + &read("Cargo.toml");
    for (stated, meant) in [
        ("Lines over 65,536 bytes", "LIMIT: usize = 65_536;"),
        (
            "the next by less than a second",
            "LINGER: Duration = Duration::from_millis(750);",
        ),
        (
            "from 0.001 to 1000000 seconds",
            "seconds from 0.001 to 1000000",
        ),
        ("Rust 1.85 or later", "rust-version = \"1.85\""),
        ("at least 0.90 of", "AtLeast(0.90)"),
        ("at most 1.30 of", "AtMost(1.30)"),
        ("13 system calls", "AtMost(13.0)"),
        ("3 MiB of memory", "AtMost(3.0)"),
    ] {
        assert!(pages.contains(stated), "{stated}");
        assert!(source.contains(meant), "{meant}");
    }
}

#[test]
fn the_users_page_is_short_and_its_code_narrow() {
    let page = read("README.md");
    assert!(page.split_whitespace().count() <= 1_500);
    for code in page.split("```").skip(1).step_by(2) {
        assert!(
            code.lines().all(|line| line.chars().count() <= 88),
            "{code}"
        );
    }
}
