//! The recipes of the pages, run by the shells that people paste them into: alone, with `-e`, and with
//! `pipefail`.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

use crate::needs::has;
use crate::programs::{SERVER, Server, TempPath, piped, run, run_client};

/// The manual has most of them, so it comes first.
const PAGES: [&str; 5] = [
    "src/bin/README.md",
    "README.md",
    "src/README.md",
    "src/examples/README.md",
    "tests/README.md",
];

/// Stands in for the client. It takes one line, keeps it in `sent`, and ends with the next of the statuses in a
/// file. It is a function, so it can have no hyphen in its name. Nothing waits. `lines.txt` has four lines that are
/// easily spoilt.
const STAND_IN: &str = r#"
    client() {
        LC_ALL=C IFS= read -r taken || [ -n "$taken" ] || return 2
        printf '%s\n' "$taken" >>sent
        next_status
    }
    next_status() {
        read -r next others <statuses
        printf '%s\n' "$others" >statuses
        return "${next:-99}"
    }
    sleep() { :; }
    printf ' one\\\n\n\377\n*last' >lines.txt
    : >sent
"#;

/// Each shell with each set of options.
static SHELLS: LazyLock<Vec<Vec<&str>>> = LazyLock::new(|| {
    let mut calls = Vec::new();
    for shell in [&["dash"][..], &["bash"], &["zsh"], &["busybox", "ash"]] {
        if has(shell[0]) {
            for options in [&["-c"][..], &["-ec"], &["-o", "pipefail", "-ec"]] {
                let call = [shell, options].concat();
                let tried = piped(call[0]).args(&call[1..]).arg(":").output();
                // Not every dash has pipefail.
                if tried.unwrap().status.success() {
                    calls.push(call);
                }
            }
        }
    }
    calls
});

/// The first recipe on the pages that has these words in it.
#[track_caller]
fn recipe(words: &str) -> String {
    let pages = PAGES.map(|page| fs::read_to_string(page).unwrap_or_default());
    let blocks = pages.iter().flat_map(|page| page.split("```sh\n").skip(1));
    let mut blocks = blocks.filter_map(|block| block.split("```").next());
    let block = blocks.find(|block| block.contains(words));
    block.expect(words).into()
}

/// How many folders there have been.
static FOLDERS: AtomicUsize = AtomicUsize::new(0);

/// Hands out a script, to be started by each shell with each set of options, each time with a folder of its own.
fn in_every_shell(script: &str, try_it: impl Fn(&mut Command, &Path) + Sync) {
    let programs = Path::new(SERVER).parent().unwrap().display();
    let path = format!("{programs}:{}", env::var("PATH").unwrap());
    thread::scope(|scope| {
        for call in &*SHELLS {
            let (path, try_it) = (&path, &try_it);
            scope.spawn(move || {
                let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
                let folder = TempPath::new(&format!("recipe-{number}"));
                fs::create_dir(&folder.0).unwrap();
                let mut command = piped(call[0]);
                command.args(&call[1..]).arg(script).env("PATH", path);
                try_it(command.current_dir(&folder.0), &folder.0);
            });
        }
    });
}

/// Runs a recipe that sends, with a client that ends with these statuses, one try after another. What `s` is then,
/// and what `then` prints, must be as expected. A line on standard error must say if something was not delivered.
#[track_caller]
fn check(recipe: &str, statuses: &str, then: &str, expected: &str) {
    let recipe = recipe.replace("greet-client HOST", "client");
    let recipe = recipe.replace("greet-client --check -t 2 HOST", "next_status");
    let script = format!("{STAND_IN}\necho {statuses} >statuses\n{recipe}\necho $s; {then}");
    in_every_shell(&script, |command, _| {
        let finished = run(command, b"");
        finished.assert_ended(0, expected);
        let is_reported = finished.stderr.contains(": status ");
        assert_ne!(expected.starts_with("0\n"), is_reported, "{finished:?}");
    });
}

#[test]
fn a_retry_sends_the_same_line_until_it_is_delivered_refused_or_in_doubt() {
    let retry = "while echo done | greet-client HOST; s=$?; [ $s -eq 1 ]; do";
    let doubt = "doubt=yes";
    // Some words of the recipe, how the client ends, the last status, the doubt, and how many tries there were.
    #[rustfmt::skip] // A table.
    let cases = [
        (retry, "0", 0, "", 1),
        (retry, "1 1 0", 0, "", 3),
        (retry, "1 2", 2, "", 2),
        (retry, "1 3 0", 3, "", 2),
        (retry, "127", 127, "", 1),
        ("-lt 5", "1 1 0", 0, "", 3),
        ("-lt 5", "1 3 0", 3, "", 2),
        ("-lt 5", "1 1 1 1 1 0", 1, "", 5),
        (doubt, "1 0", 0, "no", 2),
        (doubt, "3 1 0", 0, "yes", 3),
        (doubt, "1 3 2", 2, "yes", 3),
        (doubt, "1 143", 143, "no", 2),
    ];
    for (words, statuses, status, doubt, tries) in cases {
        let expected = format!("{status}\n{doubt}\n{}", "done\n".repeat(tries));
        let then = "echo ${doubt-}; cat sent";
        check(&recipe(words), statuses, then, &expected);
    }
}

#[test]
fn a_script_ends_with_the_status_of_a_line_that_was_not_delivered() {
    for (status, prints) in [(0, "goes on\n"), (1, ""), (2, ""), (3, "")] {
        let script = format!("s={status}\n{}\necho goes on", recipe("|| exit $s"));
        in_every_shell(&script, |command, _| {
            run(command, b"").assert_ended(status, prints);
        });
    }
}

#[test]
fn a_number_in_each_line_makes_a_duplicate_harmless() {
    let lines = "uniq sent | sed 's/^[0-9a-f]\\{16\\} done [0-9a-f]\\{16\\}$/a numbered line/'";
    check(&recipe("id=$(od "), "3 1 0", lines, "0\na numbered line\n");
    // The beginnings of a line, the line twice, and another one.
    let lines = r"printf '7-1\n7-1 done 7-\n7-1 done 7-1\n7-1 done 7-1\n8-1 x 8-1\n' >lines.txt";
    let script = format!("{lines}\n{}", recipe("awk "));
    in_every_shell(&script, |command, _| {
        run(command, b"").assert_ended(0, "7-1 done 7-1\n8-1 x 8-1\n");
    });
}

#[test]
fn a_command_runs_once_and_nothing_is_sent_if_it_fails_or_prints_nothing() {
    let first = recipe("line=$(job)");
    let last = first.replace("sed -n 1p", "sed -n '$p'");
    let lines = r"printf '%s\n' ' a  *\' two ' three'";
    let much = "echo one; printf '%099999d' 0"; // More than a pipe holds.
    let cases = [
        (&first, lines, "1 0", "0\n a  *\\\n a  *\\\nran\n"),
        (&last, lines, "1 3", "3\n three\n three\nran\n"),
        (&first, much, "0", "0\none\nran\n"),
        (&first, "echo half; return 1", "0", "2\nran\n"),
        (&first, ":", "0", "2\nran\n"),
    ];
    for (recipe, prints, statuses, expected) in cases {
        let job = format!("job() {{ echo ran >>jobs; {prints}; }}\n{recipe}");
        check(&job, statuses, "cat sent jobs", expected);
    }
}

#[test]
fn the_lines_of_a_file_are_sent_in_order_up_to_one_that_is_not_delivered() {
    let file = recipe("[ -n \"$line\" ]; do\n");
    let all = "0\n one\\\n\n\n\u{fffd}\n*last\n";
    check(&file, "0 1 0 0 0", "cat sent", all);
    check(&file, "0 0 3 0", "cat sent", "3\n one\\\n\n\u{fffd}\n");
    let empty = ": >lines.txt\n".to_owned() + &file;
    check(&empty, "0", "cat sent", "2\n");
}

#[test]
fn a_file_goes_on_where_it_stopped() {
    let file = recipe("sent.txt");
    // It stops, it goes on, and it leaves a last line without an end until somebody ends it. Then nothing is left.
    let again = |statuses| format!("\necho $s; echo {statuses} >statuses\n{file}");
    let script = [
        &file,
        &again("1 0 0"),
        "\necho ' more' >>lines.txt",
        &again("0"),
        &again("2"),
    ]
    .concat();
    let sent = "3\n0\n0\n0\n one\\\n\n\n\n\u{fffd}\n*last more\n";
    let kept = "kept\n one\\\n\n\u{fffd}\n*last more\n";
    let then = "cat sent; echo kept; cat sent.txt";
    check(&script, "0 3", then, &[sent, kept].concat());
    // If nothing can be kept of what was sent, nothing is sent.
    let keeps_nothing = "mkdir sent.txt\n".to_owned() + &file;
    check(&keeps_nothing, "0", "cat sent", "2\n");
    // A file that was emptied has no line that was sent before.
    let emptied = ": >lines.txt; printf 'a\\nb\\n' >sent.txt\n".to_owned() + &file;
    check(&emptied, "0", "cat sent", "2\n");
    // It is known which line was delivered if that cannot be noted.
    if cfg!(target_os = "linux") {
        let full = "ln -s /dev/full sent.txt\n".to_owned()
            + &file.replace("touch sent.txt && sent=$(wc -l <sent.txt)", "sent=0");
        check(&full, "0 0", "cat sent", "3\n one\\\n");
    }
}

#[test]
fn a_half_line_is_ended_and_no_other_file_is_changed() {
    let end = recipe("tail -c 1 lines.txt");
    for (file, ended) in [("half", "half\n"), ("whole\n", "whole\n"), ("", "")] {
        let script = format!("printf '{file}' >lines.txt\n{end}\ncat lines.txt");
        in_every_shell(&script, |command, _| {
            run(command, b"").assert_ended(0, ended);
        });
    }
}

#[test]
fn what_a_device_sends_is_kept_line_by_line() {
    let device = recipe("awk '{ print; fflush() }'");
    in_every_shell(&device, |command, folder| {
        run(command, b"one\rtwo\rlast").assert_ended(0, "");
        assert_eq!(
            fs::read(folder.join("lines.txt")).unwrap(),
            b"one\ntwo\nlast\n"
        );
    });
}

#[test]
fn a_spool_keeps_each_line_until_it_is_delivered() {
    let spool = "mv lines.txt spool.txt\n".to_owned() + &recipe("spool.txt");
    let all = "0\n one\\\n\n\u{fffd}\n*last\n";
    check(&spool, "0 0 0 0", "cat sent spool.txt", all);
    let rest = "3\n one\\\n\n\nrest\n\n\u{fffd}\n*last";
    check(&spool, "0 1 3", "cat sent; echo rest; cat spool.txt", rest);
    let empty = ": >lines.txt\n".to_owned() + &spool;
    check(&empty, "0", "cat sent", "0\n");
    if cfg!(target_os = "linux") {
        let full = "ln -s /dev/full rest.txt\n".to_owned() + &spool;
        let then = "cat sent; head -n 1 spool.txt";
        check(&full, "0 0", then, "3\n one\\\n one\\\n");
    }
}

#[test]
fn a_check_in_a_loop_ends_when_the_server_is_up_or_an_argument_is_wrong() {
    let check_it = recipe("while greet-client --check");
    check(&check_it, "1 1 0 1", "cat statuses", "0\n1\n");
    check(&check_it, "1 2 0", "cat statuses", "2\n0\n");
}

#[test]
fn a_script_receives_one_line_or_says_that_none_came() {
    if !has("timeout") {
        return;
    }
    let receive = recipe("-n 1) || [ -n \"$line\" ] ||");
    assert!(receive.contains("timeout --foreground 60 greet-server "));
    let receive = receive.replace("greet-server ", "greet-server -p 0 ");
    let script = format!("{receive}\necho \"got $line\"");
    in_every_shell(&script, |command, _| {
        let server = Server::start_by(command);
        run_client(server.port, b" a line \n").assert_status(0);
        let finished = server.program.end();
        finished.assert_ended(0, "got  a line \n");
        assert!(!finished.stderr.contains("no line"), "{finished:?}");
    });
    // The time is over, and a line came at the last moment, or none.
    let too_late = script.replace(
        "timeout --foreground 60 greet-server -p 0 -b 127.0.0.1 -n 1",
        "late",
    );
    assert_ne!(script, too_late);
    for (prints, expected, is_none) in [("echo x;", "got x\n", false), ("", "got \n", true)] {
        let script = format!("late() {{ {prints} return 124; }}\n{too_late}");
        in_every_shell(&script, |command, _| {
            let finished = run(command, b"");
            finished.assert_ended(0, expected);
            assert_eq!(finished.stderr.contains("no line"), is_none, "{finished:?}");
        });
    }
}

#[test]
fn each_line_is_processed_and_none_is_lost_when_the_server_is_stopped() {
    let process =
        recipe("processed.log").replace("exec greet-server", "exec greet-server -b 127.0.0.1 -p 0");
    let stop = recipe("kill \"$(cat server.pid)\"");
    in_every_shell(&process, |command, folder| {
        let has_pipefail = command.get_args().any(|argument| argument == "pipefail");
        let server = Server::start_by(command);
        for line in [&b" one\\\n"[..], b"\n", b"last\n"] {
            run_client(server.port, line).assert_status(0);
        }
        run(piped("sh").arg("-c").arg(&stop).current_dir(folder), b"").assert_status(0);
        let finished = server.program.end();
        finished.assert_ended(if has_pipefail { 143 } else { 0 }, "");
        let processed = fs::read_to_string(folder.join("processed.log")).unwrap();
        assert_eq!(processed, " one\\\n\nlast\n");
    });
}

#[test]
fn a_script_goes_on_once_its_server_listens_and_ends_if_it_cannot() {
    // What an earlier server has left must not pass for this one's.
    let start = "echo listening on nothing >server.log\n".to_owned() + &recipe("kill -0");
    let script = start + "\necho goes on; kill $server";
    let listen = |script: &str, port: u16| {
        let server = format!("greet-server -b 127.0.0.1 -p {port} >>");
        script.replace("greet-server >>", &server)
    };
    // A busy machine may take longer than a person would wait.
    let patient = |port| listen(&script, port).replace("-ne 50", "-ne 300");
    let taken = Server::start(&[]);
    // If the disk is full, no reason can be logged. What never comes is not waited for.
    let full = listen(&script, 0).replace("2>>server.log", "2>/dev/full");
    let full = full.replace("sleep 0.1", "sleep 0");
    thread::scope(|scope| {
        scope.spawn(|| {
            in_every_shell(&patient(0), |command, _| {
                run(command, b"").assert_ended(0, "goes on\n");
            });
        });
        scope.spawn(|| {
            in_every_shell(&patient(taken.port), |command, _| {
                let finished = run(command, b"");
                finished.assert_ended(1, "");
                let reason = "greet-server does not listen: greet-server: cannot listen on";
                assert!(finished.stderr.contains(reason), "{finished:?}");
            });
        });
        if cfg!(target_os = "linux") {
            in_every_shell(&full, |command, _| {
                let finished = run(command, b"");
                finished.assert_ended(1, "");
                let last = finished.stderr.lines().last();
                assert_eq!(last, Some("greet-server does not listen: "));
            });
        }
    });
}
