// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/core/connection/network.h"

#include <algorithm>
#include <cstring>

namespace drbd::test {

DrbdCrypto TestSecret::crypto() {
    return {this,
            [](void* opaque, const void* data, size_t length, uint8_t digest[DRBD_DIGEST_SIZE]) {
                auto* self = static_cast<TestSecret*>(opaque);
                for (unsigned i = 0; i < self->digest_size; i++) {
                    uint64_t hash = 0xcbf29ce484222325u + i;
                    const auto mix = [&](uint8_t byte) { hash = (hash ^ byte) * 0x100000001b3u; };
                    for (char c : self->secret)
                        mix(static_cast<uint8_t>(c));
                    for (size_t j = 0; j < length; j++)
                        mix(static_cast<const uint8_t*>(data)[j]);
                    digest[i] = static_cast<uint8_t>(hash >> 32);
                }
                return self->works;
            },
            [](void* opaque, void* bytes, size_t length) {
                auto* self = static_cast<TestSecret*>(opaque);
                for (size_t i = 0; i < length; i++) {
                    self->random_state = self->random_state * 6364136223846793005u + 1442695040888963407u;
                    static_cast<uint8_t*>(bytes)[i] = static_cast<uint8_t>(self->random_state >> 40);
                }
                return self->works;
            }};
}

Node::Node(Network& net, unsigned i, uint64_t seed)
    : network(net), index(i), random(seed, 77 + i), connection(*this, *this, random, "r0") {
    secret.random_state = seed * 31 + i + 1;
    DRBD_ASSERT(connection.allocate(2048));
}

void Node::event(const std::function<void()>& what) {
    connection.on_time(network.now());
    what();
    connection.pump();
    network.act(*this);
}

void Node::on_phase(ConnectionState phase, const char*) {
    phases.push_back(name_of(phase));
}

void Node::on_connection_up() {
    if (up)
        network.problems.push_back("up twice");
    up = true;
    ups++;
    if (when_up)
        when_up();
}

void Node::on_connection_lost(ConnectionState how, const char* reason) {
    if (!up || connection.link().is_up())
        network.problems.push_back("lost while not up, or the link still is");
    up = false;
    lost.push_back(reason);
    lost_how.push_back(how);
    if (stands_alone_when_lost)
        connection.stand_alone("by the administrator");
}

Result<BulkVerdict> Node::on_bulk(const wire::Frame&) {
    bulk_questions++;
    return verdict;
}

Result<void> Node::on_packet(const wire::Frame& frame, void* buffer) {
    if (!up)
        network.problems.push_back("a packet while not up");
    received.push_back({frame.packet(), frame.volume, buffer});
    std::free(buffer);
    if (when_packet)
        when_packet(frame);
    if (bad_packet)
        return Error::of(ErrorCode::Protocol, "%s is not liked", frame.row->name);
    return {};
}

void Node::on_buffer_unused(void* buffer, uint32_t) {
    unused++;
    std::free(buffer);
}

Network::Network(uint64_t seed, unsigned nodes)
    : random_(seed, 5), sockets_(nodes), listening_(nodes), acting_(nodes) {
    for (unsigned i = 0; i < nodes; i++)
        nodes_.push_back(std::make_unique<Node>(*this, i, seed));
}

Network::~Network() {
    for (auto& end : ends_)
        if (end->other) {
            end->other->other.reset();
            end->other.reset();
        }
}

std::shared_ptr<End> Network::new_end(int index) {
    auto end = std::make_shared<End>();
    end->node = index;
    ends_.push_back(end);
    return end;
}

void Network::start(unsigned index, bool discard_my_data) {
    Node& n = node(index);
    n.config.crypto = n.secret.crypto();
    n.config.cram_digest_size = n.secret.digest_size;
    n.event([&] {
        auto configured = n.connection.configure(n.config);
        DRBD_ASSERT(configured.ok());
        n.connection.connect(discard_my_data);
    });
}

void Network::after(uint64_t ms, std::function<void()> what) {
    events_.emplace(std::make_pair(now_ + ms, order_++), std::move(what));
}

bool Network::run(uint64_t ms, const std::function<bool()>& until) {
    const uint64_t end = now_ + ms;
    unsigned at_once = 0;
    while (!until()) {
        uint64_t next = events_.empty() ? UINT64_MAX : events_.begin()->first.first;
        Node* timer = nullptr;
        for (auto& n : nodes_) {
            uint64_t deadline = n->connection.next_deadline_ms();
            if (deadline != UINT64_MAX)
                deadline += behaviour.lateness;
            if (deadline < next) {
                next = deadline;
                timer = n.get();
            }
        }
        if (next > end) {
            now_ = end;
            return until();
        }
        at_once = next <= now_ ? at_once + 1 : 0;
        if (at_once > 100000) {
            problems.push_back("time stands still");
            return false;
        }
        now_ = std::max(now_, next);
        if (timer) {
            timer->event([] {});
            continue;
        }
        auto what = std::move(events_.begin()->second);
        events_.erase(events_.begin());
        what();
    }
    return true;
}

// What the queues of the core ask for, until they are empty.
void Network::act(Node& n) {
    if (acting_[n.index])
        return;
    acting_[n.index] = true;
    for (bool more = true; more;) {
        more = false;
        DrbdNetAction action;
        while (n.connection.next_action(action)) {
            more = true;
            switch (action.kind) {
            case DRBD_NET_LISTEN: listening_[n.index] = true; break;
            case DRBD_NET_UNLISTEN: listening_[n.index] = false; break;
            case DRBD_NET_DIAL: dial(n, action.socket, action.timeout_ms); break;
            case DRBD_NET_CLOSE: stop(n, action.socket); break;
            }
        }
        for (unsigned socket = 0; socket < DRBD_MAX_SOCKETS; socket++) {
            if (n.connection.pending_sockets() & (1u << socket)) {
                const uint64_t before = total_bytes;
                send(n, socket);
                more |= total_bytes != before;
            }
        }
        for (auto& [socket, end] : std::map(sockets_[n.index]))
            if ((!end->inbox.empty() || end->ended) && !end->told_end && n.connection.may_receive(socket)) {
                const size_t before = end->inbox.size();
                deliver(end);
                more |= before != end->inbox.size() || end->told_end;
            }
    }
    acting_[n.index] = false;
}

void Network::send(Node& n, unsigned socket) {
    auto end = end_of(n.index, socket);
    auto parts = std::make_unique<DrbdSend>();
    if (!end) {
        problems.push_back("a socket without a connection wants to send");
        return;
    }
    const size_t room = end->other ? end->other->room : 0;
    if (room == 0 || !n.connection.next_send(socket, *parts))
        return;
    const size_t take = piece(std::min(parts->bytes, room));
    std::vector<uint8_t> bytes;
    for (unsigned i = 0; i < parts->nr_parts; i++) {
        const auto* data = static_cast<const uint8_t*>(parts->parts[i].data);
        bytes.insert(bytes.end(), data, data + parts->parts[i].bytes);
    }
    if (bytes.size() != parts->bytes)
        problems.push_back("a send does not add up");
    bytes.resize(take);
    if (end->other->room != SIZE_MAX)
        end->other->room -= take;
    total_bytes += take;
    arrive(end, std::move(bytes));
    n.connection.on_time(now_);
    n.connection.on_sent(socket, take);
    n.connection.pump();
    if (total_bytes >= behaviour.cut_after_bytes) {
        behaviour.cut_after_bytes = UINT64_MAX;
        after(0, [this] { cut_all(nullptr); });
    }
}

void Network::arrive(const std::shared_ptr<End>& from, std::vector<uint8_t> bytes) {
    if (from->cut)
        return;
    from->last_arrival = std::max(from->last_arrival, now_ + delay());
    after(from->last_arrival - now_, [this, from, bytes = std::move(bytes)] {
        auto to = from->other;
        if (!to->open) {
            close(to, "connection reset");
            return;
        }
        auto& where = to->frozen ? to->network : to->inbox;
        where.insert(where.end(), bytes.begin(), bytes.end());
        if (to->node >= 0 && !to->frozen)
            node(static_cast<unsigned>(to->node)).event([&] { deliver(to); });
    });
}

void Network::deliver(const std::shared_ptr<End>& end) {
    Node& n = node(static_cast<unsigned>(end->node));
    while (end->open && !end->inbox.empty() && n.connection.may_receive(end->socket)) {
        if (end->bulk != 0) {
            if (end->inbox.size() < end->bulk)
                break;
            void* buffer = nullptr;
            if (!end->discard) {
                buffer = std::malloc(end->bulk);
                std::memcpy(buffer, end->inbox.data(), end->bulk);
            }
            end->inbox.erase(end->inbox.begin(), end->inbox.begin() + end->bulk);
            end->bulk = 0;
            n.connection.on_bulk(end->socket, buffer, n.digests_are_good);
            n.connection.pump();
            continue;
        }
        const size_t length = piece(end->inbox.size());
        size_t taken = 0;
        DrbdBulk bulk;
        const DrbdReceive result = n.connection.on_bytes(end->socket, {end->inbox.data(), length}, taken, bulk);
        if (result == DRBD_RECEIVE_MORE && taken != length)
            problems.push_back("MORE, but not all was taken");
        end->inbox.erase(end->inbox.begin(), end->inbox.begin() + static_cast<ptrdiff_t>(taken));
        if (result == DRBD_RECEIVE_BULK) {
            end->bulk = bulk.bytes;
            end->discard = bulk.discard;
        }
        if (result == DRBD_RECEIVE_CLOSED)
            end->inbox.clear();
        n.connection.pump();
        if (result == DRBD_RECEIVE_CLOSED || result == DRBD_RECEIVE_STALL)
            break;
    }
    const bool all_read = end->inbox.empty() || end->bulk > end->inbox.size();
    if (end->open && end->ended && !end->told_end && all_read && n.connection.may_receive(end->socket)) {
        end->told_end = true;
        n.connection.on_eof(end->socket, end->error.empty() ? nullptr : end->error.c_str());
        n.connection.pump();
    }
}

void Network::dial(Node& n, unsigned socket, unsigned timeout_ms) {
    auto end = new_end(static_cast<int>(n.index));
    end->socket = socket;
    sockets_[n.index][socket] = end;
    const auto result = [this, end, &n](const char* error) {
        if (end->open && sockets_[n.index][end->socket] == end)
            n.event([&] { n.connection.on_dialled(end->socket, error); });
    };
    if (behaviour.dials_hang) {
        after(timeout_ms, [result] { result("timed out"); });
        return;
    }
    after(delay(), [this, end, &n, result] {
        if (!end->open)
            return;
        if (behaviour.refuses && behaviour.refuses(n.index)) {
            after(delay(), [result] { result("connection refused"); });
            return;
        }
        const unsigned target = 1 - n.index;
        if (raw_listener || nodes_.size() < 2) {
            end->other = raw_listener ? raw_listener(n.index) : nullptr;
            if (end->other)
                end->other->other = end;
        } else if (listening_[target]) {
            Node& peer = node(target);
            auto accepted = new_end(static_cast<int>(target));
            accepted->other = end;
            end->other = accepted;
            int number = -1;
            peer.event([&] {
                number = peer.connection.on_accepted();
                if (number >= 0) {
                    accepted->socket = static_cast<unsigned>(number);
                    sockets_[target][accepted->socket] = accepted;
                }
            });
            if (number < 0)
                close(accepted);
        }
        const bool worked = end->other != nullptr;
        after(delay(), [result, worked] { result(worked ? nullptr : "connection refused"); });
    });
}

// DRBD_NET_CLOSE.
void Network::stop(Node& n, unsigned socket) {
    auto end = end_of(n.index, socket);
    if (end)
        close(end);
    sockets_[n.index].erase(socket);
    Node* closed = &n;
    after(delay(), [this, closed, socket] {
        for (auto& alive : nodes_)
            if (alive.get() == closed)
                closed->event([&] { closed->connection.on_closed(socket); });
    });
}

void Network::close(const std::shared_ptr<End>& end, const char* error) {
    end->open = false;
    end->inbox.clear();
    auto other = end->other;
    if (!other || other->ended || end->cut)
        return;
    end->last_arrival = std::max(end->last_arrival, now_ + delay());
    after(end->last_arrival - now_, [this, other, text = std::string(error ? error : "")] {
        if (other->ended)
            return;
        other->ended = true;
        other->error = text;
        if (other->node >= 0 && other->open && !other->frozen)
            node(static_cast<unsigned>(other->node)).event([&] { deliver(other); });
    });
}

std::shared_ptr<End> Network::connect_raw(unsigned to) {
    if (!listening_[to])
        return nullptr;
    auto raw = new_end(-1);
    auto accepted = new_end(static_cast<int>(to));
    raw->other = accepted;
    accepted->other = raw;
    int number = -1;
    node(to).event([&] {
        number = node(to).connection.on_accepted();
        if (number >= 0) {
            accepted->socket = static_cast<unsigned>(number);
            sockets_[to][accepted->socket] = accepted;
        }
    });
    if (number < 0) {
        close(accepted);
        return nullptr;
    }
    return raw;
}

void Network::write(const std::shared_ptr<End>& end, std::vector<uint8_t> bytes) {
    arrive(end, std::move(bytes));
}

std::shared_ptr<End> Network::end_of(unsigned index, unsigned socket) {
    auto found = sockets_[index].find(socket);
    return found == sockets_[index].end() ? nullptr : found->second;
}

std::shared_ptr<End> Network::stream_of(unsigned index, wire::Stream stream) {
    const auto numbers = node(index).connection.stream_sockets();
    return end_of(index, stream == wire::Stream::Data ? numbers.first : numbers.second);
}

void Network::cut_all(const char* error) {
    for (unsigned i = 0; i < nodes_.size(); i++)
        for (auto& [socket, end] : std::map(sockets_[i]))
            if (end->other && end->open) {
                auto other = end->other;
                if (!end->ended) {
                    end->ended = true;
                    end->error = error ? error : "";
                    node(i).event([this, &there = end] { deliver(there); });
                }
            }
}

void Network::silence_all() {
    for (auto& sockets : sockets_)
        for (auto& [socket, end] : sockets)
            end->cut = true;
}

void Network::restart(unsigned index) {
    for (auto& [socket, end] : std::map(sockets_[index]))
        close(end);
    sockets_[index].clear();
    listening_[index] = false;
    acting_[index] = false;
    dead_.push_back(std::move(nodes_[index]));
    nodes_[index] = std::make_unique<Node>(*this, index, random_.next());
    nodes_[index]->config = dead_.back()->config;
    start(index);
}

}  // namespace drbd::test
