// SPDX-License-Identifier: GPL-2.0-or-later
// A TCP relay that delays every byte by a fixed time, each way: the network of
// tests/bench/replication.py where the kernel has no netem.
//
// In: DELAY_US and any number of LISTEN_HOST:PORT=TARGET_HOST:PORT[@SOURCE_HOST].
// It prints "ready" when it listens and runs until its standard input ends.
// Bytes keep their order; a pipe holds at most 8 MiB, so back pressure passes.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace {

constexpr size_t kChunk = 256 << 10;
constexpr size_t kHeld = 8 << 20;

[[noreturn]] void die(const char* what) {
    std::perror(what);
    std::exit(1);
}

uint64_t now_ns() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<uint64_t>(time.tv_sec) * 1000000000u + static_cast<uint64_t>(time.tv_nsec);
}

sockaddr_in address_of(const std::string& text) {
    const size_t colon = text.rfind(':');
    sockaddr_in address{};
    address.sin_family = AF_INET;
    const std::string host = colon == std::string::npos ? text : text.substr(0, colon);
    if (colon != std::string::npos) {
        address.sin_port = htons(static_cast<uint16_t>(std::atoi(text.c_str() + colon + 1)));
    }
    if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
        std::fprintf(stderr, "delay_proxy: %s is no IPv4 address\n", text.c_str());
        std::exit(2);
    }
    return address;
}

struct Way {
    int listener;
    sockaddr_in target;
    std::string source;
};

struct Chunk {
    uint64_t due;
    std::vector<char> bytes;
    size_t sent = 0;
};

// One direction of one connection.
struct Pipe {
    int from, to;
    std::deque<Chunk> queue{};
    size_t held = 0;
    bool readable = true, writable = true, ended = false, shut = false;
};

struct Connection {
    Pipe pipes[2];
    bool broken = false;
};

int epoll_fd, timer_fd;
uint64_t delay_ns;
std::vector<std::unique_ptr<Connection>> connections;

void watch(int fd, void* who) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = who;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        die("epoll_ctl");
    }
}

void accept_one(const Way& way) {
    const int near = accept4(way.listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (near < 0) {
        return;
    }
    const int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!way.source.empty()) {
        const sockaddr_in source = address_of(way.source);
        if (bind(far, reinterpret_cast<const sockaddr*>(&source), sizeof source) != 0) {
            die("bind of the source");
        }
    }
    if (connect(far, reinterpret_cast<const sockaddr*>(&way.target), sizeof way.target) != 0) {
        close(near);
        close(far);
        return;
    }
    const int one = 1;
    for (const int fd : {near, far}) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    }
    connections.push_back(std::make_unique<Connection>(Connection{{{near, far}, {far, near}}}));
    watch(near, connections.back().get());
    watch(far, connections.back().get());
}

// Whether it may go on.  Most calls find nothing, so what they cost is added to
// the delay once for each stream of a variant: no memory is taken before there are bytes.
bool read_some(Pipe& pipe) {
    static char buffer[kChunk];
    while (!pipe.ended && pipe.held < kHeld) {
        const ssize_t got = recv(pipe.from, buffer, sizeof buffer, 0);
        if (got < 0) {
            return errno == EAGAIN;
        }
        if (got == 0) {
            pipe.ended = true;
            break;
        }
        pipe.held += static_cast<size_t>(got);
        pipe.queue.push_back({now_ns() + delay_ns, {buffer, buffer + got}});
    }
    return true;
}

bool write_some(Pipe& pipe) {
    while (!pipe.queue.empty() && pipe.queue.front().due <= now_ns()) {
        Chunk& chunk = pipe.queue.front();
        const ssize_t sent = send(pipe.to, chunk.bytes.data() + chunk.sent, chunk.bytes.size() - chunk.sent,
                                  MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN;
        }
        pipe.held -= static_cast<size_t>(sent);
        chunk.sent += static_cast<size_t>(sent);
        if (chunk.sent == chunk.bytes.size()) {
            pipe.queue.pop_front();
        }
    }
    if (pipe.ended && pipe.queue.empty() && !pipe.shut) {
        pipe.shut = true;
        shutdown(pipe.to, SHUT_WR);
    }
    return true;
}

void serve(Connection& connection) {
    for (Pipe& pipe : connection.pipes) {
        if (!read_some(pipe) || !write_some(pipe) || !read_some(pipe)) {
            connection.broken = true;
        }
    }
}

void end_the_finished() {
    for (size_t index = 0; index < connections.size();) {
        Connection& connection = *connections[index];
        if (connection.broken || (connection.pipes[0].shut && connection.pipes[1].shut)) {
            close(connection.pipes[0].from);
            close(connection.pipes[0].to);
            connections.erase(connections.begin() + static_cast<ptrdiff_t>(index));
        } else {
            index++;
        }
    }
}

void arm_timer() {
    uint64_t next = 0;
    for (const auto& connection : connections) {
        for (const Pipe& pipe : connection->pipes) {
            if (!pipe.queue.empty() && (next == 0 || pipe.queue.front().due < next)) {
                next = pipe.queue.front().due;
            }
        }
    }
    itimerspec when{};
    when.it_value.tv_sec = static_cast<time_t>(next / 1000000000u);
    when.it_value.tv_nsec = static_cast<long>(next % 1000000000u);
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, nullptr);
}

int listen_at(const std::string& text) {
    const sockaddr_in address = address_of(text);
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        listen(listener, 16) != 0) {
        die(text.c_str());
    }
    return listener;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: delay_proxy DELAY_US LISTEN=TARGET[@SOURCE] ...\n");
        return 2;
    }
    prctl(PR_SET_TIMERSLACK, 1);
    delay_ns = static_cast<uint64_t>(std::atoll(argv[1])) * 1000;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    std::vector<std::unique_ptr<Way>> ways;
    static int timer_mark, input_mark;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = &timer_mark;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event);
    event.data.ptr = &input_mark;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    for (int index = 2; index < argc; index++) {
        const std::string text = argv[index];
        const size_t equals = text.find('='), at = text.find('@');
        const std::string target = text.substr(equals + 1, at == std::string::npos ? at : at - equals - 1);
        ways.push_back(std::make_unique<Way>(Way{listen_at(text.substr(0, equals)), address_of(target),
                                                 at == std::string::npos ? "" : text.substr(at + 1)}));
        event.data.ptr = ways.back().get();
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, ways.back()->listener, &event);
    }
    std::puts("ready");
    std::fflush(stdout);
    for (;;) {
        epoll_event events[64];
        const int count = epoll_wait(epoll_fd, events, 64, -1);
        if (count < 0 && errno != EINTR) {
            die("epoll_wait");
        }
        for (int index = 0; index < count; index++) {
            if (events[index].data.ptr == &timer_mark) {
                uint64_t expired;
                [[maybe_unused]] const ssize_t got = read(timer_fd, &expired, sizeof expired);
                continue;
            }
            if (events[index].data.ptr == &input_mark) {
                char byte;
                if (read(STDIN_FILENO, &byte, 1) <= 0) {
                    return 0;
                }
                continue;
            }
            for (const auto& way : ways) {
                if (events[index].data.ptr == way.get()) {
                    accept_one(*way);
                }
            }
        }
        // A handful of connections: serving all of them costs less than knowing which.
        for (const auto& connection : connections) {
            serve(*connection);
        }
        end_the_finished();
        arm_timer();
    }
}
