// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/wire/frame.h"

#include <algorithm>
#include <cstring>

#include "core/wire/layouts.h"

namespace drbd::wire {

namespace {

const char* name_of(Stream stream) {
    return stream == Stream::Data ? "data" : "meta";
}

template <typename Layout>
Layout read(const uint8_t* bytes) {
    Layout layout;
    std::memcpy(&layout, bytes, sizeof layout);
    return layout;
}

}  // namespace

uint32_t payload_max(const PacketRow& row, const Agreement& agreement, uint32_t integrity_digest_size) {
    const uint32_t fixed = fixed_size(row, agreement);
    switch (row.tail) {
    case Tail::None: return fixed;
    case Tail::Bulk: return fixed + integrity_digest_size + kBulkSizeMax;
    case Tail::Digest: return fixed + kDigestSizeMax;
    case Tail::Text: return fixed + kNameSizeMax;
    case Tail::BitmapChunk:
    case Tail::Secret: return kPacketSizeMax - header_size(agreement.version);  // the decoder knows better
    }
    DRBD_ASSERT(false);
    return 0;
}

void FrameReader::begin_accepted() {
    reset(Phase::First, Stream::Data);
}

void FrameReader::begin(Stream stream) {
    reset(stream == Stream::Data ? Phase::Features : Phase::Meta, stream);
}

void FrameReader::reset(Phase phase, Stream stream) {
    phase_ = phase;
    stream_ = stream;
    step_ = Step::Header;
    agreement_ = {};
    integrity_digest_size_ = 0;
    filled_ = head_end_ = bulk_remaining_ = 0;
    frame_ = {};
}

void FrameReader::agree(const Agreement& agreement) {
    DRBD_ASSERT(phase_ == Phase::Features || phase_ == Phase::Meta);
    DRBD_ASSERT(agreement.version >= kVersionMin && agreement.version <= kVersionMax);
    DRBD_ASSERT(filled_ == 0 || step_ == Step::Done);
    phase_ = Phase::Agreed;
    agreement_ = agreement;
}

void FrameReader::set_integrity_digest_size(uint32_t size) {
    DRBD_ASSERT(size <= kDigestSizeMax);
    integrity_digest_size_ = size;
}

const Frame& FrameReader::frame() const {
    DRBD_ASSERT(step_ == Step::Done);
    return frame_;
}

Result<Fed> FrameReader::feed(std::span<const uint8_t> bytes) {
    DRBD_ASSERT(step_ != Step::Broken);
    DRBD_ASSERT(phase_ != Phase::Meta);
    DRBD_ASSERT(bulk_remaining_ == 0);
    if (step_ == Step::Done) {
        step_ = Step::Header;
        filled_ = 0;
        frame_ = {};
    }
    size_t consumed = 0;
    if (step_ == Step::Header) {
        consumed = fill(bytes, header_size());
        // A peer with another header may send 8 bytes and wait: tell at once.
        if (auto magic = check_magic(); !magic)
            return fail(magic.error());
        if (filled_ < header_size())
            return Fed{FeedOutcome::NeedMore, consumed, header_size() - filled_};
        if (auto parsed = parse_header(); !parsed)
            return fail(parsed.error());
        step_ = Step::Head;
    }
    consumed += fill(bytes.subspan(consumed), head_end_);
    if (filled_ < head_end_)
        return Fed{FeedOutcome::NeedMore, consumed, head_end_ - filled_ + frame_.bulk_length};
    step_ = Step::Done;
    bulk_remaining_ = frame_.bulk_length;
    return Fed{bulk_remaining_ == 0 ? FeedOutcome::Complete : FeedOutcome::BulkFollows, consumed, 0};
}

std::span<const uint8_t> FrameReader::take_bulk(std::span<const uint8_t> bytes) {
    const size_t length = std::min<size_t>(bytes.size(), bulk_remaining_);
    on_bulk_received(length);
    return bytes.first(length);
}

void FrameReader::on_bulk_received(size_t length) {
    DRBD_ASSERT(step_ == Step::Done);
    DRBD_ASSERT(length <= bulk_remaining_);
    bulk_remaining_ -= static_cast<uint32_t>(length);
}

uint32_t FrameReader::header_size() const {
    return wire::header_size(agreement_.version);
}

size_t FrameReader::fill(std::span<const uint8_t> bytes, uint32_t until) {
    const size_t length = std::min<size_t>(bytes.size(), until - filled_);
    if (length != 0)
        std::memcpy(buffer_ + filled_, bytes.data(), length);
    filled_ += static_cast<uint32_t>(length);
    return length;
}

Result<void> FrameReader::check_magic() const {
    if (filled_ < 4)
        return {};
    const uint32_t magic = read<be32>(buffer_);
    if (agreement_.version >= 100 ? magic == kMagic100 : magic == kMagic80)
        return {};
    // From 95 to 99 the peer chooses by length; kernels take it below as well.
    if (agreement_.version != 0 && agreement_.version < 100 && magic >> 16 == kMagic95)
        return {};
    return Error::of(ErrorCode::Protocol,
                     "%s stream: no packet begins with 0x%08x at protocol %u; is the peer DRBD?",
                     name_of(stream_), magic, agreement_.version);
}

Result<void> FrameReader::parse_header() {
    uint16_t command;
    uint32_t length;
    uint16_t volume = 0;
    if (agreement_.version >= 100) {
        const auto header = read<RawHeader100>(buffer_);
        command = header.command;
        length = header.length;
        volume = header.volume;
        if (header.pad != 0)
            return Error::of(ErrorCode::Protocol, "%s stream: packet 0x%02x: the header's pad is 0x%08x, not 0",
                             name_of(stream_), command, header.pad.get());
    } else if (read<be32>(buffer_) == kMagic80) {
        const auto header = read<RawHeader80>(buffer_);
        command = header.command;
        length = header.length;
    } else {
        const auto header = read<RawHeader95>(buffer_);
        command = header.command;
        length = header.length;
    }
    if (auto known = check_packet(command, length); !known)
        return known;
    frame_.agreement = agreement_;
    frame_.volume = frame_.row->scope == Scope::Volume ? volume : uint16_t{0};
    return check_length(length);
}

// Is this packet expected here?  An unknown one on meta, and anything but the
// features where they are due, mean a peer we shall never understand.
Result<void> FrameReader::check_packet(uint16_t command, uint32_t length) {
    const PacketRow* row = find_row(command);
    switch (phase_) {
    case Phase::First:
        if (!row || row->place != Place::First)
            return Error::of(ErrorCode::Protocol,
                             "new connection: begins with packet 0x%04x, not with P_INITIAL_DATA or _META", command);
        break;
    case Phase::Features:
        if (!row || row->place != Place::Features)
            return Error::of(ErrorCode::Incompatible,
                             "data stream: packet 0x%04x of %u bytes where P_CONNECTION_FEATURES is due; "
                             "is the peer older than 8.4?", command, length);
        if (length != row->fixed)
            return Error::of(ErrorCode::Incompatible, "P_CONNECTION_FEATURES: length %u, not %u", length, row->fixed);
        break;
    case Phase::Meta:
        DRBD_ASSERT(false);
        break;
    case Phase::Agreed:
        const Place here = stream_ == Stream::Data ? Place::Data : Place::Meta;
        if (!row || (row->place != here && row->place != Place::Either) || !row->is_known_to(agreement_))
            return Error::of(stream_ == Stream::Data ? ErrorCode::Protocol : ErrorCode::Incompatible,
                             "%s stream: packet 0x%04x (%s) does not belong here at protocol %u, features 0x%x",
                             name_of(stream_), command, row ? row->name : "unknown", agreement_.version,
                             agreement_.features.bits);
        break;
    }
    frame_.row = row;
    return {};
}

Result<void> FrameReader::check_length(uint32_t length) {
    const PacketRow& row = *frame_.row;
    const uint32_t fixed = fixed_size(row, agreement_);
    const uint32_t digest = row.tail == Tail::Bulk ? integrity_digest_size_ : 0;
    const uint32_t max = payload_max(row, agreement_, digest);
    if (length < fixed + digest || length > max)
        return Error::of(ErrorCode::Protocol, "%s: length %u, must be %u to %u at protocol %u", row.name, length,
                         fixed + digest, max, agreement_.version);
    frame_.bulk_length = row.tail == Tail::Bulk ? length - fixed - digest : 0;
    const uint32_t head = length - frame_.bulk_length;
    head_end_ = header_size() + head;
    DRBD_ASSERT(head_end_ <= sizeof buffer_);
    frame_.fixed = {buffer_ + header_size(), fixed};
    frame_.tail = {buffer_ + header_size() + fixed, head - fixed};
    return {};
}

Result<Fed> FrameReader::fail(const Error& error) {
    step_ = Step::Broken;
    return error;
}

}  // namespace drbd::wire
