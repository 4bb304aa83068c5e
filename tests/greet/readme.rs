//! The five pages, held to their word: what they link is there, what they list runs, and each number is the source's.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use greet::arguments::{DEFAULT_PORT, DEFAULT_TIMEOUT};
use greet::line::MAX_LINE_LENGTH;

use crate::hostile::BACKLOG;
use crate::programs::{CLIENT, SERVER, piped, run};

/// Each has a README.md. Cargo runs tests at the top.
const FOLDERS: [&str; 5] = [".", "src/bin", "src", "src/examples", "tests"];

fn read(path: impl AsRef<Path>) -> String {
    let content = fs::read_to_string(&path);
    content.unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// The pages, each with its folder.
fn pages() -> impl Iterator<Item = (&'static str, String)> {
    FOLDERS
        .into_iter()
        .map(|folder| (folder, read(format!("{folder}/README.md"))))
}

/// The blocks of code on a page, each with the name of its language.
fn blocks(page: &str) -> impl Iterator<Item = (&str, &str)> {
    let blocks = page.split("\n```").skip(1).step_by(2);
    blocks.map(|block| block.split_once('\n').unwrap())
}

/// Every file in this folder and below it.
fn files_in(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(
        folders
            .iter()
            .flat_map(|folder| files_in(folder.to_str().unwrap())),
    );
    files
}

/// How a link names a heading: without its punctuation.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches(['#', ' ']).to_lowercase();
    let is_kept = |character: &char| character.is_alphanumeric() || " -_".contains(*character);
    let kept: String = heading.chars().filter(is_kept).collect();
    kept.replace(' ', "-")
}

#[test]
fn every_link_leads_to_what_it_names() {
    for (folder, page) in pages() {
        // `[text](target)`, where the text may name the target and items in it.
        for (middle, _) in page.match_indices("](") {
            let text = page[..middle].rsplit_once('[').unwrap().1;
            let target = page[middle + 2..].split_once(')').unwrap().0;
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let content = match path {
                "" => page.clone(),
                _ if path.starts_with("https://") => continue,
                _ => read(format!("{folder}/{path}")),
            };
            let mut headings = content.lines().filter(|line| line.starts_with('#'));
            let is_there = heading.is_empty() || headings.any(|line| anchor(line) == heading);
            assert!(is_there, "{folder}: {target}");
            for item in text.split('`').skip(1).step_by(2) {
                let is_there = target.ends_with(item) || content.contains(item);
                assert!(is_there, "{folder}: {item} is not in {target}");
            }
        }
    }
}

#[test]
fn every_test_they_name_is_there_and_every_test_has_a_row() {
    let tests: String = files_in("tests/greet").iter().map(read).collect();
    for (folder, page) in pages() {
        // Parts of names stand in brackets: (`one`, `another`)
        let page = page.replace('\n', " ");
        let groups = page.split("(`").skip(1);
        let parts = groups.flat_map(|group| group.split(')').next().unwrap().split('`').step_by(2));
        let parts: Vec<&str> = parts.filter(|part| part.contains('_')).collect();
        assert!(parts.len() > 20 || folder != "src");
        for part in parts {
            let mut functions = tests.lines().filter(|line| line.contains("fn "));
            assert!(
                functions.any(|line| line.contains(part)),
                "{folder}: {part}"
            );
        }
    }

    let promises = read("tests/README.md");
    let rows = promises.lines().filter_map(|row| row.split(" | ").nth(1));
    let names = rows.flat_map(|tests| tests.split('`').skip(1).step_by(2));
    let names: BTreeSet<&str> = names.filter(|name| name.contains('_')).collect();
    for name in &names {
        assert!(tests.contains(&format!("fn {name}() {{")), "{name}");
    }
    let is_test = |line: &&str| line.trim_start().starts_with("fn ") && line.ends_with("() {");
    for (line, _) in tests.match_indices("#[test]\n") {
        let test = tests[line..].lines().find(is_test).unwrap();
        let name = test
            .trim_start_matches("fn ")
            .trim()
            .trim_start_matches("fn ");
        let name = name.split('(').next().unwrap();
        assert!(names.contains(name), "{name} has no row");
    }
}

#[test]
fn every_listing_is_a_part_of_a_file() {
    let sources: Vec<String> = files_in("src").iter().map(read_if_text).collect();
    let mut listings = 0;
    for (folder, page) in pages() {
        for (language, listing) in blocks(&page) {
            if language == "c" || language.starts_with("rust") {
                let listing = listing.to_owned() + "\n";
                let is_there = sources.iter().any(|source| source.contains(&listing));
                assert!(is_there, "{folder}: {listing}");
                listings += 1;
            }
        }
    }
    assert!(listings > 5);
}

/// The pages themselves are no source.
fn read_if_text(path: &PathBuf) -> String {
    if path.ends_with("README.md") {
        String::new()
    } else {
        read(path)
    }
}

#[test]
fn the_help_is_as_it_is_printed_and_fits_80_columns() {
    let manual = read("src/bin/README.md");
    let front_page = read("README.md");
    for (name, program) in [("server", SERVER), ("client", CLIENT)] {
        let help = run(piped(program).arg("--help"), b"").stdout;
        assert!(help.lines().all(|line| line.len() <= 80), "{help}");
        let version = format!("greet-{name} {}\n", env!("CARGO_PKG_VERSION"));
        run(piped(program).arg("--version"), b"").assert_ended(0, &version);
        let shown = format!("$ greet-{name} --help\n{help}```");
        let is_shown = manual.contains(&shown.replace(".exe", ""));
        assert!(is_shown, "src/bin/README.md should have this:\n{shown}");
        // The retry stands among the recipes, too.
        for retry in help.lines().filter(|line| line.contains("while ")) {
            assert_eq!(manual.matches(retry.trim()).count(), 2, "{help}");
            assert!(front_page.contains(retry.trim()));
        }
    }
}

#[test]
fn every_message_that_the_manual_explains_is_one_of_the_programs() {
    // The system's, and clap's.
    let others = "Connection refused, No route to host, Network is unreachable, Cannot assign requested address, \
                  failed to lookup address information, Permission denied, Operation not permitted, \
                  Connection reset by peer, Broken pipe, Resource temporarily unavailable, No space left on device, \
                  Address already in use, Address family not supported by protocol, Too many open files, \
                  connection timed out, Invalid argument, the argument, cannot be used with, \
                  the following required arguments were not provided, unexpected argument";
    let others: Vec<&str> = others.split(", ").collect();
    let sources: String = files_in("src").iter().map(read_if_text).collect();
    let manual = read("src/bin/README.md").replace("\n  ", " ");
    let messages = manual.split("\n## What the client says\n").nth(1).unwrap();
    let messages = messages.split("\n## All options\n").next().unwrap();
    let mut explained = 0;
    for item in messages.lines().filter_map(|line| line.strip_prefix("- `")) {
        // Before the explanation, messages stand between backticks.
        let (quoted, _) = item.rsplit_once("`: ").unwrap_or((item, ""));
        let quoted = quoted.split("`: ").next().unwrap();
        for message in quoted.split('`').step_by(2) {
            // Numbers and names change, and reasons stand behind one another.
            let parts = message
                .split(|character: char| character.is_ascii_digit() || ":,…'<".contains(character));
            let parts = parts.map(str::trim).filter(|part| part.contains(' '));
            for part in parts.filter(|part| !others.contains(part)) {
                assert!(sources.contains(part), "{item}: {part}");
                explained += 1;
            }
        }
    }
    assert!(explained > 30);
}

#[test]
fn code_is_narrow_and_can_be_pasted() {
    for (folder, page) in pages() {
        for (language, code) in blocks(&page) {
            let widest = code.lines().map(|line| line.chars().count()).max();
            // A picture, with its arrows, fits a phone.
            let is_picture = language == "text" && code.contains("->");
            let most = if is_picture { 40 } else { 120 };
            let most = if language == "sh" || language == "c" {
                88
            } else {
                most
            };
            assert!(widest <= Some(most), "{folder}: {code}");
            if language == "sh" && cfg!(unix) {
                let checked = run(piped("sh").args(["-n", "-c", code]), b"");
                checked.assert_ended(0, "");
            }
        }
    }
}

/// A number on a page.
struct Found<'a> {
    /// The file, and the line in it.
    place: String,
    /// As it is written.
    number: &'a str,
    /// The rest of the file.
    behind: &'a str,
}

/// The numbers in a file.
fn numbers<'a>(file: &str, text: &'a str) -> Vec<Found<'a>> {
    let is_part = |character: char| character.is_ascii_digit() || ",.".contains(character);
    let mut numbers = Vec::new();
    let mut place = 0;
    while let Some(start) = text[place..].find(|character: char| character.is_ascii_digit()) {
        let start = place + start;
        let length = text[start..].find(|character| !is_part(character));
        place = length.map_or(text.len(), |length| start + length);
        let line = text[..start].matches('\n').count() + 1;
        numbers.push(Found {
            place: format!("{file}:{line}"),
            number: text[start..place].trim_end_matches([',', '.']),
            behind: &text[place..],
        });
    }
    numbers
}

/// Numbers that are not greet's own: the tutorials' ports, those of examples and of ranges, RFCs, an issue, an error,
/// sizes of buffers, masks, and the rounds of the benchmark. A word may stand behind a number.
const OTHERS: &str = "8080, 12345, 6000, 6666, 27015, 4001, 37302, 41000, 65000, 65001, 65002, 32768, 49152, 60999, \
                      1024, 1122, 2525, 9293, 88494, 10048, 1,000, 1000, 4095, 0077, 2026, 200809, 1000000, 750000, \
                      10,000 |, 100,000 sessions, 60,000 bytes |";

#[test]
fn every_number_on_a_page_is_that_of_the_source() {
    let with_comma = |number: usize| match (number / 1_000, number % 1_000) {
        (0, units) => units.to_string(),
        (thousands, units) => format!("{thousands},{units:03}"),
    };
    let limit = MAX_LINE_LENGTH;
    let of_the_source = [
        limit.to_string(),
        with_comma(limit),
        DEFAULT_PORT.to_string(),
        u16::MAX.to_string(),
    ];
    let is_known = |number: &str, behind: &str| {
        let with_words = number.to_owned() + behind;
        let is_other = |other: &str| match other.split_once(' ') {
            Some(_) => with_words.starts_with(other),
            None => other == number,
        };
        of_the_source.iter().any(|known| known == number) || OTHERS.split(", ").any(is_other)
    };
    let source = read("src/connection.rs");
    let close = source
        .split("const LONGEST_CLOSE: Duration = Duration::from_millis(")
        .nth(1);
    let close: f64 = close.unwrap().split(')').next().unwrap().parse().unwrap();
    let echo = read("src/examples/echo.rs");
    let echo = echo.split("default_value = \"").nth(2).unwrap();
    let echo = echo.split('"').next().unwrap();
    // The others are what Windows gives a connection, and pauses in recipes.
    let close_seconds = (close / 1_000.0).to_string();
    let seconds = [DEFAULT_TIMEOUT, &close_seconds, echo, "21", "10", "5", "2"];

    let sources = [
        "src/lib.rs",
        "src/line.rs",
        "src/server.rs",
        "src/client.rs",
        "src/examples/loop_server.c",
    ];
    let sources = sources
        .into_iter()
        .map(|file| (file.to_owned(), read(file)));
    let pages = pages().map(|(folder, page)| (format!("{folder}/README.md"), page));
    let mut wrong = Vec::new();
    for (file, text) in pages.chain(sources) {
        for Found {
            place,
            number,
            behind,
        } in numbers(&file, &text)
        {
            let digits = number.bytes().filter(u8::is_ascii_digit).count();
            if digits >= 4 && !number.contains('.') && !is_known(number, behind) {
                wrong.push(format!("{place}: {number} is no number of the source"));
            }
            if behind.trim_start().starts_with("seconds") && !seconds.contains(&number) {
                wrong.push(format!(
                    "{place}: {number} seconds are no time of the source"
                ));
            }
            if behind.starts_with("s, 12 bytes without") && number != DEFAULT_TIMEOUT {
                wrong.push(format!("{place}: {number}s are not the default"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));

    let in_c = read("src/examples/loop_server.c");
    for constant in [
        format!("DEFAULT_PORT = {DEFAULT_PORT},"),
        format!("DEFAULT_SECONDS = {DEFAULT_TIMEOUT},"),
        format!("BACKLOG = {BACKLOG},"),
        format!("LONGEST_LINE = {MAX_LINE_LENGTH},"),
        format!("LONGEST_CLOSE = {close}000,"),
    ] {
        assert!(
            in_c.contains(&constant),
            "loop_server.c should have {constant}"
        );
    }
    for (page, wait) in [
        (
            "README.md",
            format!("About {BACKLOG} more wait in the system's queue"),
        ),
        (
            "src/bin/README.md",
            format!("about {BACKLOG} more wait in its system's queue"),
        ),
    ] {
        let words: Vec<String> = read(page).split_whitespace().map(String::from).collect();
        assert!(words.join(" ").contains(&wait), "{page}: {wait}");
    }
}
