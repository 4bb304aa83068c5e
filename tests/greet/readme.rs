//! The two README.md, held to their word: what they link is there, and what they state is so.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::programs::{CLIENT, SERVER, piped, run};

fn read(path: impl AsRef<Path>) -> String {
    let content = fs::read_to_string(&path);
    content.unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
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
            let mut headings = content.lines().filter(|line| line.starts_with('#'));
            let is_there = heading.is_empty() || headings.any(|line| anchor(line) == heading);
            assert!(is_there, "{target}");
            for item in text.split('`').skip(1).step_by(2) {
                let is_there = target.ends_with(item) || content.contains(item);
                assert!(is_there, "{item} is not in {target}");
            }
        }
    }
}

#[test]
fn every_test_they_name_is_there_and_every_test_has_a_row() {
    let files = fs::read_dir("tests/greet").unwrap();
    let tests: String = files.map(|file| read(file.unwrap().path())).collect();
    // Parts of names stand in brackets: (`one`, `another`)
    let page = read("src/README.md").replace('\n', " ");
    let groups = page.split("(`").skip(1);
    let parts = groups.flat_map(|group| group.split(')').next().unwrap().split('`').step_by(2));
    let parts: Vec<&str> = parts.filter(|part| part.contains('_')).collect();
    assert!(parts.len() > 20);
    for part in parts {
        let mut functions = tests.lines().filter(|line| line.contains("fn "));
        assert!(functions.any(|line| line.contains(part)), "{part}");
    }

    let promises = read("tests/README.md");
    let rows = promises.lines().filter_map(|row| row.split(" | ").nth(1));
    let names = rows.flat_map(|tests| tests.split('`').skip(1).step_by(2));
    let names: BTreeSet<&str> = names.filter(|name| name.contains('_')).collect();
    for name in &names {
        assert!(tests.contains(&format!("fn {name}() {{")), "{name}");
    }
    let count = tests.matches("#[test]\n").count();
    assert_eq!(names.len(), count, "a test has no row");
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
fn the_help_is_as_it_is_printed_and_fits_80_columns() {
    let page = read("README.md");
    for (name, program) in [("server", SERVER), ("client", CLIENT)] {
        let help = run(piped(program).arg("--help"), b"").stdout;
        assert!(help.lines().all(|line| line.len() <= 80), "{help}");
        let version = format!("greet-{name} {}\n", env!("CARGO_PKG_VERSION"));
        run(piped(program).arg("--version"), b"").assert_ended(0, &version);
        let shown = format!("$ greet-{name} --help\n{help}```");
        assert!(page.contains(&shown.replace(".exe", "")), "{help}");
        // The retry stands among the recipes, too.
        for retry in help.lines().filter(|line| line.contains("while ")) {
            assert_eq!(page.matches(retry.trim()).count(), 2, "{help}");
        }
    }
}

#[test]
fn the_front_page_is_short_and_its_code_is_narrow() {
    let page = read("README.md");
    // Every second part is a block of code.
    let parts: Vec<&str> = page.split("```").collect();
    let words = parts
        .iter()
        .step_by(2)
        .flat_map(|text| text.split_whitespace());
    // Bars and dashes of tables and lists are no words.
    let words = words.filter(|word| word.contains(char::is_alphanumeric));
    let count = words.count();
    assert!(count <= 1_300, "{count} words");
    let code = parts.iter().skip(1).step_by(2);
    let mut lines = code.flat_map(|code| code.lines());
    assert_eq!(lines.find(|line| line.chars().count() > 88), None);
}

/// Recipes of README.md, run by the shells that people paste them into.
#[cfg(unix)]
mod recipes {
    use std::sync::LazyLock;

    use super::*;
    use crate::needs::has;
    use crate::programs::{Finished, Server, TempPath};

    /// Stands in for the client. It keeps each line, and ends with the next of the statuses in a file.
    /// It is a function, so it can have no hyphen in its name. Nothing waits.
    const STAND_IN: &str = "
        client() {
            IFS= read -r taken
            printf '%s\\n' \"$taken\" >>sent
            read -r next others <statuses
            printf '%s\\n' \"$others\" >statuses
            return \"$next\"
        }
        sleep() { :; }
        job() { echo run >>jobs; printf '%s\\n' ' a  *\\'; }
    ";

    static SHELLS: LazyLock<Vec<&str>> = LazyLock::new(|| {
        let mut shells = vec!["dash", "bash", "zsh"];
        shells.retain(|shell| has(shell));
        shells
    });

    /// The recipe that has these words in it.
    #[track_caller]
    fn recipe(words: &str) -> String {
        let page = read("README.md");
        let mut blocks = page.split("```sh\n").skip(1);
        let block = blocks.find(|block| block.split("```").next().unwrap().contains(words));
        block.expect(words).split("```").next().unwrap().into()
    }

    /// Runs a script in dash, bash and zsh, with and without `-e` and `pipefail`, each time in a folder of
    /// its own with such a `lines.txt`.
    fn run_in_every_shell(lines: &str, script: &str) -> Vec<Finished> {
        let programs = Path::new(SERVER).parent().unwrap().display();
        let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
        let mut runs = Vec::new();
        for shell in &*SHELLS {
            for options in [&["-c"][..], &["-ec"], &["-o", "pipefail", "-ec"]] {
                if *shell == "dash" && options.contains(&"pipefail") {
                    continue; // Not every dash has it.
                }
                // Each test has a thread with its name.
                let test = std::thread::current();
                let folder = TempPath::new(&test.name().unwrap().replace("::", "-"));
                fs::create_dir(&folder.0).unwrap();
                fs::write(folder.0.join("lines.txt"), lines).unwrap();
                let mut command = piped(shell);
                command.args(options).arg(script).current_dir(&folder.0);
                runs.push(run(command.env("PATH", &path), b""));
            }
        }
        runs
    }

    #[test]
    fn a_recipe_that_sends_ends_with_the_right_status_and_loses_no_line() {
        let retry = "while echo done | greet-client HOST; s=$?; [ $s -eq 1 ]; do";
        // Some words of a recipe, how the client ends, one try after another, and the last status with all
        // that was sent.
        #[rustfmt::skip] // A table.
        let cases = [
            (retry, "0", "0 \ndone\n"),
            (retry, "1 1 0", "0 \ndone\ndone\ndone\n"),
            (retry, "1 2", "2 \ndone\ndone\n"),
            (retry, "1 3 0", "3 \ndone\ndone\n"),
            (retry, "127", "127 \ndone\n"),
            ("-lt 5", "1 1 0", "0 \ndone\ndone\ndone\n"),
            ("-lt 5", "1 3 0", "3 \ndone\ndone\n"),
            ("-lt 5", "1 1 1 1 1 0", "1 \ndone\ndone\ndone\ndone\ndone\n"),
            ("$(job)", "1 0", "0 \n a  *\\\n a  *\\\nrun\n"),
            ("doubt=yes", "1 0", "0 no\ndone\ndone\n"),
            ("doubt=yes", "3 1 0", "0 yes\ndone\ndone\ndone\n"),
            ("doubt=yes", "3 2", "2 yes\ndone\ndone\n"),
            ("done <lines.txt", "0 1 0 0", "0 \n one\\\n\n\n*last\n"),
            ("done <lines.txt", "0 3", "3 \n one\\\n\n"),
        ];
        for (words, statuses, expected) in cases {
            let recipe = recipe(words).replace("greet-client HOST", "client");
            let script = format!("{STAND_IN}\necho {statuses} >statuses\n{recipe}");
            let script = script + "\necho \"$s ${doubt-}\"; cat sent; cat jobs 2>/dev/null || :";
            for finished in run_in_every_shell(" one\\\n\n*last", &script) {
                finished.assert_ended(0, expected);
            }
        }
        let empty = recipe("done <lines.txt").replace("<lines.txt", "</dev/null");
        for finished in run_in_every_shell("", &(empty + "\necho $s")) {
            finished.assert_ended(0, "2\n");
        }
    }

    #[test]
    fn a_script_goes_on_once_its_server_listens_and_ends_if_it_cannot() {
        // What an earlier server has left must not pass for this one's.
        let script = "echo listening on nothing >server.log\n".to_owned() + &recipe("kill -0");
        let start = |port: u16| {
            let server = format!("greet-server -b 127.0.0.1 -p {port} >>");
            script.replace("greet-server >>", &server)
        };
        // A busy machine may take longer than a person would wait.
        let patient = |port| start(port).replace("-ne 50", "-ne 300");
        let goes_on = patient(0) + "\nkill $server; echo goes on";
        for finished in run_in_every_shell("", &goes_on) {
            let listening = finished.stdout.starts_with("listening on 127.0.0.1:");
            let goes_on = finished.stdout.ends_with("\ngoes on\n");
            assert!(listening && goes_on, "{finished:?}");
        }
        let taken = Server::start(&[]);
        for finished in run_in_every_shell("", &patient(taken.port)) {
            finished.assert_status(1);
            let reason = "greet-server does not listen: greet-server: cannot listen on";
            assert!(finished.stderr.contains(reason), "{finished:?}");
        }
        // If the disk is full, no reason can be logged. What never comes is not waited for.
        let full = start(0)
            .replace("2>>server.log", "2>/dev/full")
            .replace("sleep 0.1", "sleep 0");
        let there = cfg!(target_os = "linux").then(|| run_in_every_shell("", &full));
        for finished in there.unwrap_or_default() {
            finished.assert_ended(1, "");
            let last = finished.stderr.lines().last();
            assert_eq!(last, Some("greet-server does not listen: "));
        }
    }
}
