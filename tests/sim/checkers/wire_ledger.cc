// SPDX-License-Identifier: GPL-2.0-or-later
// The book of wire_ledger.h.
#include "checkers/wire_ledger.h"

#include <algorithm>

namespace drbd::sim {

namespace {

using wire::Packet;

constexpr uint32_t kFlagFua = 16;

// Below 95 nobody says FUA; what the older flag means is a hint.
bool says_fua(const TappedPacket& packet) { return packet.flags & kFlagFua; }

}  // namespace

void WireLedger::begin(uint32_t tcp) {
    while (!entries_.empty())
        forget_first();
    barriers_.clear();
    epoch_ = 0;
    tcp_ = tcp;
}

void WireLedger::add(const TappedPacket& packet) {
    Sent sent;
    switch (packet.packet) {
    case Packet::Barrier:
        barriers_.push_back(packet.number);
        epoch_++;
        return;
    case Packet::RsDataReply:
    case Packet::RsDeallocated:
        sent.resync = true;
        sent.block_id = kSyncerId;
        break;
    case Packet::Data:
    case Packet::Trim:
    case Packet::Zeroes:
        sent.block_id = packet.block_id;
        sent.fua = says_fua(packet);
        break;
    default:
        return;
    }
    sent.volume = packet.volume;
    sent.sector = packet.sector;
    sent.sectors = packet.bytes / 512;
    sent.epoch = epoch_;
    if (!std::ranges::all_of(packet.values, [](uint64_t value) { return value == 0; })) {
        if (!rooms_.empty()) {
            sent.values = std::move(rooms_.back());
            rooms_.pop_back();
        }
        sent.values.assign(packet.values.begin(), packet.values.end());
    }
    entries_.push_back(std::move(sent));
}

bool WireLedger::oldest_barrier(uint32_t& number) const {
    if (barriers_.empty())
        return false;
    number = barriers_.front();
    return true;
}

void WireLedger::confirm_oldest() {
    for (Sent& sent : entries_)
        if (!sent.resync && sent.epoch == oldest_epoch())
            sent.confirmed = true;
    barriers_.pop_front();
}

Sent* WireLedger::find(const TappedPacket& answer) {
    for (Sent& sent : entries_) {
        if (sent.volume != answer.volume || sent.block_id != answer.block_id || sent.sector != answer.sector)
            continue;
        // A P_NEG_ACK may have lost its size.
        if (sent.resync && (sent.over() || (answer.bytes != 0 && sent.sectors != answer.bytes / 512)))
            continue;
        return &sent;
    }
    return nullptr;
}

Sent* WireLedger::find_begun(unsigned volume, uint64_t sector, std::span<const uint64_t> values) {
    for (Sent& sent : entries_) {
        if (sent.begun || sent.volume != volume || sent.sector != sector || sent.sectors != values.size())
            continue;
        bool same = true;
        for (uint64_t i = 0; i < values.size() && same; i++)
            same = sent.value(sector + i) == values[i];
        if (same)
            return &sent;
    }
    return nullptr;
}

void WireLedger::on_disk_attached(unsigned volume) {
    for (Sent& sent : entries_)
        sent.passed_over |= sent.volume == volume && !sent.begun;
}

// Of writes that overlap one is at the image at a time: the last that began.
void WireLedger::on_failed(unsigned volume, uint64_t sector, uint64_t sectors) {
    const auto last = std::find_if(entries_.rbegin(), entries_.rend(), [&](const Sent& sent) {
        return sent.begun && !sent.failed && !sent.over() && sent.volume == volume && sent.sector == sector && sent.sectors == sectors;
    });
    if (last != entries_.rend())
        last->failed = true;
}

bool WireLedger::is_on(const Disk& disk, View view, const Sent& sent, uint64_t& missing) const {
    for (uint64_t s = sent.sector; s < sent.sector + sent.sectors && s < disk.image().sectors(); s++) {
        const uint64_t value = disk.value(view, s);
        if (value == sent.value(s))
            continue;
        bool newer = false;
        for (auto other = entries_.rbegin(); other != entries_.rend() && &*other != &sent && !newer; ++other)
            newer = other->covers(sent.volume, s) && other->value(s) == value;
        if (!newer) {
            missing = s;
            return false;
        }
    }
    return true;
}

void WireLedger::forget_answered() {
    while (!entries_.empty() && entries_.front().over())
        forget_first();
}

void WireLedger::forget_first() {
    if (std::vector<uint64_t>& values = entries_.front().values; !values.empty()) {
        values.clear();
        rooms_.push_back(std::move(values));
    }
    entries_.pop_front();
}

std::string describe(const Sent& sent) {
    return std::string(sent.resync ? "resync answer" : "write") + " of sector " + std::to_string(sent.sector) + ", " +
           std::to_string(sent.sectors) + " sectors" +
           (sent.values.empty() ? " of zeroes" : ", write " + std::to_string(sent.values.front() >> 12)) +
           (sent.resync ? "" : ", epoch " + std::to_string(sent.epoch));
}

}  // namespace drbd::sim
