//! The two README.md, held to their word: what they link is there, and what they state is so.

use std::fs;
use std::path::{Path, PathBuf};

use crate::programs::{SERVER, client_command, piped, run};

fn read(path: impl AsRef<Path>) -> String {
    let content = fs::read_to_string(&path);
    content.unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// Whether a page has the heading that a link names.
fn has_heading(page: &str, name: &str) -> bool {
    let headings = page.lines().filter_map(|line| line.strip_prefix('#'));
    let mut names = headings.map(|heading| heading.trim_matches(['#', ' ']).to_lowercase());
    // A link leaves out the punctuation of its heading.
    let is_kept = |character: &char| character.is_alphanumeric() || " -_".contains(*character);
    names.any(|heading| {
        let kept: String = heading.chars().filter(is_kept).collect();
        kept.replace(' ', "-") == name
    })
}

#[test]
fn every_link_leads_to_what_it_names() {
    // Cargo runs tests at the top, and links start from the page's folder.
    for folder in [".", "src"] {
        let page = read(format!("{folder}/README.md"));
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
            let is_there = heading.is_empty() || has_heading(&content, heading);
            assert!(is_there, "{target}");
            for item in text.split('`').skip(1).step_by(2) {
                let is_there = target.ends_with(item) || content.contains(item);
                assert!(is_there, "{item} is not in {target}");
            }
        }
    }
}

/// The source of all tests in a folder, and in those below it.
fn tests_in(folder: PathBuf) -> String {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let source = |path: PathBuf| {
        if path.is_dir() {
            tests_in(path)
        } else {
            read(path)
        }
    };
    paths.map(source).collect()
}

#[test]
fn every_test_they_name_is_there() {
    let tests = tests_in("tests/greet".into());
    let page = read("src/README.md").replace('\n', " ");
    // Names stand in brackets: (`one`, `another`)
    let groups = page.split("(`").skip(1);
    let names = groups.flat_map(|group| group.split(')').next().unwrap().split('`').step_by(2));
    let names: Vec<&str> = names.filter(|name| name.contains('_')).collect();
    assert!(names.len() > 20);
    let functions = tests.lines().filter(|line| line.contains("fn "));
    let functions: Vec<&str> = functions.collect();
    for name in names {
        let is_there = functions.iter().any(|line| line.contains(name));
        assert!(is_there, "{name}");
    }
}

#[test]
fn the_naive_server_on_the_page_is_the_one_that_runs() {
    let page = read("src/README.md");
    let listing = page.split("```rust,ignore\n").nth(1).unwrap();
    let listing = listing.split("```").next().unwrap();
    assert!(listing.starts_with("fn serve(") && listing.ends_with("\n}\n"));
    assert!(read("src/examples/naive.rs").contains(listing), "{listing}");
}

#[test]
fn the_help_is_as_it_is_printed() {
    let page = read("README.md");
    for (name, mut program) in [("server", piped(SERVER)), ("client", client_command())] {
        let help = run(program.arg("--help"), b"").stdout;
        let (options, statuses) = help.split_once("\nExit status:").unwrap();
        let shown = format!("$ greet-{name} --help\n{options}```");
        assert!(page.contains(&shown.replace(".exe", "")), "{help}");
        let mut retries = statuses.lines().filter(|line| line.contains("while "));
        assert!(retries.all(|line| page.contains(line.trim())), "{help}");
    }
}

/// Recipes of README.md, run by a shell.
#[cfg(unix)]
mod recipes {
    use super::*;
    use crate::peers::ClosedPort;
    use crate::programs::{Finished, Server, TempPath};

    /// Runs the recipe that has these words in it, with this port and shorter pauses, under `set -e`.
    #[track_caller]
    fn run_recipe(words: &str, port: u16, then: &str) -> Finished {
        let page = read("README.md");
        let mut recipes = page
            .split("```sh\n")
            .map(|rest| rest.split("```").next().unwrap());
        let recipe = recipes.find(|recipe| recipe.contains(words)).expect(words);
        let local = format!("127.0.0.1 -p {port}");
        let recipe = recipe.replace("greet-client HOST", &format!("greet-client {local}"));
        let recipe = recipe.replace("greet-server", &format!("greet-server -b {local}"));
        let recipe = recipe.replace("sleep 5", "sleep 0.1") + then;
        let folder = TempPath::new(&format!("recipe-{port}"));
        fs::create_dir(&folder.0).unwrap();
        let programs = Path::new(SERVER).parent().unwrap().display();
        let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
        let mut shell = piped("sh");
        shell.args(["-ec", &recipe]).current_dir(&folder.0);
        run(shell.env("PATH", path), b"")
    }

    #[test]
    fn the_retries_leave_the_status() {
        let server = Server::start(&["--greeting", "hello"]);
        for words in ["; [ $s -eq 1 ]; do", "-lt 5"] {
            let finished = run_recipe(words, server.port, "echo $s");
            assert_eq!(finished.stdout, "hello\n0\n", "{finished:?}");
        }
        let closed = ClosedPort::new();
        let finished = run_recipe("-lt 5", closed.address().port(), "echo $s");
        assert_eq!(finished.stdout, "1\n", "{finished:?}");
        assert_eq!(finished.stderr.lines().count(), 5, "{finished:?}");
    }

    #[test]
    fn a_script_goes_on_once_its_server_listens_and_ends_if_it_cannot() {
        let finished = run_recipe("kill -0", 0, "kill $server; echo goes on");
        assert!(finished.status.success(), "{finished:?}");
        let shown = finished.stdout.strip_prefix("listening on 127.0.0.1:");
        assert!(shown.unwrap().ends_with("\ngoes on\n"), "{finished:?}");

        let taken = Server::start(&[]);
        let finished = run_recipe("kill -0", taken.port, "echo goes on");
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert_eq!(finished.stdout, "");
        let reasons = finished.stderr.matches("cannot listen").count();
        assert_eq!(reasons, 1, "{finished:?}");
    }
}
