//! The proof that the close is a receipt: a search through every order in which things can happen.
//!
//! Read it beside *The close is the receipt* in `src/lib.rs`. To see how a line is lost if a rule is missing,
//! run `cargo test --test greet model -- --nocapture --test-threads 1`.
//!
//! The greeting is over, and the line travels in two pieces. Segments arrive once and in order, because what
//! is lost or doubled is the business of the two systems, below this.

use std::collections::{HashSet, VecDeque};

use Change::{EarlyHalfClose, EarlyTake, HastyClient, NoLineEnd, Relay, Reply};
use Segment::{Acknowledgement, Answer, Fin, FirstPiece, LastPiece, LastPieceAndLf, Reset};

/// What is different from the two programs, with default options and a direct connection.
#[derive(Clone, Copy, PartialEq)]
enum Change {
    /// Without rule 1, the server takes the LF from the system before it shows the message.
    EarlyTake,
    /// Without rule 2, the server may half-close before it shows the message.
    EarlyHalfClose,
    /// Without rule 3, the client takes the end of the stream for a receipt at once.
    HastyClient,
    /// A relay has one connection with each side, and passes on what it reads.
    Relay,
    /// Both programs have `--reply`.
    Reply,
    /// The end of the stream ends the line, instead of an LF.
    NoLineEnd,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Segment {
    FirstPiece,
    LastPiece,
    LastPieceAndLf,
    Answer,
    Fin,
    /// Of everything, up to the FIN.
    Acknowledgement,
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Socket {
    Open,
    HalfClosed,
    /// Its program has closed it. The system has sent a FIN, and still answers.
    Closed,
    /// A reset was sent, or has come.
    Reset,
}

/// One end of a TCP connection.
#[derive(Clone, PartialEq, Eq, Hash)]
struct End {
    socket: Socket,
    /// The receive buffer.
    unread: VecDeque<Segment>,
    /// What is on its way to the other end.
    sent: VecDeque<Segment>,
    is_acknowledged: bool,
}

impl End {
    fn send(&mut self, segment: Segment) {
        if self.socket == Socket::Open {
            self.sent.push_back(segment);
        }
    }

    fn half_close(&mut self) {
        if self.socket == Socket::Open {
            self.sent.push_back(Fin);
            self.socket = Socket::HalfClosed;
        }
    }

    fn reset(&mut self) {
        self.sent.push_back(Reset);
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
            (Fin, _) => {
                self.unread.push_back(Fin);
                self.sent.push_back(Acknowledgement);
            }
            _ => self.unread.push_back(segment),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    Checks,
    Sends(Segment),
    HalfCloses,
    Reads,
    Confirms,
    /// With this exit status.
    Ended(u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Server {
    Looks,
    Shows,
    Replies,
    Takes,
    HalfCloses,
    ReadsOn,
    Ended,
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
    shown: Vec<Vec<Segment>>,
}

/// Each of these takes one step, and says in words which. `None` means that the step is not possible.
impl State {
    fn client_goes_on(&mut self, changes: &[Change]) -> Option<&'static str> {
        let end = &mut self.ends[0];
        let is_reset = end.socket == Socket::Reset;
        let has_reply = changes.contains(&Reply);
        let (words, next) = match (self.client, end.unread.front()) {
            (Client::Checks, next) if is_reset || next.is_some() => (
                "client: sees that the server has closed: status 1",
                Client::Ended(1),
            ),
            (Client::Checks, _) => (
                "client: sees that the server waits",
                Client::Sends(FirstPiece),
            ),
            (Client::Sends(_), _) if is_reset => ("client: send fails: status 3", Client::Ended(3)),
            (Client::Sends(piece), _) => {
                end.send(piece);
                self.has_sent = true;
                match piece {
                    FirstPiece if changes.contains(&NoLineEnd) => {
                        ("client: send: the first piece", Client::Sends(LastPiece))
                    }
                    FirstPiece => (
                        "client: send: the first piece",
                        Client::Sends(LastPieceAndLf),
                    ),
                    _ if has_reply => ("client: send: the last piece, LF", Client::Reads),
                    _ => ("client: send: the last piece", Client::HalfCloses),
                }
            }
            (Client::HalfCloses, _) => {
                end.half_close();
                ("client: shutdown: half-close (FIN)", Client::Reads)
            }
            (Client::Reads, Some(Answer)) => {
                ("client: recv returns the reply: status 0", Client::Ended(0))
            }
            (Client::Reads, Some(_)) if has_reply => {
                ("client: recv returns 0: status 3", Client::Ended(3))
            }
            (Client::Reads, Some(_)) if changes.contains(&HastyClient) => {
                ("client: recv returns 0: status 0", Client::Ended(0))
            }
            (Client::Reads, Some(_)) => ("client: recv returns 0", Client::Confirms),
            (Client::Reads, None) if is_reset => ("client: recv fails: status 3", Client::Ended(3)),
            (Client::Confirms, _) if is_reset => {
                ("client: finds the reset: status 3", Client::Ended(3))
            }
            (Client::Confirms, _) if end.is_acknowledged => (
                "client: all that was sent is acknowledged: status 0",
                Client::Ended(0),
            ),
            _ => return None,
        };
        if let Client::Ended(_) = next {
            end.close();
        }
        self.client = next;
        Some(words)
    }

    /// If it is killed, its system does the same, and there is no status.
    fn client_gives_up(&mut self) -> Option<&'static str> {
        let (status, words) = match self.client {
            Client::Ended(_) => return None,
            Client::Checks => (1, "client: gives up at its deadline: status 1"),
            _ => (3, "client: gives up at its deadline: status 3"),
        };
        self.ends[0].close();
        self.client = Client::Ended(status);
        Some(words)
    }

    /// `recv` returns only the first piece. The next `recv` takes it from the system.
    fn server_looks_again(&mut self) -> Option<&'static str> {
        let end = self.ends.last_mut()?;
        match (self.server, end.unread.front()?) {
            (Server::Looks, FirstPiece | LastPiece) => self.received.extend(end.unread.pop_front()),
            _ => return None,
        }
        Some("server: recv returns a piece, and more must come")
    }

    fn server_goes_on(&mut self, changes: &[Change]) -> Option<&'static str> {
        let end = self.ends.last_mut()?;
        let (words, next) = match self.server {
            Server::Looks if end.unread.contains(&LastPieceAndLf) => {
                let line = end.unread.iter().filter(|segment| **segment != Fin);
                self.received.extend(line);
                if changes.contains(&EarlyTake) {
                    end.unread.retain(|segment| *segment == Fin);
                    ("server: recv takes the LF from the system", Server::Shows)
                } else {
                    (
                        "server: recv returns the LF, which stays unread",
                        Server::Shows,
                    )
                }
            }
            Server::Looks if end.unread.front() != Some(&Fin) => return None,
            Server::Looks if self.received.is_empty() => return None,
            Server::Looks => (
                "server: recv returns 0, so the line has ended",
                Server::Shows,
            ),
            Server::Shows => {
                self.shown.push(self.received.clone());
                ("server: shows the message", Server::Replies)
            }
            Server::Replies if changes.contains(&Reply) => {
                end.send(Answer);
                ("server: send: the reply", Server::Takes)
            }
            Server::Replies | Server::Takes => {
                end.unread.retain(|segment| *segment == Fin);
                ("server: takes the line from the system", Server::HalfCloses)
            }
            Server::HalfCloses => {
                end.half_close();
                ("server: shutdown: half-close (FIN)", Server::ReadsOn)
            }
            Server::ReadsOn => {
                // It would throw away what follows the line. Here nothing does.
                end.close();
                ("server: close", Server::Ended)
            }
            Server::Ended => return None,
        };
        self.server = next;
        Some(words)
    }

    /// It closes, or it ends and its system closes.
    fn server_fails(&mut self) -> Option<&'static str> {
        let words = match self.server {
            Server::Ended => return None,
            Server::Looks => "server: gives up at its deadline: close",
            Server::Shows => "server: cannot show the message (full disk): close",
            _ => "server: is killed",
        };
        self.ends.last_mut()?.close();
        self.server = Server::Ended;
        Some(words)
    }

    fn server_half_closes_early(&mut self, changes: &[Change]) -> Option<&'static str> {
        let end = self.ends.last_mut()?;
        if !changes.contains(&EarlyHalfClose) || end.socket != Socket::Open {
            return None;
        }
        end.half_close();
        Some("server: shutdown: half-close (FIN)")
    }

    /// The relay passes on what it reads, and makes of a reset an orderly end.
    fn relay_passes_on(&mut self, from: usize, to: usize) -> Option<&'static str> {
        let is_reset = self.ends[from].socket == Socket::Reset;
        match self.ends[from].unread.pop_front() {
            Some(Fin) => self.ends[to].half_close(),
            Some(segment) => self.ends[to].send(segment),
            None if is_reset && self.ends[to].socket == Socket::Open => self.ends[to].half_close(),
            None => return None,
        }
        Some("relay: passes on what it has read, or an orderly end (FIN) instead of a reset")
    }

    /// The next segment arrives.
    fn network_delivers(&mut self, from: usize, to: usize) -> Option<&'static str> {
        let segment = self.ends[from].sent.pop_front()?;
        self.ends[to].receive(segment);
        Some(match segment {
            FirstPiece => "network: the first piece arrives",
            LastPiece | LastPieceAndLf => "network: the last piece arrives",
            Answer => "network: the reply arrives",
            Fin if from < to => "network: the client's FIN arrives",
            Fin => "network: the server's FIN arrives",
            Acknowledgement => "network: the acknowledgement of the FIN arrives",
            Reset => "network: a reset arrives",
        })
    }

    /// As `network_delivers`, but many systems throw away what is unread when a reset comes.
    fn network_delivers_a_reset(&mut self, from: usize, to: usize) -> Option<&'static str> {
        if self.ends[from].sent.front() != Some(&Reset) {
            return None;
        }
        self.network_delivers(from, to)?;
        self.ends[to].unread.clear();
        Some("network: a reset arrives, and takes away what is unread")
    }

    /// Everything that can happen next, in words, and the states that follow.
    fn successors(&self, changes: &[Change]) -> Vec<(&'static str, Self)> {
        let mut successors = Vec::new();
        let mut try_step = |step: &dyn Fn(&mut Self) -> Option<&'static str>| {
            let mut next = self.clone();
            successors.extend(step(&mut next).map(|words| (words, next)));
        };
        try_step(&|state| state.client_goes_on(changes));
        try_step(&|state| state.client_gives_up());
        try_step(&|state| state.server_looks_again());
        try_step(&|state| state.server_goes_on(changes));
        try_step(&|state| state.server_half_closes_early(changes));
        try_step(&|state| state.server_fails());
        for near in (0..self.ends.len()).step_by(2) {
            for (from, to) in [(near, near + 1), (near + 1, near)] {
                try_step(&|state| state.network_delivers(from, to));
                try_step(&|state| state.network_delivers_a_reset(from, to));
            }
        }
        if changes.contains(&Relay) {
            try_step(&|state| state.relay_passes_on(1, 2));
            try_step(&|state| state.relay_passes_on(2, 1));
        }
        successors
    }

    fn has_shown_the_line(&self) -> bool {
        self.shown
            .iter()
            .any(|line| matches!(line[..], [FirstPiece, LastPiece | LastPieceAndLf]))
    }

    fn has_false_receipt(&self) -> bool {
        self.client == Client::Ended(0) && !self.has_shown_the_line()
    }

    /// What must hold in every state, beside the receipt.
    fn keeps_the_other_promises(&self) -> bool {
        let nothing_was_sent = self.client != Client::Ended(1) || !self.has_sent;
        let ended_by_lf = |line: &&Vec<_>| line.contains(&LastPieceAndLf);
        let is_whole = self
            .shown
            .iter()
            .filter(ended_by_lf)
            .all(|line| line.len() == 2);
        nothing_was_sent && is_whole && self.shown.len() <= 1
    }
}

/// Visits all states that can be reached, those with the fewest steps first. Returns the steps to the first
/// one that is `wanted`, or how many states there are if none is.
fn search(changes: &[Change], wanted: impl Fn(&State) -> bool) -> Result<Vec<&'static str>, usize> {
    let end = End {
        socket: Socket::Open,
        unread: VecDeque::new(),
        sent: VecDeque::new(),
        is_acknowledged: false,
    };
    let first = State {
        client: Client::Checks,
        server: Server::Looks,
        ends: vec![end; if changes.contains(&Relay) { 4 } else { 2 }],
        has_sent: false,
        received: vec![],
        shown: vec![],
    };
    let mut known = HashSet::from([first.clone()]);
    let mut reached = VecDeque::from([(first, vec![])]);
    while let Some((state, steps)) = reached.pop_front() {
        if wanted(&state) {
            return Ok(steps);
        }
        for (words, next) in state.successors(changes) {
            if known.insert(next.clone()) {
                reached.push_back((next, [&steps[..], &[words]].concat()));
            }
        }
    }
    Err(known.len())
}

/// All states were visited, and in none the client takes a line for delivered that was not shown.
fn assert_no_false_receipt(changes: &[Change]) {
    let states = search(changes, State::has_false_receipt).expect_err("a false receipt");
    println!("no false receipt in {states} states");
    assert!(states > 100, "{states} states");
}

/// A client ends with 0, and its line is lost. Shows the steps.
fn assert_false_receipt(title: &str, changes: &[Change]) {
    let is_lost = |state: &State| state.has_false_receipt() && state.server == Server::Ended;
    let steps = search(changes, is_lost).expect(title);
    println!("{title}:\n  {}\n", steps.join("\n  "));
}

#[test]
fn in_no_order_of_events_is_a_receipt_false() {
    assert_no_false_receipt(&[]);
}

#[test]
fn in_no_order_of_events_is_another_promise_broken() {
    for changes in [&[][..], &[Reply], &[Relay], &[Relay, Reply]] {
        assert!(search(changes, |state| !state.keeps_the_other_promises()).is_err());
    }
}

#[test]
fn in_some_order_of_events_each_honest_ending_is_reached() {
    for (status, is_shown) in [(0, true), (1, false), (3, false), (3, true)] {
        let ending = |state: &State| {
            state.client == Client::Ended(status)
                && state.server == Server::Ended
                && state.has_shown_the_line() == is_shown
        };
        assert!(search(&[], ending).is_ok(), "{status}, {is_shown}");
    }
}

#[test]
fn without_any_one_of_the_three_rules_a_receipt_can_be_false() {
    assert_false_receipt("without rule 1", &[EarlyTake]);
    assert_false_receipt("without rule 2", &[EarlyHalfClose]);
    assert_false_receipt("without rule 3", &[HastyClient]);
}

#[test]
fn through_a_relay_only_a_reply_is_a_receipt() {
    assert_false_receipt("through a relay", &[Relay]);
    assert_no_false_receipt(&[Relay, Reply]);
}

#[test]
fn a_reply_needs_none_of_the_three_rules() {
    assert_no_false_receipt(&[Reply, EarlyTake, EarlyHalfClose, HastyClient]);
    assert_no_false_receipt(&[Relay, Reply, EarlyTake, EarlyHalfClose, HastyClient]);
}

#[test]
fn a_line_that_the_stream_ends_can_have_a_false_receipt() {
    assert_false_receipt("without a line end", &[NoLineEnd]);
}
