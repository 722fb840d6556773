// SPDX-License-Identifier: GPL-2.0-or-later
#include "metafmt/tool/device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "metafmt/tool/image_lock.h"
#include "metafmt/tool/tool_error.h"

namespace drbd::metafmt::tool {
namespace {

constexpr uint64_t kPiece = 1 << 20;

[[noreturn]] void fail(const std::string& path, const std::string& what) {
    throw ToolError(kExitDevice, path + ": " + what + ": " + std::strerror(errno));
}

[[noreturn]] void fail_in_use(const std::string& path, const char* by_whom) {
    throw ToolError(kExitDevice, path + " is in use by " + by_whom +
                                     ". Shut it down, or detach the disk, and try again.");
}

bool all_zero(std::span<const uint8_t> bytes) {
    return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

}  // namespace

Device::Device(const std::string& path, Access access) : path_(path) {
    struct stat status;
    if (stat(path.c_str(), &status) != 0)
        fail(path_, "cannot open");
    is_block_ = S_ISBLK(status.st_mode);
    if (!is_block_ && !S_ISREG(status.st_mode))
        throw ToolError(kExitDevice, path_ + " is neither a block device nor a regular file.");
    try {
        open_exclusively(access);
        find_size();
    } catch (...) {
        if (fd_ >= 0)
            close(fd_);
        throw;
    }
}

Device::~Device() { close(fd_); }

void Device::open_exclusively(Access access) {
    const bool writes = access == Access::Write;
    const int exclusive = writes && is_block_ ? O_EXCL : 0;
    fd_ = open(path_.c_str(), (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC | exclusive);
    if (fd_ < 0 && errno == EBUSY)
        fail_in_use(path_, "the kernel (a mount, DRBD, LVM, ...)");
    if (fd_ < 0)
        fail(path_, "cannot open");
    if (!writes) {
        may_be_stale_ = is_written_elsewhere(fd_);
        return;
    }
    switch (lock_for_writing(fd_)) {
    case LockOutcome::Locked:
        break;
    case LockOutcome::InUse:
        fail_in_use(path_, "another process (a virtual machine, qemu-storage-daemon, ...)");
    case LockOutcome::Unsupported:
        fail(path_, "cannot take image locks, so nobody can tell whether it is in use");
    }
}

void Device::find_size() {
    uint64_t bytes = 0;
    struct stat status;
    if (is_block_) {
        if (ioctl(fd_, BLKGETSIZE64, &bytes) != 0)
            fail(path_, "cannot find the size");
    } else {
        if (fstat(fd_, &status) != 0)
            fail(path_, "cannot find the size");
        bytes = static_cast<uint64_t>(status.st_size);
    }
    size_ = whole_sectors(Bytes(bytes));
}

void Device::read(Bytes offset, std::span<uint8_t> buffer) const {
    while (!buffer.empty()) {
        const ssize_t got = pread(fd_, buffer.data(), buffer.size(), static_cast<off_t>(offset.value));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            fail(path_, "read at byte " + std::to_string(offset.value));
        if (got == 0)
            throw ToolError(kExitDevice, path_ + ": end of file at byte " + std::to_string(offset.value));
        buffer = buffer.subspan(static_cast<size_t>(got));
        offset = offset + Bytes(static_cast<uint64_t>(got));
    }
}

void Device::write(Bytes offset, std::span<const uint8_t> data) {
    while (!data.empty()) {
        const ssize_t done = pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset.value));
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            fail(path_, "write at byte " + std::to_string(offset.value));
        data = data.subspan(static_cast<size_t>(done));
        offset = offset + Bytes(static_cast<uint64_t>(done));
    }
}

namespace {

// Zeroes that have their space: a bitmap made of holes would meet a full file
// system when the guest can least use it.  False where neither way is known.
bool zero_allocated(int fd, off_t offset, off_t length) {
    if (fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length) == 0)
        return true;
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) == 0 &&
           fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length) == 0;
}

}  // namespace

void Device::zero(Bytes offset, Bytes length) {
    if (length.value == 0)
        return;
    if (is_block_) {
        uint64_t range[2] = {offset.value, length.value};
        if (ioctl(fd_, BLKZEROOUT, range) == 0)
            return;
    } else if (zero_allocated(fd_, static_cast<off_t>(offset.value), static_cast<off_t>(length.value))) {
        return;
    }
    static const std::vector<uint8_t> zeros(kPiece);
    for (uint64_t done = 0; done < length.value; done += kPiece)
        write(offset + Bytes(done), std::span(zeros).first(std::min(kPiece, length.value - done)));
}

void Device::sync() {
    if (fsync(fd_) != 0)
        fail(path_, "flush");
}

// First byte at or after `offset` that may be other than zero.
Bytes Device::next_data(Bytes offset, Bytes end) const {
    if (is_block_)
        return offset;
    const off_t at = lseek(fd_, static_cast<off_t>(offset.value), SEEK_DATA);
    if (at < 0)
        return errno == ENXIO ? end : offset;
    return Bytes(std::clamp(round_down(static_cast<uint64_t>(at), kBlockSize), offset.value, end.value));
}

Bytes Device::end_of_data(Bytes offset, Bytes end) const {
    if (is_block_)
        return end;
    const off_t at = lseek(fd_, static_cast<off_t>(offset.value), SEEK_HOLE);
    if (at < 0)
        return end;
    const uint64_t aligned = offset.value + round_up(static_cast<uint64_t>(at) - offset.value, kBlockSize);
    return Bytes(std::min(aligned, end.value));
}

void Device::walk(Bytes offset, Bytes length, const std::function<void(Bytes, std::span<const uint8_t>)>& data,
                  const std::function<void(Bytes, Bytes)>& hole) const {
    const Bytes end = offset + length;
    std::vector<uint8_t> buffer(std::min(kPiece, length.value));
    while (offset < end) {
        // Whole blocks relative to where the walk began, so that callers see
        // whole words and lines.
        const Bytes found = next_data(offset, end);
        const Bytes begin(offset.value + round_down(found.value - offset.value, kBlockSize));
        const Bytes data_begin = found == end ? end : begin;
        if (data_begin > offset)
            hole(offset, data_begin - offset);
        offset = data_begin;
        const Bytes data_end = offset < end ? end_of_data(offset, end) : end;
        while (offset < data_end) {
            const std::span<uint8_t> piece(buffer.data(), std::min(kPiece, data_end.value - offset.value));
            read(offset, piece);
            data(offset, piece);
            offset = offset + Bytes(piece.size());
        }
    }
}

bool Device::last_nonzero_block(Bytes end, Bytes& position) const {
    // Windows from the end backwards: what lies behind old metadata is mostly
    // one large hole.
    constexpr uint64_t kWindow = 1ull << 30;
    end = Bytes(round_down(end.value, kBlockSize));
    while (end.value > 0) {
        const Bytes begin(end.value > kWindow ? end.value - kWindow : 0);
        bool found = false;
        walk(begin, end - begin,
             [&](Bytes at, std::span<const uint8_t> piece) {
                 for (size_t i = 0; i + kBlockSize <= piece.size(); i += kBlockSize)
                     if (!all_zero(piece.subspan(i, kBlockSize))) {
                         found = true;
                         position = at + Bytes(i);
                     }
             },
             [](Bytes, Bytes) {});
        if (found)
            return true;
        end = begin;
    }
    return false;
}

bool Device::is_zero(Bytes offset, Bytes length) const {
    bool zero = true;
    walk(offset, length, [&](Bytes, std::span<const uint8_t> piece) { zero = zero && all_zero(piece); },
         [](Bytes, Bytes) {});
    return zero;
}

}  // namespace drbd::metafmt::tool
