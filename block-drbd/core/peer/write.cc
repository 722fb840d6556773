// SPDX-License-Identifier: GPL-2.0-or-later
// The way of the peer's write to the image and back (peer_io.h): announced,
// received, waiting for its epoch and for what it overlaps, perhaps for its
// bits, at the image, done.
#include <cerrno>

#include "core/peer/peer_io.h"

namespace drbd {

namespace {

// 8.4 sends it only to who offered it, and we never do.
Error write_same_not_offered() {
    return Error::of(ErrorCode::Protocol, "P_WSAME came, but this node offers no write-same: the peer's "
                                          "P_SIZES handling is broken, switch its write-same off");
}

}  // namespace

Result<BulkVerdict> PeerIo::on_write_announced(const wire::Frame& frame) {
    drop_announced();  // its payload was given up elsewhere
    if (frame.packet() == wire::Packet::WriteSame)
        return write_same_not_offered();
    auto volume = volume_of(frame);
    if (!volume)
        return volume.error();
    if (auto write = wire::decode_write(frame, volume.value()->capacity()); !write)
        return write.error();
    if (!volume.value()->takes_replicated_writes())
        return BulkVerdict::Discard;
    announced_ = requests_.take(frame.volume, PeerWork::Write, frame.bulk_length);
    return announced_ ? BulkVerdict::Take : BulkVerdict::Stall;
}

void PeerIo::drop_announced() {
    if (announced_)
        requests_.finish(*announced_);
    announced_ = nullptr;
}

Result<void> PeerIo::on_write(const wire::Frame& frame, void* buffer) {
    if (frame.bulk_length == 0 || (announced_ && announced_->volume != frame.volume))
        drop_announced();
    PeerRequest* request = announced_;
    announced_ = nullptr;
    const auto give_up = [&] {
        requests_.release(buffer, frame.bulk_length);
        if (request)
            requests_.finish(*request);
    };
    auto volume = volume_of(frame);
    if (!volume) {
        give_up();
        return volume.error();
    }
    auto decoded = wire::decode_write(frame, volume.value()->capacity());
    if (!decoded || frame.packet() == wire::Packet::WriteSame) {
        give_up();
        return decoded ? write_same_not_offered() : decoded.error();
    }
    const wire::DataWrite& write = decoded.value();
    const bool was_discarded = frame.bulk_length != 0 && !buffer;
    begin_connection_if_new();
    on_peer_sequence(frame.volume, write.sequence);
    if (!volume.value()->takes_replicated_writes() || was_discarded) {
        give_up();
        epochs_.count_write();
        refuse_write(write, frame.volume);
        return {};
    }
    if (!request)
        request = requests_.take(frame.volume, PeerWork::Write, frame.bulk_length);
    if (!request) {
        give_up();
        return Error::of(ErrorCode::Protocol, "%s: no request is free, %u are in use", frame.row->name,
                         requests_.in_use());
    }
    request->buffer = buffer;
    volume.value()->count_received(write.size.value);
    begin_write(*request, frame, write);
    return {};
}

// It counts in its epoch all the same.  What this disk lacks is marked, if there is one.
void PeerIo::refuse_write(const wire::DataWrite& write, unsigned volume) {
    if (write.size.value == 0)
        return;
    volumes_[volume].volume->set_out_of_sync(write.sector, write.size);
    send_ack(volume, wire::Packet::NegAck, write.sector, write.size, write.id);
}

void PeerIo::begin_write(PeerRequest& request, const wire::Frame& frame, const wire::DataWrite& write) {
    PerVolume& v = volumes_[request.volume];
    const bool versioned = frame.agreement.version >= 95;  // before, RW_SYNC was the only hint
    request.range.start = to_bytes(write.sector).value;
    request.range.end = request.range.start + write.size.value;
    request.block_id = write.id;
    request.flags = wanted_answers(write.flags);
    request.sequence = write.sequence;
    request.times_up = link_.times_up();
    request.fua = versioned && write.flags.has(wire::DataFlag::Fua);
    request.peer_has_no_disk = v.volume->peer_has_no_disk();
    if (request.peer_has_no_disk && write.size.value != 0)
        v.volume->set_out_of_sync(write.sector, write.size);  // a bitmap that is sent now must know of it
    switch (frame.packet()) {
    case wire::Packet::Trim:
        // A plain discard may leave anything behind; both copies hold zeroes.
        request.io = DRBD_PEER_ZEROES;
        request.may_unmap = request.discard = true;
        break;
    case wire::Packet::Zeroes:
        request.io = DRBD_PEER_ZEROES;
        request.may_unmap = write.flags.has(wire::DataFlag::Discard);
        break;
    default:
        request.io = write.size.value == 0 ? DRBD_PEER_FLUSH : DRBD_PEER_WRITE;
        break;
    }
    v.writes++;
    epochs_.count_write();
    request.epoch = epochs_.begin_write();
    acknowledge_reception(request);
    if (v.order.enter(request, epochs_.oldest()))
        submit_write(request);
}

// Its turn has come.  If the peer has no disk, nothing but our bits will tell
// that the two differ: they go first (spec 6.8).
void PeerIo::submit_write(PeerRequest& request) {
    PerVolume& v = volumes_[request.volume];
    if (request.peer_has_no_disk && request.bytes() != 0) {
        v.volume->set_out_of_sync(request.sector(), Bytes(request.bytes()));
        if (!v.volume->want_bits_stable(request.sector(), Bytes(request.bytes()))) {
            v.wait_bits.push_back(request);
            return;
        }
    }
    requests_.submit(request);
}

void PeerIo::bits_are_stable(unsigned volume) {
    PerVolume& v = volumes_[volume];
    for (unsigned left = v.wait_bits.size(); left > 0; left--) {
        PeerRequest& request = *v.wait_bits.pop_front();
        // Others may have become unstable since.
        if (v.volume->want_bits_stable(request.sector(), Bytes(request.bytes())))
            requests_.submit(request);
        else
            v.wait_bits.push_back(request);
    }
}

void PeerIo::write_done(PeerRequest& request) {
    const unsigned number = request.volume;
    PerVolume& v = volumes_[number];
    const int error = request.result;
    const uint64_t offset = request.range.start, bytes = request.bytes();
    const bool flush = request.io == DRBD_PEER_FLUSH;
    const DrbdRequestKind kind = request.discard                  ? DRBD_REQUEST_DISCARD
                                 : request.io == DRBD_PEER_ZEROES ? DRBD_REQUEST_ZEROES
                                                                  : DRBD_REQUEST_WRITE;
    if (!flush)
        v.order.leave(request);
    if (error == 0 && !flush && !request.fua)
        v.unflushed = true;
    end_write(request);
    // Before others go on: it may well end the disk for them.
    if (error != 0 && flush)
        flush_failed(number, error);
    else if (error != 0 && !v.disk_lost)
        v.volume->on_peer_disk_error(kind, offset, bytes, error);
    if (v.order.has_blocked())
        go_on(v);
    end_epochs();
}

// Answers it and gives it back.  It is in no list and not in the order.
void PeerIo::end_write(PeerRequest& request) {
    PerVolume& v = volumes_[request.volume];
    if (request.result != 0 && request.bytes() != 0)
        v.volume->set_out_of_sync(request.sector(), Bytes(request.bytes()));
    acknowledge_write(request);
    DRBD_ASSERT(v.writes > 0);
    v.writes--;
    epochs_.end_write(request.epoch);
    requests_.finish(request);
}

void PeerIo::go_on(PerVolume& v) {
    bool refused;
    do {  // a read that is refused leaves its place to others
        refused = false;
        v.order.grant(epochs_.oldest(), granted_);
        while (PeerRequest* request = granted_.pop_front()) {
            if (request->work == PeerWork::Write)
                submit_write(*request);
            else if (request->work == PeerWork::Read)
                refused |= !begin_read(*request);
            else
                request->waiter->on_peer_range_granted(*request);
        }
    } while (refused && v.order.has_blocked());
}

// What has not begun at the image.
void PeerIo::fail_waiting(unsigned volume) {
    PerVolume& v = volumes_[volume];
    PeerRequestList failed;
    v.order.take_waiting_writes(failed);
    while (PeerRequest* request = v.wait_bits.pop_front()) {
        v.order.leave(*request);
        failed.push_back(*request);
    }
    while (PeerRequest* request = failed.pop_front()) {
        request->result = -EIO;
        end_write(*request);
    }
}

}  // namespace drbd
