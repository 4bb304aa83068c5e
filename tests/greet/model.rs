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

/// What is different from the two programs, with default options and a direct connection.
#[derive(Clone, Copy, PartialEq)]
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Segment {
    FirstPiece,
    LastPiece,
    Answer,
    Fin,
    /// Of everything, up to the FIN.
    Acknowledgement,
    Reset,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Hash)]
enum Socket {
    #[default]
    Open,
    HalfClosed,
    /// Its program has closed it. The system has sent a FIN, and still answers.
    Closed,
    /// A reset was sent, or has come.
    Reset,
}

/// One end of a TCP connection.
#[derive(Default, Clone, PartialEq, Eq, Hash)]
struct End {
    socket: Socket,
    /// The receive buffer.
    unread: Vec<Segment>,
    /// What is on its way to the other end.
    sent: Vec<Segment>,
    is_acknowledged: bool,
}

impl End {
    fn send(&mut self, segment: Segment) {
        if self.socket == Socket::Open {
            self.sent.push(segment);
        }
    }

    fn half_close(&mut self) {
        self.send(Fin);
        if self.socket == Socket::Open {
            self.socket = Socket::HalfClosed;
        }
    }

    fn reset(&mut self) {
        self.sent.push(Reset);
        self.socket = Socket::Reset;
    }

    /// The program closes the socket, or the program ends and the system closes it.
    fn close(&mut self) {
        match self.socket {
            Socket::Closed | Socket::Reset => {}
            // A close with unread bytes resets (RFC 1122, 4.2.2.13; RFC 2525, 2.17). A FIN is no byte.
            _ if self.unread.iter().any(|segment| *segment != Fin) => self.reset(),
            _ => {
                self.half_close();
                self.socket = Socket::Closed;
            }
        }
    }

    fn receive(&mut self, segment: Segment) {
        match (segment, self.socket) {
            (Reset, _) => self.socket = Socket::Reset,
            // There is no connection any more (RFC 9293, 3.10.7.1).
            (_, Socket::Reset) => self.reset(),
            (Acknowledgement, _) => self.is_acknowledged = true,
            // Bytes that nobody can read any more are answered with a reset (RFC 1122, 4.2.2.13).
            (_, Socket::Closed) if segment != Fin => self.reset(),
            _ => self.unread.push(segment),
        }
        if segment == Fin && self.socket != Socket::Reset {
            self.sent.push(Acknowledgement);
        }
    }
}

/// What the client does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    Checks,
    Sends(Segment),
    Reads,
    Confirms,
    /// With this exit status.
    HasEnded(u8),
}

/// What the server does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Server {
    Looks,
    Shows,
    Replies,
    Closes,
    HasEnded,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    client: Client,
    server: Server,
    /// The client's end, both ends of the relay if there is one, and the server's end.
    ends: Vec<End>,
    has_sent: bool,
    /// What the server has received of the line, and what it has shown.
    received: Vec<Segment>,
    shown: Vec<Segment>,
}

/// Each of these takes one step, and says which. `None` means that the step is not possible.
impl State {
    fn client_goes_on(&mut self, changes: &[Change]) -> Option<String> {
        let end = &mut self.ends[0];
        let is_reset = end.socket == Socket::Reset;
        let has_reply = changes.contains(&Reply);
        let next = match (self.client, end.unread.first()) {
            (Client::Checks, None) if !is_reset => Client::Sends(FirstPiece),
            (Client::Checks, _) => Client::HasEnded(1),
            (Client::Sends(_) | Client::Confirms, _) | (Client::Reads, None) if is_reset => {
                Client::HasEnded(3)
            }
            (Client::Sends(piece), _) => {
                end.send(piece);
                self.has_sent = true;
                if piece == LastPiece && !has_reply {
                    end.half_close();
                }
                match piece {
                    FirstPiece => Client::Sends(LastPiece),
                    _ => Client::Reads,
                }
            }
            (Client::Reads, Some(Answer)) => Client::HasEnded(0),
            (Client::Reads, Some(_)) if has_reply => Client::HasEnded(3),
            (Client::Reads, Some(_)) if changes.contains(&HastyClient) => Client::HasEnded(0),
            (Client::Reads, Some(_)) => Client::Confirms,
            (Client::Confirms, _) if end.is_acknowledged => Client::HasEnded(0),
            _ => return None,
        };
        if let Client::HasEnded(_) = next {
            end.close();
        }
        let step = std::mem::replace(&mut self.client, next);
        Some(format!("client: {step:?}"))
    }

    /// At its deadline. If it is killed, its system does the same, and there is no status.
    fn client_gives_up(&mut self) -> Option<String> {
        let status = match self.client {
            Client::HasEnded(_) => return None,
            Client::Checks => 1,
            _ => 3,
        };
        self.ends[0].close();
        self.client = Client::HasEnded(status);
        Some("client: gives up".into())
    }

    fn server_goes_on(&mut self, changes: &[Change]) -> Option<String> {
        let end = self.ends.last_mut()?;
        let next = match self.server {
            Server::Looks if end.unread.contains(&LastPiece) && !changes.contains(&NoLineEnd) => {
                let pieces = end.unread.iter().filter(|segment| **segment != Fin);
                self.received.extend(pieces);
                if changes.contains(&EarlyTake) {
                    end.unread.clear();
                }
                Server::Shows
            }
            Server::Looks if end.unread.first()? != &Fin => {
                // The next `recv` takes from the system what this one has returned.
                self.received.push(end.unread.remove(0));
                Server::Looks
            }
            Server::Looks if self.received.is_empty() => return None,
            Server::Looks => Server::Shows,
            Server::Shows => {
                self.shown.clone_from(&self.received);
                Server::Replies
            }
            Server::Replies => {
                if changes.contains(&Reply) {
                    end.send(Answer);
                }
                Server::Closes
            }
            Server::Closes => {
                end.unread.clear();
                end.close();
                Server::HasEnded
            }
            Server::HasEnded => return None,
        };
        let step = std::mem::replace(&mut self.server, next);
        Some(format!("server: {step:?}"))
    }

    /// It gives up at its deadline, its disk is full, or it is killed.
    fn server_fails(&mut self) -> Option<String> {
        if self.server == Server::HasEnded {
            return None;
        }
        self.ends.last_mut()?.close();
        let step = std::mem::replace(&mut self.server, Server::HasEnded);
        Some(format!("server: {step:?}, and fails: close"))
    }

    fn server_half_closes_early(&mut self, changes: &[Change]) -> Option<String> {
        let end = self.ends.last_mut()?;
        if !changes.contains(&EarlyHalfClose) || end.socket != Socket::Open {
            return None;
        }
        end.half_close();
        Some("server: half-closes".into())
    }

    /// The relay passes on what it reads, and makes of a reset an orderly end.
    fn relay_passes_on(&mut self, from: usize, to: usize) -> Option<String> {
        let segment = match self.ends[from].unread.first() {
            Some(_) => self.ends[from].unread.remove(0),
            None if self.ends[from].socket == Socket::Reset => Fin,
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
        self.ends[from].sent.remove(0);
        self.ends[to].receive(segment);
        if takes_away {
            self.ends[to].unread.clear();
        }
        let direction = if from < to { "server" } else { "client" };
        (segment == Reset || !takes_away)
            .then(|| format!("network: {segment:?} to the {direction}"))
    }

    /// Everything that can happen next, in words, and the states that follow.
    fn successors(&self, changes: &[Change]) -> Vec<(String, Self)> {
        let mut successors = Vec::new();
        let mut attempt = |step: &dyn Fn(&mut Self) -> Option<String>| {
            let mut next = self.clone();
            successors.extend(step(&mut next).map(|words| (words, next)));
        };
        attempt(&|state| state.client_goes_on(changes));
        attempt(&Self::client_gives_up);
        attempt(&|state| state.server_goes_on(changes));
        attempt(&|state| state.server_half_closes_early(changes));
        attempt(&Self::server_fails);
        for near in (0..self.ends.len()).step_by(2) {
            for (from, to) in [(near, near + 1), (near + 1, near)] {
                attempt(&|state| state.network_delivers(from, to, false));
                attempt(&|state| state.network_delivers(from, to, true));
            }
        }
        if changes.contains(&Relay) {
            attempt(&|state| state.relay_passes_on(1, 2));
            attempt(&|state| state.relay_passes_on(2, 1));
        }
        successors
    }

    fn has_ended(&self, status: u8, is_shown: bool) -> bool {
        self.client == Client::HasEnded(status)
            && (self.shown == [FirstPiece, LastPiece]) == is_shown
    }
}

/// Visits all states that can be reached, those with the fewest steps first. Returns the steps to the first
/// one that is `wanted`, or how many states there are if none is.
fn search(changes: &[Change], wanted: impl Fn(&State) -> bool) -> Result<Vec<String>, usize> {
    let first = State {
        client: Client::Checks,
        server: Server::Looks,
        ends: vec![End::default(); if changes.contains(&Relay) { 4 } else { 2 }],
        has_sent: false,
        received: vec![],
        shown: vec![],
    };
    let mut known = HashSet::from([first.clone()]);
    // Each state, the one before it, and the step between them.
    let mut reached = vec![(first, 0, String::new())];
    let mut current = 0;
    while let Some((state, ..)) = reached.get(current) {
        if wanted(state) {
            let mut steps = Vec::new();
            while current > 0 {
                let (_, before, step) = &reached[current];
                steps.insert(0, step.clone());
                current = *before;
            }
            return Ok(steps);
        }
        for (step, next) in state.successors(changes) {
            if known.insert(next.clone()) {
                reached.push((next, current, step));
            }
        }
        current += 1;
    }
    Err(reached.len())
}

/// All states were visited, and in none the client takes a line for delivered that was not shown, or says
/// that nothing was sent if something was.
fn assert_no_false_status(changes: &[Change]) {
    let is_false = |state: &State| {
        state.has_ended(0, false) || state.client == Client::HasEnded(1) && state.has_sent
    };
    let states = search(changes, is_false).expect_err("a false status");
    println!("no false status in {states} states");
    assert!(states > 100, "{states} states");
}

/// A client ends with 0, and its line is lost. Shows the steps.
fn assert_false_receipt(title: &str, changes: &[Change]) {
    let is_lost = |state: &State| state.has_ended(0, false) && state.server == Server::HasEnded;
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
