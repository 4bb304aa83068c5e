// Tutorial 1's loop server with its five repairs, in the tutorial's language: it greets
// one client after another, and prints one line from each. The comments number the
// repairs as src/README.md does, which shows how the tutorial's own server breaks
// without them.
//
//     cc -std=c11 -o loop_server src/examples/loop_server.c
//     ./loop_server [PORT [SECONDS]]
//
// It listens on 127.0.0.1, on port 65432 unless told otherwise; port 0 picks a free
// one. A client may hold it for SECONDS, from accept to close; without them, for 60. It
// ends with status 1 if it cannot listen or cannot print a line, and with 2 for bad
// arguments. It is for Linux, because the receipt depends on how the system closes a
// connection.
//
// It prints the bytes of a line as they came, which is right for a file or a pipe. This
// does not make them safe for a terminal, which obeys the control characters in them.

#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    DEFAULT_PORT = 65432,
    DEFAULT_SECONDS = 60,
    MOST_SECONDS = 1000000,
    BACKLOG = 128,
    // Without a limit, a line that never ends would fill the memory.
    LONGEST_LINE = 65536,
    // A CR and an LF stand behind the longest line.
    LINE_SIZE = LONGEST_LINE + 2,
    // Times are in microseconds, as in a timeval.
    SECOND = 1000000,
    // Some round trips around the Earth, but less than a second: the next client waits.
    LONGEST_CLOSE = 750000,
    ADDRESS_SIZE = INET_ADDRSTRLEN + sizeof ":65535"
};

// Writes an address as IP:PORT. In it, the port is in network byte order.
static void format_address(const struct sockaddr_in *address, char text[ADDRESS_SIZE])
{
    char ip[INET_ADDRSTRLEN] = "?";
    inet_ntop(AF_INET, &address->sin_addr, ip, sizeof ip);
    snprintf(text, ADDRESS_SIZE, "%s:%d", ip, ntohs(address->sin_port));
}

// Returns a socket that listens on 127.0.0.1, and says where; or returns -1.
static int listen_on(uint16_t port)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener == -1) {
        return -1;
    }
    // The side that closes first keeps the connection in TIME_WAIT for a minute. If
    // that was the server, bind fails for so long when it is started again, unless
    // SO_REUSEADDR is set.
    int yes = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t length = sizeof address;
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == -1
        || bind(listener, (struct sockaddr *)&address, sizeof address) == -1
        || listen(listener, BACKLOG) == -1
        // If the port was 0, only the system knows which one it is now.
        || getsockname(listener, (struct sockaddr *)&address, &length) == -1) {
        // close may change errno, which the caller reports.
        int reason = errno;
        close(listener);
        errno = reason;
        return -1;
    }
    char text[ADDRESS_SIZE];
    format_address(&address, text);
    fprintf(stderr, "listening on %s\n", text);
    return listener;
}

// Waits for the next client. Nothing that accept may fail with ends this.
static int accept_client(int listener, struct sockaddr_in *address)
{
    for (;;) {
        // accept overwrites the length, so each call needs it anew.
        socklen_t length = sizeof *address;
        int client = accept(listener, (struct sockaddr *)address, &length);
        if (client != -1) {
            return client;
        }
        if (errno == EINTR) {
            continue;
        }
        // fprintf may change errno, which is needed once more.
        int reason = errno;
        fprintf(stderr, "cannot accept a client: %s\n", strerror(reason));
        // A client that has left the queue is gone, and the next may be there already.
        // Other failures, such as too many open files, last a while, and the loop must
        // not spin.
        if (reason != ECONNABORTED && reason != ECONNRESET) {
            sleep(1);
        }
    }
}

// The time of a clock that nobody sets. If the time of day is set, a deadline would
// move.
static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (long long)time.tv_sec * SECOND + time.tv_nsec / 1000;
}

// Repair 2: everything with a client must be over by one instant, its deadline. Before
// each wait, this sets SO_RCVTIMEO or SO_SNDTIMEO to the time that is left. The same
// timeout each time would not do, because a client that sends one byte a minute never
// exceeds it.
static int set_timeout(int client, int option, long long deadline)
{
    long long left = deadline - now();
    // A timeval of zero would mean: for ever.
    if (left <= 0) {
        errno = ETIMEDOUT;
        return -1;
    }
    struct timeval timeout = {
        .tv_sec = (time_t)(left / SECOND),
        .tv_usec = (suseconds_t)(left % SECOND),
    };
    return setsockopt(client, SOL_SOCKET, option, &timeout, sizeof timeout);
}

// Whether to call send or recv again: a signal came, or the timeout is over. In the
// second case the deadline has passed, and set_timeout says so.
static bool is_worth_another_call(int reason)
{
    return reason == EINTR || reason == EAGAIN;
}

static int send_all(int client, const char *bytes, size_t length, long long deadline)
{
    size_t sent = 0;
    // One send may take only a part of the bytes.
    while (sent < length) {
        if (set_timeout(client, SO_SNDTIMEO, deadline) == -1) {
            return -1;
        }
        ssize_t count = send(client, bytes + sent, length - sent, 0);
        if (count >= 0) {
            sent += (size_t)count;
        } else if (!is_worth_another_call(errno)) {
            return -1;
        }
    }
    return 0;
}

static int greet(int client, long long deadline)
{
    const char *greeting = "Connect succeed. Please send a message to me\n";
    // With sizeof, the NUL behind the text of an array would travel, too.
    return send_all(client, greeting, strlen(greeting), deadline);
}

// Returns what recv returns: 0 means that the client has ended its stream.
static ssize_t receive(int client, char *buffer, size_t size, long long deadline)
{
    for (;;) {
        if (set_timeout(client, SO_RCVTIMEO, deadline) == -1) {
            return -1;
        }
        ssize_t count = recv(client, buffer, size, 0);
        if (count >= 0 || !is_worth_another_call(errno)) {
            return count;
        }
    }
}

// Repair 1: TCP carries bytes, not messages, so one recv must never be taken for one
// line. This receives pieces up to an LF, a NUL (C programs send it behind a string) or
// the end of the stream. Returns 1 and how long the line is without its end, or 0 if
// the stream ends before the first byte, or -1. Half a line is not a line.
static int receive_line(int client, char line[LINE_SIZE], size_t *length,
                        long long deadline)
{
    size_t received = 0;
    size_t end = 0;
    bool has_end = false;
    while (!has_end && received < LINE_SIZE) {
        size_t room = LINE_SIZE - received;
        ssize_t count = receive(client, line + received, room, deadline);
        if (count == -1) {
            return -1;
        }
        if (count == 0) {
            break;
        }
        received += (size_t)count;
        while (end < received && line[end] != '\n' && line[end] != '\0') {
            end++;
        }
        has_end = end < received;
    }
    if (received == 0) {
        return 0;
    }
    // A CR right before an LF is not a part of the line. So a CR at the limit does not
    // count until it is known what follows, and the buffer has room for both.
    if (has_end && line[end] == '\n' && end > 0 && line[end - 1] == '\r') {
        end--;
    }
    if (end > LONGEST_LINE) {
        errno = EMSGSIZE;
        return -1;
    }
    *length = end;
    return 1;
}

// Prints a line. Until fflush has returned 0, it may be in a buffer of this program
// only, and a full disk or a kill would lose it.
static int show(const char *line, size_t length)
{
    // puts, or printf with %s, would need a NUL behind the line.
    if (fwrite(line, 1, length, stdout) != length) {
        return -1;
    }
    if (putchar('\n') == EOF) {
        return -1;
    }
    return fflush(stdout);
}

// Repair 5: while this is on, whatever closes the socket resets the connection: a
// failure, a crash, a kill. Without it, the system would close in order for a program
// that has died, and to the client that looks as if its line had been shown.
static int set_reset_on_close(int client, bool is_on)
{
    struct linger linger = { .l_onoff = is_on, .l_linger = 0 };
    return setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

// Repair 4: tells the client that nothing more will come (the half-close), and reads on
// until it has closed, too. If bytes are unread at the close, or come later, the system
// resets the connection, and a reset may take from the client what it has not read yet.
static void close_in_order(int client, long long deadline)
{
    // If one of these fails, the client is gone, and nobody is left to wait for.
    if (set_reset_on_close(client, false) == -1 || shutdown(client, SHUT_WR) == -1) {
        return;
    }
    long long end_of_close = now() + LONGEST_CLOSE;
    if (end_of_close > deadline) {
        end_of_close = deadline;
    }
    char ignored[1024];
    while (receive(client, ignored, sizeof ignored, end_of_close) > 0) {
        // A client that sends without end meets the deadline.
    }
}

// Serves one client, all but the close. Returns -1 if a line cannot be printed: a
// server that goes on then would lose the next one, too.
static int serve(int client, const char *peer, long long deadline)
{
    char line[LINE_SIZE];
    size_t length = 0;
    int received = -1;

    fprintf(stderr, "%s connected\n", peer);
    if (set_reset_on_close(client, true) == 0 && greet(client, deadline) == 0) {
        received = receive_line(client, line, &length, deadline);
    }
    if (received == -1) {
        // Repair 3: a client's failure is logged, and the next client is served.
        fprintf(stderr, "%s failed: %s\n", peer, strerror(errno));
        return 0;
    }
    if (received == 0) {
        close_in_order(client, deadline);
        fprintf(stderr, "%s closed without a message\n", peer);
        return 0;
    }
    if (show(line, length) != 0) {
        const char *reason = strerror(errno);
        fprintf(stderr, "loop_server: cannot print the line from %s: %s\n", peer, reason);
        return -1;
    }
    // The line is shown, and the orderly close is its receipt.
    close_in_order(client, deadline);
    fprintf(stderr, "%s %zu bytes received\n", peer, length);
    return 0;
}

// Opens /dev/null in place of each standard stream that is closed. accept returns the
// lowest descriptor that is free: a client's socket could become standard output, and
// its line would go back to it. They are opened for reading only, so that printing a
// line fails.
static int open_standard_streams(void)
{
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++) {
        if (fcntl(stream, F_GETFD) == -1 && open("/dev/null", O_RDONLY) != stream) {
            return -1;
        }
    }
    return 0;
}

// Reads a whole number, or returns -1.
static long parse_number(const char *text, long least, long most)
{
    char *end = NULL;
    long number = strtol(text, &end, 10);
    // strtol also takes blanks and a sign before the digits, and anything behind them.
    if (!isdigit((unsigned char)text[0]) || *end != '\0') {
        return -1;
    }
    return number >= least && number <= most ? number : -1;
}

int main(int argc, char *argv[])
{
    long port = argc > 1 ? parse_number(argv[1], 0, UINT16_MAX) : DEFAULT_PORT;
    long seconds = argc > 2 ? parse_number(argv[2], 1, MOST_SECONDS) : DEFAULT_SECONDS;
    if (argc > 3 || port == -1 || seconds == -1) {
        fprintf(stderr, "usage: loop_server [PORT [SECONDS]]\n");
        return 2;
    }
    // A write to a pipe or a client that is gone raises SIGPIPE, which ends a C
    // program. If it is ignored, the write fails instead, and that is checked.
    struct sigaction ignore = { .sa_handler = SIG_IGN };
    if (open_standard_streams() == -1 || sigaction(SIGPIPE, &ignore, NULL) == -1) {
        fprintf(stderr, "loop_server: cannot start: %s\n", strerror(errno));
        return EXIT_FAILURE;
    }
    int listener = listen_on((uint16_t)port);
    if (listener == -1) {
        fprintf(stderr, "loop_server: cannot listen on 127.0.0.1 port %ld: %s\n", port,
                strerror(errno));
        return EXIT_FAILURE;
    }
    for (;;) {
        struct sockaddr_in address;
        int client = accept_client(listener, &address);
        long long deadline = now() + (long long)seconds * SECOND;
        char peer[ADDRESS_SIZE];
        format_address(&address, peer);
        int outcome = serve(client, peer, deadline);
        // Unless serve has closed in order, this resets the connection.
        close(client);
        if (outcome == -1) {
            return EXIT_FAILURE;
        }
    }
}
