// SPDX-License-Identifier: GPL-2.0-or-later
// The guest's promises.  Contract: guest_promise.h.

#include "guest_promise.h"

#include <algorithm>

namespace powercut {

namespace {

constexpr uint32_t kNoRequest = UINT32_MAX;
constexpr uint64_t kSectorsPerBlock = 8;

bool zeroes(const Request& request) { return request.kind == Kind::Zero || request.kind == Kind::Trim; }
uint64_t first_of(const Request& request) { return request.offset / kSectorSize; }
uint64_t end_of(const Request& request) { return (request.offset + request.length) / kSectorSize; }

}  // namespace

GuestPromise::GuestPromise(const SequenceLog& log, const Content& base, TrimRule trim)
    : log_(log), base_(base), trim_(trim), floor_(base.sectors.size()),
      zero_until_(base.sectors.size()), zero_in_flight_(base.sectors.size()),
      submitted_blocks_(base.sectors.size() / kSectorsPerBlock + 1) {}

void GuestPromise::on_event(uint64_t number) {
    const Event& event = log_.events[number];
    now_ = number + 1;
    if (event.channel != Channel::Guest || event.kind == Kind::Mark)
        return;
    if (event.phase == Phase::Submit)
        on_submit(event.request);
    else if (event.phase == Phase::Complete)
        on_acknowledged(event.request, number);
}

void GuestPromise::on_submit(uint32_t index) {
    const Request& request = log_.requests[index];
    if (request.kind == Kind::Flush)
        return;
    if (request.id >= by_id_.size())
        by_id_.resize(request.id + 1, kNoRequest);
    by_id_[request.id] = index;
    for (uint64_t s = first_of(request); s < end_of(request); s++) {
        zero_in_flight_[s] += zeroes(request);
        submitted_blocks_[s / kSectorsPerBlock] = true;
    }
}

void GuestPromise::on_acknowledged(uint32_t index, uint64_t number) {
    const Request& request = log_.requests[index];
    if (request.kind == Kind::Flush) {
        std::erase_if(volatile_, [&](uint32_t other) {
            const Request& change = log_.requests[other];
            if (change.complete >= request.submit)
                return false;
            make_durable(change);
            return true;
        });
        return;
    }
    if (zeroes(request))
        for (uint64_t s = first_of(request); s < end_of(request); s++) {
            zero_in_flight_[s]--;
            zero_until_[s] = std::max(zero_until_[s], number + 1);
        }
    if (request.fua)
        make_durable(request);
    else
        volatile_.push_back(index);
}

void GuestPromise::make_durable(const Request& request) {
    if (request.kind == Kind::Trim && trim_ == TrimRule::MayKeep)
        return;
    for (uint64_t s = first_of(request); s < end_of(request); s++)
        floor_[s] = std::max(floor_[s], request.submit + 1);
}

bool GuestPromise::allowed(uint32_t sector, uint32_t owner) const {
    const uint64_t floor = floor_[sector];
    if (owner == kForeign)
        return false;
    if (owner == base_.sectors[sector] && floor == 0)
        return true;
    if (owner == kZero)
        return zero_in_flight_[sector] > 0 || zero_until_[sector] > floor;
    if (owner == kBase || owner >= by_id_.size() || by_id_[owner] == kNoRequest)
        return false;
    const Request& request = log_.requests[by_id_[owner]];
    if (request.kind != Kind::Write || sector < first_of(request) || sector >= end_of(request))
        return false;
    return request.complete >= now_ || request.failed || request.complete + 1 > floor;
}

std::string GuestPromise::explain(uint32_t sector, uint32_t owner) const {
    std::string text = "sector " + std::to_string(sector) + " holds ";
    if (owner == kZero)
        text += "zeroes";
    else if (owner == kForeign)
        text += "bytes that nobody wrote there";
    else if (owner == kBase)
        text += "what it held in the beginning";
    else
        text += "the guest's write " + std::to_string(owner);
    if (floor_[sector])
        text += ", but a durable change was submitted at event " + std::to_string(floor_[sector] - 1);
    return text;
}

}  // namespace powercut
