//! What may be typed behind the programs' names, and what they say about it.

use std::{thread, time::Duration};

use greet::arguments::{parse_host, parse_timeout};

use crate::programs::{CLIENT, LONGEST, SERVER, Server, example, piped, run, run_client};

#[test]
fn a_timeout_is_a_number_of_seconds_from_0_001_to_1000000() {
    for (typed, seconds) in [("0.001", 0.001), ("3600.5", 3_600.5), ("1e6", 1e6)] {
        let timeout = Duration::from_secs_f64(seconds);
        assert_eq!(parse_timeout(typed), Ok(timeout));
    }
    let refused = "0 -0 -1 -.5 nan inf -inf 0.0009 1e-10 1000000.1 1e19 1e300 soon 1,5 5s";
    for typed in refused.split(' ').chain([""]) {
        parse_timeout(typed).expect_err(typed);
    }
}

#[test]
fn a_host_is_a_host_without_a_port() {
    // An address may name its interface.
    let taken = "localhost 127.0.0.1 0.0.0.0 0xf.00a 0xyz 7.example 01.example 01.3com ::1 ::ffff:127.0.0.1 \
                 fe80::1%eth0 a.example";
    for host in taken.split_whitespace() {
        assert_eq!(parse_host(host), Ok(host.into()));
    }
    let names = "localhost. 1e100.example.invalid 0x7f.example.invalid 0x a_b.invalid xn--tst-qla.invalid 点.invalid \
                 -x 192.0.2.7.example 255.255.255.255 ::1%lo fe80::1%2";
    for host in names.split_whitespace() {
        assert_eq!(parse_host(host), Ok(host.into()));
    }
    let refused = "127.0.0.1:65432 localhost:1 [::1] [::1]:65432 [localhost] ::1] \
                   http://localhost/ fe80::1%lo:80";
    for host in refused.split_whitespace() {
        let reason = parse_host(host).expect_err(host);
        assert!(reason.ends_with("its port goes to --port"), "{host}");
    }
    assert_eq!(parse_host(""), Err("must not be empty"));
    // Each would be another address than what was typed, or none.
    let numbers = "0177.0.0.1 127.0.0.01 127.00.0.1 010 0177.0.0.0X1 127.1 10.1.5 65432 256.1.1.1 1.2.3.4.5 \
                   0x7f.0.0.1 0x7f000001 0xF.0.0.1 127.0.0.1. 10.1.5. 0 08.8.8.8";
    for host in numbers.split_whitespace() {
        let reason = parse_host(host).expect_err(host);
        assert!(reason.contains("four numbers from 0 to 255"), "{host}");
    }
    // None of these can be a name, so trying again would never end.
    for host in [
        "127.0.0.1\r",
        " localhost",
        "localhost ",
        "local host",
        "a\tb",
        "\u{1b}h",
        "a\0b",
        "localhost/",
        "root@127.0.0.1",
        "a..b",
        ".",
        "..",
        ".a",
        "a.b..",
        "点..invalid",
        "127.0.0.1%lo",
        "localhost%lo",
        "%lo",
        "a,b",
        "\u{feff}127.0.0.1",
        "127.0.0.1\u{a0}",
        "\u{3000}localhost",
        "localhost\u{85}",
        "*.a",
        "\u{7f}",
    ] {
        let reason = parse_host(host).expect_err(host);
        assert!(reason.starts_with("must be a name of letters"), "{host}");
    }
    let interfaces = [
        "fe80::1",
        "febf::1",
        "fe80::1%",
        "fe80::1%0",
        "::1%",
        "fe80::1%l o",
        "fe80::1%lo\r",
    ];
    for host in interfaces {
        let reason = parse_host(host).expect_err(host);
        assert!(reason.contains("fe80::1%eth0"), "{host}");
    }
}

const TIMEOUT: &str = "'--timeout <SECONDS>': must be a number of seconds from 0.001 to 1000000\n";

/// Each of the values, between which a space stands, must end the program behind this option, with status 2 and
/// clap's message about the culprit.
#[track_caller]
fn assert_refuses(program: &str, option: &str, values: &str, culprit: &str) {
    for value in values.split(' ') {
        let finished = run(piped(program).args([option, value]), b"");
        finished.assert_ended(2, "");
        assert!(finished.stderr.starts_with("error: "), "{finished:?}");
        assert!(finished.stderr.contains(culprit), "{culprit}: {finished:?}");
        assert!(finished.stderr.len() < 1_000, "all is quoted");
    }
}

/// A greeting that is as long as a line may be, if the client's address is as long as an address may be.
fn greeting_for_the_longest_address() -> String {
    let longest_address = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".len();
    "{peer}".repeat(LONGEST / longest_address) + &"x".repeat(LONGEST % longest_address)
}

#[test]
fn the_server_refuses_bad_arguments_and_says_which() {
    let refuses = |option, values: &str, culprit| assert_refuses(SERVER, option, values, culprit);
    refuses("-g", "two\nlines", "'--greeting <TEXT>': an LF in the line");
    refuses("-g", "line\r", "'--greeting <TEXT>': a CR at the end");
    let too_long = greeting_for_the_longest_address() + "x";
    refuses("-g", &too_long, "'--greeting <TEXT>': the line is longer");
    refuses("-r", "two\nlines", "'--reply <TEXT>': an LF");
    refuses("-t", "0 -1 -inf -.5", TIMEOUT);
    let port = "'--port <PORT>': must be a port from 0 to 65535\n";
    refuses("-p", "65536 -1 1.5 http ", port);
    refuses("-b", "", "'--bind <HOST>': must not be empty");
    let messages = "'--messages <N>': must be a whole number from 1 to 18446744073709551615\n";
    refuses("-n", "0 -1 many", messages);
    refuses("-p0", "extra", "unexpected argument 'extra'");
}

#[test]
fn the_client_refuses_bad_arguments_and_says_which() {
    let refuses = |option, values: &str, culprit| assert_refuses(CLIENT, option, values, culprit);
    refuses("--timeout", "0 -1 -inf -.5", TIMEOUT);
    let port = "'--port <PORT>': must be a port from 1 to 65535\n";
    refuses("-p", "65536 -1 0 http ", port);
    refuses("-rline\r", "host", "'--reply <TEXT>': a CR");
    refuses("--reply=thanks", "--check", "cannot be used with");
    refuses("-p1", "[::1]:65432", "'<HOST>': must be");
    refuses("-p1", "", "'<HOST>': must not be empty");
    refuses("--port", "1", "  <HOST>\n");
}

#[test]
fn an_argument_that_is_refused_gives_the_terminal_no_orders_and_is_not_quoted_at_length() {
    let orders = "\u{1b}[2J\r\n\u{9b}31m\u{202e}";
    let unknown_option = format!("--{orders}");
    let (escaped, long) = (
        "\\u{1b}[2J\\r\\n\\u{9b}31m\\u{202e}",
        "/".to_owned() + &"é".repeat(10_000),
    );
    let check = |program: &str| {
        let refusal = |argument: &str| {
            let mut command = match program {
                SERVER | CLIENT => piped(program),
                _ => example(program),
            };
            let refused = run(command.arg(argument), b"");
            refused.assert_ended(2, "");
            refused.stderr
        };
        for argument in [orders, &unknown_option] {
            let told = refusal(argument);
            assert!(told.contains(escaped), "{told}");
            let mut characters = told.chars().filter(|character| *character != '\n');
            assert!(
                characters.all(|character| !character.is_control()),
                "{told:?}"
            );
        }
        for argument in [&long, &format!("--{long}")] {
            let told = refusal(argument);
            // A tip may repeat it.
            assert!((1..=200).contains(&told.matches('é').count()), "{told}");
        }
    };
    thread::scope(|scope| {
        for program in [SERVER, CLIENT, "echo", "keep_alive", "naive", "talk"] {
            scope.spawn(move || check(program));
        }
    });
    // The value of an option, which is escaped, too.
    for (program, option) in [
        (SERVER, "-p"),
        (SERVER, "-n"),
        (SERVER, "-b"),
        (CLIENT, "-t"),
        (CLIENT, "-r"),
    ] {
        let refused = run(
            piped(program).args([option, &format!("65432{orders}")]),
            b"",
        );
        refused.assert_ended(2, "");
        assert!(
            refused.stderr.contains(&format!("'65432{escaped}'")),
            "{refused:?}"
        );
    }
}

#[test]
fn a_greeting_may_be_empty_or_begin_with_a_hyphen_or_be_as_long_as_a_line() {
    // On Windows a command line ends at 32,767 characters.
    let longest = "g".repeat(if cfg!(windows) { 32_000 } else { LONGEST });
    let longest_with_address = greeting_for_the_longest_address();
    for greeting in ["-x", "--help-me", "", &longest, &longest_with_address] {
        let server = Server::start(&["-g", greeting]);
        let expected = greeting.replace("{peer}", "127.0.0.1") + "\n";
        assert_eq!(run_client(server.port, b"hi\n").stdout, expected);
    }
}
