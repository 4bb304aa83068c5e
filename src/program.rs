//! How every program here begins, keeps its log and ends. Nothing else in the library prints or exits.

use std::{fmt::Display, io, process::ExitCode};

use clap::Parser;
use clap::error::ContextValue;

use crate::terminal::{escape, show};

/// The most bytes of an argument that an error quotes. A value may be as long as a line, and the reason
/// behind it must still be seen.
const MAX_QUOTE_LENGTH: usize = 200;

/// Reads the program's arguments. If they ask for help, or are wrong, this prints clap's message and ends the
/// program, as [`Parser::parse`] does, with status 0 or 2. But whatever a message quotes of the arguments is
/// escaped, so that it gives the terminal no orders, and not quoted at length.
#[must_use]
pub fn arguments<Options: Parser>() -> Options {
    Options::try_parse().unwrap_or_else(|mut error| {
        let context = error.context();
        let quoted: Vec<_> = context
            .map(|(kind, value)| (kind, make_safe(value)))
            .collect();
        for (kind, value) in quoted {
            error.insert(kind, value);
        }
        error.exit()
    })
}

/// Escapes and shortens a part of clap's message, in each form in which that can quote an argument.
fn make_safe(part: &ContextValue) -> ContextValue {
    match part {
        ContextValue::String(text) => ContextValue::String(quote(text)),
        // A tip may repeat the argument.
        ContextValue::StyledStrs(tips) => {
            let tips = tips.iter().map(|tip| quote(&tip.to_string()).into());
            ContextValue::StyledStrs(tips.collect())
        }
        // The others, such as the usage with its line ends, have only clap's own words.
        other => other.clone(),
    }
}

/// What a message quotes of an argument: at most its beginning, and that escaped.
fn quote(text: &str) -> String {
    // The longest beginning of at most so many bytes that does not end inside a character.
    let beginning = (0..=MAX_QUOTE_LENGTH)
        .rev()
        .find_map(|length| text.split_at_checked(length));
    match beginning {
        Some((beginning, rest)) if !rest.is_empty() => escape(beginning.as_bytes()) + "…",
        _ => escape(text.as_bytes()),
    }
}

/// Writes one line to the log, which is standard error. It is escaped, because it may quote what a person
/// typed, which can hold anything.
///
/// A failure is ignored: if the log is lost, the service goes on. `eprintln!` would panic then, and it writes
/// each piece of its text by itself.
pub fn log(line: String) {
    let _ = show(io::stderr(), true, line.into_bytes());
}

/// Runs a program from its arguments to its end. If it fails, this writes one line to the log, with the program's
/// name before the reason, and returns status 1.
pub fn run<Options: Parser, Reason: Display>(
    name: &str,
    program: impl FnOnce(&Options) -> Result<(), Reason>,
) -> ExitCode {
    match program(&arguments()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => fail(1, name, &reason),
    }
}

/// Writes one line to the log, and returns the exit status. `what` is the name of the program that has failed, and
/// what that means to its user.
pub fn fail(status: u8, what: &str, reason: &impl Display) -> ExitCode {
    // anyhow shows the reasons behind a reason with `#`.
    log(format!("{what}: {reason:#}"));
    ExitCode::from(status)
}
