//! The proof that the close is a receipt: a search through every order in which things can happen.
//!
//! Read it beside *The close is the receipt* in `src/lib.rs`. To see how a line is lost if a rule is missing,
//! run `cargo test --test greet model -- --nocapture --test-threads 1`.
//!
//! The greeting is over, and the line travels in two pieces. Segments arrive once and in order, because what
//! is lost or doubled is the business of the two systems, below this.

use std::collections::HashSet;

use Change::{EarlyHalfClose, EarlyTake, HastyClient, NoLineEnd, Relay, Reply};
use Segment::{Acknowledgement, Answer, Fin, FirstPiece, LastPiece, Reset};
use Step::{Checks, Closes, Confirms, Ends, Looks, Reads, Replies, SendsFirst, SendsLast, Shows};

/// What is different from the two programs, with default options and a direct connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Change {
    /// Without rule 1, the server takes the line's end from the system before it shows the message.
    EarlyTake,
    /// Without rule 2, the server may half-close before it shows the message.
    EarlyHalfClose,
    /// Without rule 3, the client takes the end of the stream for a receipt at once.
    HastyClient,
    /// A relay has one connection with each side, and passes on what it reads.
    Relay,
    /// Both programs have `--reply`.
    Reply,
    /// The end of the stream ends the line, instead of an LF in its last piece.
    NoLineEnd,
}

/// An acknowledgement is of everything, up to the FIN.
#[rustfmt::skip]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Segment { FirstPiece, LastPiece, Answer, Fin, Acknowledgement, Reset }

/// One end of a TCP connection.
#[allow(clippy::struct_excessive_bools, reason = "they are independent")]
#[derive(Default, Clone, PartialEq, Eq, Hash)]
struct End {
    /// The receive buffer, and what is on its way to the other end.
    unread: Vec<Segment>,
    sent: Vec<Segment>,
    has_half_closed: bool,
    /// Its program has closed it. The system still answers.
    is_closed: bool,
    /// A reset was sent, or has come.
    is_reset: bool,
    is_acknowledged: bool,
}

impl End {
    fn send(&mut self, segment: Segment) {
        if !self.has_half_closed && !self.is_reset {
            self.sent.push(segment);
        }
    }

    fn half_close(&mut self) {
        self.send(Fin);
        self.has_half_closed = true;
    }

    fn reset(&mut self) {
        self.sent.push(Reset);
        self.is_reset = true;
    }

    /// The program closes the socket, or the program ends and the system closes it.
    fn close(&mut self) {
        // A close with unread bytes resets (RFC 1122, 4.2.2.13; RFC 2525, 2.17). A FIN is no byte.
        if !self.is_reset && self.unread.iter().any(|segment| *segment != Fin) {
            self.reset();
        }
        self.half_close();
        self.is_closed = true;
    }

    fn receive(&mut self, segment: Segment) {
        match segment {
            Reset => self.is_reset = true,
            // There is no connection any more (RFC 9293, 3.10.7.1).
            _ if self.is_reset => self.reset(),
            Acknowledgement => self.is_acknowledged = true,
            Fin => {
                self.unread.push(Fin);
                self.sent.push(Acknowledgement);
            }
            // Bytes that nobody can read any more are answered with a reset (RFC 1122, 4.2.2.13).
            _ if self.is_closed => self.reset(),
            _ => self.unread.push(segment),
        }
    }
}

/// What a program does next. The client ends with an exit status.
#[rustfmt::skip]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
enum Step { #[default] Checks, SendsFirst, SendsLast, Reads, Confirms, Looks, Shows, Replies, Closes, Ends(u8) }

#[derive(Default, Clone, PartialEq, Eq, Hash)]
struct State {
    changes: &'static [Change],
    client: Step,
    server: Step,
    /// The client's end, both ends of the relay if there is one, and the server's end.
    ends: Vec<End>,
    has_sent: bool,
    /// What the server has received of the line, and what it has shown.
    received: Vec<Segment>,
    shown: Vec<Segment>,
}

impl State {
    fn new(changes: &'static [Change]) -> Self {
        let ends = vec![End::default(); if changes.contains(&Relay) { 4 } else { 2 }];
        Self {
            changes,
            server: Looks,
            ends,
            ..Self::default()
        }
    }

    fn has(&self, change: Change) -> bool {
        self.changes.contains(&change)
    }

    /// Takes the client's next step, and returns the one after it, unless it has to wait.
    fn client_goes_on(&mut self) -> Option<Step> {
        let (has_reply, is_hasty) = (self.has(Reply), self.has(HastyClient));
        let end = &mut self.ends[0];
        Some(match (self.client, end.unread.first()) {
            (Checks, None) if !end.is_reset => SendsFirst,
            (Checks, _) => Ends(1),
            (SendsFirst | SendsLast | Confirms, _) | (Reads, None) if end.is_reset => Ends(3),
            (SendsFirst, _) => {
                end.send(FirstPiece);
                self.has_sent = true;
                SendsLast
            }
            (SendsLast, _) => {
                end.send(LastPiece);
                if !has_reply {
                    end.half_close();
                }
                Reads
            }
            (Reads, Some(Answer)) => Ends(0),
            (Reads, Some(_)) if has_reply => Ends(3),
            (Reads, Some(_)) if is_hasty => Ends(0),
            (Reads, Some(_)) => Confirms,
            (Confirms, _) if end.is_acknowledged => Ends(0),
            _ => return None,
        })
    }

    fn server_goes_on(&mut self) -> Option<Step> {
        let (takes_early, has_reply) = (self.has(EarlyTake), self.has(Reply));
        let has_line_end = !self.has(NoLineEnd);
        let end = self.ends.last_mut()?;
        Some(match self.server {
            Looks if has_line_end && end.unread.contains(&LastPiece) => {
                let pieces = end.unread.iter().filter(|segment| **segment != Fin);
                self.received.extend(pieces);
                if takes_early {
                    end.unread.clear();
                }
                Shows
            }
            Looks if end.unread.first()? != &Fin => {
                // The next `recv` takes from the system what this one has returned.
                self.received.push(end.unread.remove(0));
                Looks
            }
            Looks if self.received.is_empty() => return None,
            Looks => Shows,
            Shows => {
                self.shown.clone_from(&self.received);
                Replies
            }
            Replies if has_reply => {
                end.send(Answer);
                Closes
            }
            Replies | Closes => {
                end.unread.clear();
                Ends(0)
            }
            _ => return None,
        })
    }

    /// The relay passes on what it reads, and makes of a reset an orderly end.
    fn relay_passes_on(&mut self, from: usize, to: usize) -> Option<String> {
        let segment = match self.ends[from].unread.first() {
            Some(_) => self.ends[from].unread.remove(0),
            None if self.ends[from].is_reset => Fin,
            None => return None,
        };
        match segment {
            Fin => self.ends[to].half_close(),
            _ => self.ends[to].send(segment),
        }
        Some(format!("relay: passes on {segment:?}"))
    }

    /// The next segment arrives. A reset may take away what is unread, as it does on many systems.
    fn network_delivers(&mut self, from: usize, to: usize, takes_away: bool) -> Option<String> {
        let segment = *self.ends[from].sent.first()?;
        if takes_away && segment != Reset {
            return None;
        }
        self.ends[from].sent.remove(0);
        self.ends[to].receive(segment);
        if takes_away {
            self.ends[to].unread.clear();
        }
        let direction = if from < to { "server" } else { "client" };
        Some(format!("network: {segment:?} to the {direction}"))
    }

    /// Everything that can happen next, in words, and the states that follow.
    fn successors(&self) -> Vec<(String, Self)> {
        let mut successors = Vec::new();
        let mut attempt = |step: &dyn Fn(&mut Self) -> Option<String>| {
            let mut next = self.clone();
            successors.extend(step(&mut next).map(|words| (words, next)));
        };
        // A program that ends closes its socket, and so does its system if it is killed. It may give up at its
        // deadline, or find that the disk is full.
        let is_over = |step| matches!(step, Ends(_));
        attempt(&|state| {
            let step = state.client;
            state.client = state.client_goes_on()?;
            is_over(state.client).then(|| state.ends[0].close());
            Some(format!("client: {step:?}"))
        });
        attempt(&|state| {
            let step = Some(state.client).filter(|step| !is_over(*step))?;
            state.client = Ends(if step == Checks { 1 } else { 3 });
            state.ends[0].close();
            Some("client: gives up".into())
        });
        attempt(&|state| {
            let step = state.server;
            state.server = state.server_goes_on()?;
            is_over(state.server).then(|| state.ends.last_mut().map(End::close));
            Some(format!("server: {step:?}"))
        });
        attempt(&|state| {
            let step = Some(state.server).filter(|step| !is_over(*step))?;
            state.server = Ends(1);
            state.ends.last_mut()?.close();
            Some(format!("server: {step:?}, and fails"))
        });
        attempt(&|state| {
            state.ends.last_mut()?.half_close();
            state
                .has(EarlyHalfClose)
                .then(|| "server: half-closes".into())
        });
        for near in (0..self.ends.len()).step_by(2) {
            for (from, to) in [(near, near + 1), (near + 1, near)] {
                attempt(&|state| state.network_delivers(from, to, false));
                attempt(&|state| state.network_delivers(from, to, true));
            }
        }
        if self.has(Relay) {
            attempt(&|state| state.relay_passes_on(1, 2));
            attempt(&|state| state.relay_passes_on(2, 1));
        }
        successors
    }

    fn has_ended(&self, status: u8, is_shown: bool) -> bool {
        self.client == Ends(status) && (self.shown == [FirstPiece, LastPiece]) == is_shown
    }
}

/// Visits all states that can be reached, those with the fewest steps first. Returns the steps to the first
/// one that is `wanted`, or how many states there are if none is.
fn search(
    changes: &'static [Change],
    wanted: impl Fn(&State) -> bool,
) -> Result<Vec<String>, usize> {
    let mut known = HashSet::from([State::new(changes)]);
    // Each state, and the steps to it.
    let mut reached = vec![(State::new(changes), vec![])];
    let mut next = 0;
    while let Some((state, steps)) = reached.get(next).cloned() {
        if wanted(&state) {
            return Ok(steps);
        }
        for (step, next) in state.successors() {
            if known.insert(next.clone()) {
                reached.push((next, [&steps[..], &[step]].concat()));
            }
        }
        next += 1;
    }
    Err(reached.len())
}

/// All states were visited, and in none the client takes a line for delivered that was not shown, or says
/// that nothing was sent if something was.
fn assert_no_false_status(changes: &'static [Change]) {
    let is_false =
        |state: &State| state.has_ended(0, false) || state.client == Ends(1) && state.has_sent;
    let states = search(changes, is_false).expect_err("a false status");
    println!("no false status in {states} states");
    assert!(states > 100, "{states} states");
}

/// A client ends with 0, and its line is lost. Shows the steps.
fn assert_false_receipt(title: &str, changes: &'static [Change]) {
    let is_lost = |state: &State| state.has_ended(0, false) && matches!(state.server, Ends(_));
    let steps = search(changes, is_lost).expect(title);
    println!("{title}:\n  {}\n", steps.join("\n  "));
}

#[test]
fn in_no_order_of_events_is_a_receipt_false() {
    assert_no_false_status(&[]);
    // Every honest ending can be reached.
    for (status, is_shown) in [(0, true), (1, false), (3, false), (3, true)] {
        search(&[], |state| state.has_ended(status, is_shown)).unwrap();
    }
}

#[test]
fn without_any_one_of_the_three_rules_a_receipt_can_be_false() {
    assert_false_receipt("without rule 1", &[EarlyTake]);
    assert_false_receipt("without rule 2", &[EarlyHalfClose]);
    assert_false_receipt("without rule 3", &[HastyClient]);
}

#[test]
fn through_a_relay_only_a_reply_is_a_receipt_and_needs_no_rule() {
    assert_false_receipt("through a relay", &[Relay]);
    assert_no_false_status(&[Reply, EarlyTake, EarlyHalfClose, HastyClient]);
    assert_no_false_status(&[Relay, Reply, EarlyTake, EarlyHalfClose, HastyClient]);
}

#[test]
fn a_line_that_the_stream_ends_can_have_a_false_receipt() {
    assert_false_receipt("without a line end", &[NoLineEnd]);
}
