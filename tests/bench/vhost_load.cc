// SPDX-License-Identifier: GPL-2.0-or-later
// A virtio-blk driver without a guest: the smallest load that a vhost-user-blk
// export can get, for tests/bench/overhead.py.
//
// In: SOCKET BLOCK_BYTES DEPTH SECONDS WORKING_SET_BYTES random|sequential
// flush|noflush.  It keeps DEPTH writes in flight through one split virtqueue in
// shared memory and sleeps on an eventfd while none has completed.  With `flush`
// every write is followed by a flush that is waited for.  Out: "writes N
// seconds S".  Any status but OK ends it with an error.
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

[[noreturn]] void die(const char* what) {
    std::perror(what);
    std::exit(1);
}

// ------------------------------------------------------------- vhost-user --

enum Message : uint32_t {
    kGetFeatures = 1, kSetFeatures = 2, kSetOwner = 3, kSetMemTable = 5, kSetVringNum = 8, kSetVringAddr = 9,
    kSetVringBase = 10, kSetVringKick = 12, kSetVringCall = 13,
};
constexpr uint64_t kFeatureVersion1 = 1ull << 32;

struct [[gnu::packed]] Header {
    uint32_t request, flags, size;
};
struct VringState {
    uint32_t index, number;
};
struct VringAddress {
    uint32_t index, flags;
    uint64_t descriptors, used, available, log;
};
struct MemoryTable {
    uint32_t regions, padding;
    uint64_t guest_address, size, user_address, mmap_offset;
};

void send_message(int socket, Message request, const void* payload, uint32_t size, int descriptor = -1) {
    Header header{request, 1, size};
    iovec parts[2] = {{&header, sizeof header}, {const_cast<void*>(payload), size}};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = size ? 2 : 1;
    if (descriptor >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        cmsghdr* c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(c), &descriptor, sizeof descriptor);
    }
    if (sendmsg(socket, &message, 0) != static_cast<ssize_t>(sizeof header + size))
        die("vhost-user message");
}

// -------------------------------------------------------------- virtqueue --

constexpr uint16_t kRingSize = 256;
enum : uint16_t { kNext = 1, kDeviceWrites = 2 };
enum : uint32_t { kWrite = 1, kFlush = 4 };

struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
struct Available {
    uint16_t flags, index, ring[kRingSize], event;
};
struct Used {
    uint16_t flags, index;
    struct {
        uint32_t id, length;
    } ring[kRingSize];
    uint16_t event;
};
struct RequestHeader {
    uint32_t type, reserved;
    uint64_t sector;
};
struct Slot {
    RequestHeader header;
    uint8_t status;
};
struct Shared {
    alignas(4096) Descriptor descriptors[kRingSize];
    alignas(4096) Available available;
    alignas(4096) Used used;
    alignas(4096) Slot slots[kRingSize];
};

class Device {
  public:
    Device(const char* path, uint32_t block, unsigned depth) : block_(block) {
        size_ = (sizeof(Shared) + static_cast<uint64_t>(block) * depth + 4095) & ~4095ull;
        const int memory = memfd_create("vhost_load", 0);
        if (memory < 0 || ftruncate(memory, static_cast<off_t>(size_)) != 0)
            die("memfd");
        base_ = static_cast<uint8_t*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0));
        if (base_ == MAP_FAILED)
            die("mmap");
        std::memset(base_ + sizeof(Shared), 0x5a, size_ - sizeof(Shared));
        shared_ = reinterpret_cast<Shared*>(base_);
        kick_ = eventfd(0, 0);
        call_ = eventfd(0, 0);

        const int s = socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
        if (connect(s, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
            die(path);
        send_message(s, kGetFeatures, nullptr, 0);
        struct [[gnu::packed]] {
            Header header;
            uint64_t features;
        } reply;
        if (recv(s, &reply, sizeof reply, MSG_WAITALL) != sizeof reply)
            die("features");
        const uint64_t features = kFeatureVersion1;
        send_message(s, kSetFeatures, &features, sizeof features);
        send_message(s, kSetOwner, nullptr, 0);
        const MemoryTable table{1, 0, 0, size_, user(base_), 0};
        send_message(s, kSetMemTable, &table, sizeof table, memory);
        const VringState number{0, kRingSize}, zero{0, 0};
        send_message(s, kSetVringNum, &number, sizeof number);
        send_message(s, kSetVringBase, &zero, sizeof zero);
        const VringAddress ring{0, 0, user(shared_->descriptors), user(&shared_->used), user(&shared_->available), 0};
        send_message(s, kSetVringAddr, &ring, sizeof ring);
        const uint64_t index = 0;
        send_message(s, kSetVringCall, &index, sizeof index, call_);
        send_message(s, kSetVringKick, &index, sizeof index, kick_);
    }

    // Slot n has descriptors 3n, 3n + 1, 3n + 2.
    void submit(unsigned n, uint32_t type, uint64_t offset) {
        Slot& slot = shared_->slots[n];
        slot.header = {type, 0, offset / 512};
        slot.status = 0xff;
        const uint16_t first = static_cast<uint16_t>(3 * n);
        Descriptor* d = shared_->descriptors + first;
        const uint16_t second = type == kFlush ? first + 2 : first + 1;
        d[0] = {guest(&slot.header), sizeof slot.header, kNext, second};
        d[1] = {sizeof(Shared) + static_cast<uint64_t>(n) * block_, block_, kNext, static_cast<uint16_t>(first + 2)};
        d[2] = {guest(&slot.status), 1, kDeviceWrites, 0};
        shared_->available.ring[next_ % kRingSize] = first;
        next_++;
        std::atomic_thread_fence(std::memory_order_release);
        std::atomic_ref(shared_->available.index).store(next_, std::memory_order_release);
        pending_kick_ = true;
    }

    void kick() {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        const uint64_t one = 1;
        if (pending_kick_ && !(shared_->used.flags & 1) && write(kick_, &one, sizeof one) != sizeof one)
            die("kick");
        pending_kick_ = false;
    }

    // The slots that have completed, at least one.
    const std::vector<unsigned>& wait() {
        done_.clear();
        while (std::atomic_ref(shared_->used.index).load(std::memory_order_acquire) == seen_) {
            // The device makes the eventfd non-blocking for us as well.
            pollfd called{call_, POLLIN, 0};
            if (poll(&called, 1, 10000) <= 0)
                die("no completion for 10 seconds");
            uint64_t count;
            (void)!read(call_, &count, sizeof count);
        }
        while (std::atomic_ref(shared_->used.index).load(std::memory_order_acquire) != seen_) {
            const unsigned n = shared_->used.ring[seen_++ % kRingSize].id / 3;
            if (shared_->slots[n].status != 0) {
                std::fprintf(stderr, "vhost_load: status %u\n", shared_->slots[n].status);
                std::exit(1);
            }
            done_.push_back(n);
        }
        return done_;
    }

  private:
    uint64_t user(const void* p) const { return reinterpret_cast<uint64_t>(p); }
    uint64_t guest(const void* p) const { return static_cast<uint64_t>(static_cast<const uint8_t*>(p) - base_); }

    uint32_t block_;
    uint64_t size_ = 0;
    uint8_t* base_ = nullptr;
    Shared* shared_ = nullptr;
    int kick_ = -1, call_ = -1;
    uint16_t next_ = 0, seen_ = 0;
    bool pending_kick_ = false;
    std::vector<unsigned> done_;
};

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 8) {
        std::fprintf(stderr, "usage: vhost_load SOCKET BLOCK DEPTH SECONDS SET random|sequential flush|noflush\n");
        return 2;
    }
    const uint32_t block = static_cast<uint32_t>(std::strtoul(argv[2], nullptr, 10));
    const unsigned depth = static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10));
    const double seconds = std::strtod(argv[4], nullptr);
    const uint64_t blocks = std::strtoull(argv[5], nullptr, 10) / block;
    const bool random = !std::strcmp(argv[6], "random"), flush = !std::strcmp(argv[7], "flush");
    if (depth == 0 || depth > kRingSize / 3 || blocks == 0) {
        std::fprintf(stderr, "vhost_load: depth must be 1 to %d, and the set at least a block\n", kRingSize / 3);
        return 2;
    }
    Device device(argv[1], block, depth);
    uint64_t state = 88172645463325252ull, position = 0, writes = 0;
    const auto next_offset = [&] {
        if (!random)
            return position++ % blocks * block;
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        return state % blocks * block;
    };
    std::vector<bool> flushing(depth);
    const double began = now();
    for (unsigned n = 0; n < depth; n++)
        device.submit(n, kWrite, next_offset());
    device.kick();
    unsigned in_flight = depth;
    double ended = began;
    while (in_flight > 0) {
        const std::vector<unsigned> done = device.wait();
        ended = now();
        for (unsigned n : done) {
            if (flush && !flushing[n]) {
                flushing[n] = true;
                device.submit(n, kFlush, 0);
                continue;
            }
            flushing[n] = false;
            writes++;
            if (ended - began >= seconds)
                in_flight--;
            else
                device.submit(n, kWrite, next_offset());
        }
        device.kick();
    }
    std::printf("writes %llu seconds %.6f\n", static_cast<unsigned long long>(writes), ended - began);
    return 0;
}
