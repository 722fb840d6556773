// SPDX-License-Identifier: GPL-2.0-or-later
// What the two nodes tell each other of one volume: parameters, sizes, data
// generations, states (spec sections 4.1, 4.3 to 4.5).  In: packets, the
// connection coming and going.  Out: the same packets of ours, a verdict on who
// follows whom, and the state that follows from it (volume.h).
#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "core/api/volume.h"
#include "core/generation/update.h"
#include "core/wire/decode.h"
#include "metafmt/layout.h"

namespace drbd {

namespace {

constexpr uint32_t kOwnBioMax = 1u << 20;

// A copy may be called old only where the other is good.
bool may_be_outdated(DiskState copy, DiskState other) {
    return copy > DiskState::Outdated && copy != DiskState::DUnknown && other == DiskState::UpToDate;
}

unsigned long long count_of(Sector sectors) { return static_cast<unsigned long long>(sectors.value); }

}  // namespace

void Volume::set_phase(ConnectionState phase, const char* reason) {
    if (phase == state_.connection)
        return;
    State wanted = state_;
    wanted.connection = phase;
    change_state(ChangeKind::Hard, wanted, reason, 0);
}

// ---- what we say ----

void Volume::link_up() {
    Link& link = this->link();
    const DrbdNetConfig& config = owner_.connection().config();
    peer_ = {};
    early_sync_uuid_.reset();
    held_state_.reset();
    consider_resync_ = peer_granted_ = false;
    decision_ = {};
    policy_.agreed_version = link.agreement().version;
    policy_.handshake_under_way = true;
    // A disk that the guest has left, and that waits for the last I/O, is none to be compared.
    if (is_being_left())
        give_up_at_once(operation_.number);
    refresh_access();

    wire::SyncParameters parameters;
    parameters.resync_rate_kib = config.resync_rate;
    std::snprintf(parameters.verify_alg.text, sizeof parameters.verify_alg.text, "%s", config.verify_alg);
    std::snprintf(parameters.csums_alg.text, sizeof parameters.csums_alg.text, "%s", config.csums_alg);
    parameters.plan_ahead_ds = config.c_plan_ahead;
    parameters.delay_target_ds = config.c_delay_target;
    parameters.fill_target_sectors = config.c_fill_target;
    parameters.max_rate_kib = config.c_max_rate;
    link.send_data(wire::encode_sync_parameters(link.room(), link.to(number_), parameters));
    send_sizes(false);
    send_uuids();
    State announced = state_;
    announced.connection = ConnectionState::WFConnection;  // trap 21
    send_state_of(announced);
}

// What a connected peer may grow to is what was agreed before: volumes do not
// grow by meeting (resize is an operation of its own).
void Volume::send_sizes(bool ask_for_answer) {
    if (!link_is_up())
        return;
    const wire::Agreement& agreement = link().agreement();
    wire::Sizes sizes;
    sizes.disk_size = is_attached() ? size_ : Sector();
    sizes.current_size = ask_for_answer ? Sector() : size_;
    sizes.max_bio_size = static_cast<uint32_t>(
        std::min<uint64_t>(kOwnBioMax, wire::bulk_max(agreement.version).value));
    if (agreement.features.has(wire::Feature::WriteSame)) {
        sizes.limits = wire::QueueLimits{};
        sizes.limits->physical_block_size = static_cast<uint32_t>(kBlockSize);
        sizes.limits->logical_block_size = static_cast<uint32_t>(kSectorSize);
        sizes.limits->io_min = static_cast<uint32_t>(kBlockSize);
        sizes.limits->discard_enabled = true;
        sizes.limits->discard_zeroes_data = true;
    }
    link().send_data(wire::encode_sizes(link().room(), link().to(number_), sizes));
}

void Volume::send_uuids() {
    if (!link_is_up() || !is_attached())
        return;
    wire::GenerationReport report;
    report.uuids = disk_.uuids;
    report.bits_set = bits_told_ = disk_.bitmap.count();
    report.discard_my_data = owner_.connection().discard_my_data();
    report.crashed_primary = disk_.crashed_primary;
    report.inconsistent = state_.disk == DiskState::Negotiating && intended_disk_ == DiskState::Inconsistent;
    report.skip_initial_sync = announce_skip_;
    link().send_data(wire::encode_uuids(link().room(), link().to(number_), report));
}

// To be Outdated while Connected is not for the wire: a peer without a disk would
// take the copy for a good one (trap 38, decision 0020).
void Volume::send_state() {
    if (!link_is_up() || !is_connected())
        return;
    State told = state_;
    if (told.connection == ConnectionState::Connected && told.disk == DiskState::Outdated)
        told.disk = DiskState::Inconsistent;
    send_state_of(told);
}

void Volume::send_state_of(const State& state) {
    link().send_data(wire::encode_state(link().room(), link().to(number_), state));
}

// What a disk that is Negotiating becomes when the peer's goes before they were compared: a Primary
// takes none that its guest has not seen.
DiskState Volume::uncompared_disk() const {
    const bool known = state_.role != Role::Primary ||
                       (!peer_has_newer_ && same_generation(exposed_uuid_, disk_.uuids.current));
    return known ? intended_disk_ : DiskState::Failed;
}

// The connection is gone; what it leaves is a state without a peer.  The
// generation that a Primary needs from here on is made by that change.
void Volume::link_lost(ConnectionState how, const char* reason) {
    policy_.handshake_under_way = false;
    peer_.has_sizes = peer_.has_generations = peer_.is_absent = false;
    held_state_.reset();
    consider_resync_ = false;
    const bool spared = spare_this_copy();
    forget_start();
    waits_for_ping_ = target_is_done_ = false;
    State wanted = state_;
    if (spared)
        wanted.disk = DiskState::UpToDate;
    const bool torn_down = state_.connection == ConnectionState::TearDown && how != ConnectionState::Disconnecting;
    wanted.connection = torn_down ? ConnectionState::TearDown : how;
    doubt_target(wanted);
    if (peer_outdates_itself_)
        wanted.peer_disk = DiskState::Outdated;
    if (state_.disk == DiskState::Negotiating) {
        wanted.disk = uncompared_disk();
        // Alone after all: the peer's disk may be of this generation, as after an attach without a peer.
        io_.want_generation(state_.role == Role::Primary && (disk_.uuids.bitmap == 0 || disk_.generation_shared));
    }
    if (outdates_itself_)
        wanted.disk = DiskState::Outdated;
    peer_outdates_itself_ = outdates_itself_ = false;
    change_state(ChangeKind::Hard, wanted, reason, 0);
    if (wanted.disk == DiskState::Failed && state_.disk == DiskState::Failed)
        give_up_disk();
    refresh_access();
    asked_in_vain();
}

// A target that may be done, or has not begun, may call its data good when the
// connection ends, however it ends (decision 0015).
void Volume::doubt_target(State& wanted) {
    if (state_.connection == ConnectionState::StartingSyncS || state_.connection == ConnectionState::WFBitMapS)
        target_may_not_know();
    if (target_may_be_done_ && is_source(state_.connection))
        wanted.peer_disk = DiskState::DUnknown;
}

// Spec 5.7: the end was agreed on.  It stands in the superblock before the
// answer goes out.
void Volume::prepare_end(const EndTerms& terms) {
    peer_outdates_itself_ = terms.peer_outdates_itself && may_be_outdated(state_.peer_disk, state_.disk);
    const DiskState own = state_.disk == DiskState::Negotiating ? intended_disk_ : state_.disk;  // if it is not compared any more
    outdates_itself_ = terms.outdates_itself && state_.role != Role::Primary && may_be_outdated(own, peer_disk_at_end());
}

// A target that has said that it has everything is good, although this node waits for a confirmation yet.
DiskState Volume::peer_disk_at_end() const {
    return target_is_done_ && target_is_good_ ? DiskState::UpToDate : state_.peer_disk;
}

void Volume::tear_down(const EndTerms& terms, const char* reason) {
    // From here on acknowledgements are not read, but pings are answered: the target takes that for a
    // word that all of them were.
    note_progress(is_source(state_.connection) && is_attached() ? resync_.unacknowledged_blocks() : 0);
    // Nor is anything confirmed any more: what comes back into the bitmap decides what the resync was.
    resync_link_lost();
    prepare_end(terms);
    State wanted = state_;
    wanted.connection = ConnectionState::TearDown;
    doubt_target(wanted);
    if (peer_outdates_itself_)
        wanted.peer_disk = DiskState::Outdated;
    if (outdates_itself_)
        wanted.disk = DiskState::Outdated;
    peer_outdates_itself_ = outdates_itself_ = false;
    change_state(ChangeKind::Hard, wanted, reason, 0);
}

// ---- what the peer says ----

Result<void> Volume::on_sync_parameters(const wire::Frame& frame) {
    auto parameters = wire::decode_sync_parameters(frame);
    if (!parameters)
        return parameters.error();
    const DrbdNetConfig& config = owner_.connection().config();
    const struct {
        const char* name;
        const char* own;
        const char* peers;
    } algorithms[] = {{"verify-alg", config.verify_alg, parameters.value().verify_alg.text},
                      {"csums-alg", config.csums_alg, parameters.value().csums_alg.text}};
    const unsigned version = frame.agreement.version;
    for (const auto& a : algorithms) {
        const bool told = a.name[0] == 'v' ? version >= 88 : version >= 89;
        if (told && state_.connection < ConnectionState::Connected && std::strcmp(a.own, a.peers) != 0)
            return Error::of(ErrorCode::Incompatible, "volume %u: %s differs: this node has '%s', the peer '%s'", number_,
                             a.name, a.own, a.peers);
    }
    return {};
}

Result<void> Volume::on_sizes(const wire::Frame& frame) {
    auto sizes = wire::decode_sizes(frame);
    if (!sizes)
        return sizes.error();
    peer_.sizes = sizes.value();
    peer_.has_sizes = true;
    peer_.is_absent = false;
    io_.set_peer_bio_max(peer_.sizes.max_bio_size);
    const Sector before = size_;
    if (auto agreed = agree_on_size(); !agreed)
        return agreed;
    if (state_.connection > ConnectionState::WFReportParams &&
        (peer_.sizes.current_size.value == 0 || before != size_))
        send_sizes(false);
    return {};
}

// Spec 4.4, for sizes that only ever come down to the smaller of the two.
Result<void> Volume::agree_on_size() {
    const wire::Sizes& peer = peer_.sizes;
    if (!is_attached()) {
        const Sector offered = peer.current_size.value != 0 ? peer.current_size
                               : peer.user_size.value != 0  ? peer.user_size
                                                            : peer.disk_size;
        if (offered.value == 0 || offered == size_ || (size_.value != 0 && peer.disk_size.value == 0))
            return {};
        if (offered < size_ && state_.role == Role::Primary)
            return Error::of(ErrorCode::Incompatible,
                             "volume %u: the peer has %llu sectors, the guest of this node uses %llu", number_,
                             count_of(offered), count_of(size_));
        size_ = offered;
        return {};
    }
    Sector wanted = size_;
    if (peer.disk_size.value != 0)
        wanted = std::min(wanted, peer.disk_size);
    if (peer.user_size.value != 0)
        wanted = std::min(wanted, peer.user_size);
    if (wanted == size_)
        return {};
    const DiskState data = state_.disk == DiskState::Negotiating ? intended_disk_ : state_.disk;
    if (data >= DiskState::Outdated || state_.role == Role::Primary || state_.connection > ConnectionState::Connected)
        return Error::of(ErrorCode::Incompatible,
                         "volume %u: the peer's disk has %llu sectors, the data here %llu: usable data is never "
                         "shrunk; give the peer a disk as large",
                         number_, count_of(wanted), count_of(size_));
    return shrink_to(wanted);
}

Result<void> Volume::shrink_to(Sector size) {
    if (size.value < kSectorsPerBlock)
        return Error::of(ErrorCode::Incompatible, "volume %u: the peer offers %llu sectors, too few for a disk",
                         number_, count_of(size));
    if (io_.in_flight() != 0 || owner_.peer_requests().in_use(number_) != 0)
        return Error::of(ErrorCode::Protocol, "volume %u: the peer's disk is smaller, and requests are in flight",
                         number_);
    owner_.notices().warning(static_cast<int>(number_), "the size is %llu sectors from now on, as the peer's (was %llu)",
                             count_of(size), count_of(size_));
    disk_.bitmap.shrink(size);
    disk_.size = size_ = size;
    want_superblock();
    return {};
}

// The guest of this Primary has seen another generation last, or what the peer made of it for him.
bool Volume::guest_has_not_seen(const Uuids& told) const {
    return state_.role == Role::Primary && exposed_uuid_ != 0 && !same_generation(exposed_uuid_, told.current) &&
           !(peer_has_newer_ && same_generation(exposed_uuid_, told.bitmap));
}

Error Volume::unseen_by_guest(const Uuids& told) const {
    return Error::of(ErrorCode::Incompatible,
                     "volume %u: the guest of this Primary has seen the data generation %016llX, the peer's disk "
                     "holds %016llX",
                     number_, static_cast<unsigned long long>(exposed_uuid_), static_cast<unsigned long long>(told.current));
}

// The answer to a detach comes on the other stream, and may be lost or late.  Who has begun a
// generation on top of this disk's goes on without it: that is consent, and this disk lacks what comes.
void Volume::take_generation_for_consent(const Uuids& told) {
    if (operation_.pending() && operation_.kind == OperationKind::Detach && operation_.phase == OperationPhase::AskPeer &&
        is_connected() && is_attached() && same_generation(told.bitmap, disk_.uuids.current) &&
        !same_generation(told.current, disk_.uuids.current)) {
        operation_.peer_agreed = true;
        operation_may_begin();
    }
}

// The guest sees, or is about to see, the peer's disk instead of one here.
void Volume::expose_peers_data() {
    exposed_uuid_ = peer_.generations.uuids.current;
    exposed_elsewhere_ = true;
}

Result<void> Volume::on_uuids(const wire::Frame& frame) {
    auto report = wire::decode_uuids(frame);
    if (!report)
        return report.error();
    const wire::GenerationReport& told = report.value();
    const bool diskless = !is_attached();
    if (diskless && (!is_connected() || state_.peer_disk < DiskState::Failed) && guest_has_not_seen(told.uuids))
        return unseen_by_guest(told.uuids);
    take_generation_for_consent(told.uuids);
    peer_.generations = told;
    if (told.skip_initial_sync)
        peer_.generations.uuids = with_initial_sync_skipped(told.uuids);  // as it does now
    peer_.has_generations = true;
    if (state_.disk < DiskState::Inconsistent && peer_went_on())
        end_handover(0, nullptr);
    if (diskless) {
        // A disk that the peer is giving up may have missed what was written here last.
        if ((state_.role == Role::Primary || is_connected()) && state_.peer_disk != DiskState::Failed) {
            peer_has_newer_ &= same_generation(exposed_uuid_, told.uuids.current);
            expose_peers_data();
        }
        return {};
    }
    if (told.skip_initial_sync && is_connected() && !may_skip_initial_sync(disk_.uuids) &&
        !same_generation(told.uuids.current, disk_.uuids.current)) {
        link().drop(ConnectionState::NetworkFailure,
                    "volume %u: the peer declares both disks equal, and this one has a data generation of its own by now: the "
                    "nodes meet anew",
                    number_);
        return {};
    }
    if (told.skip_initial_sync && state_.connection == ConnectionState::Connected &&
        may_skip_initial_sync(disk_.uuids)) {
        disk_.uuids = with_peers_first_generation(disk_.uuids, told.uuids.current, state_.role);
        exposed_uuid_ = disk_.uuids.current;
        disk_.bitmap.set_in_sync(Sector(), size_);
        State wanted = state_;
        wanted.disk = wanted.peer_disk = DiskState::UpToDate;
        change_state(ChangeKind::Hard, wanted, "the peer says that both disks hold the same bytes (no first sync)", 0);
        bits_due_ = true;
        want_superblock();
    }
    return {};
}

Result<void> Volume::on_out_of_sync(const wire::Frame& frame) {
    auto range = wire::decode_block_range(frame, size_);
    if (!range)
        return range.error();
    lacks_at_end_ = true;
    if (is_attached())
        disk_.bitmap.set_out_of_sync(range.value().sector, whole_sectors(range.value().size));
    return {};
}

Result<void> Volume::on_sync_uuid(const wire::Frame& frame) {
    auto uuid = wire::decode_sync_uuid(frame);
    if (!uuid)
        return uuid.error();
    if (uuid.value() == 0)
        return Error::of(ErrorCode::Protocol, "P_SYNC_UUID: the identifier is 0");
    early_sync_uuid_ = uuid.value();  // trap 32: it may be early
    try_to_become_target();
    return {};
}

Result<void> Volume::on_state(const wire::Frame& frame) {
    auto announced = wire::decode_state(frame);
    if (!announced)
        return announced.error();
    if (state_.connection <= ConnectionState::TearDown)
        return {};
    held_state_.reset();
    if (announced.value().disk == DiskState::Negotiating && is_connected() && generation_is_unstable()) {
        held_state_ = announced.value();
        return {};
    }
    return apply_peer_state(announced.value());
}

Result<void> Volume::go_on_without_peers_volume() {
    owner_.notices().warning(static_cast<int>(number_), "the peer has told nothing of volume %u: it goes on without a copy there, "
                             "until the peer has that volume, and has it open", number_);
    peer_.is_absent = true;
    State announced;
    announced.connection = ConnectionState::WFReportParams;
    announced.role = Role::Secondary;  // of another volume it may be Primary: no guest there has this one
    announced.disk = DiskState::Diskless;
    return apply_peer_state(announced);
}

// A disk that the peer attaches is compared with what is on the disk here: by the
// answer it would take a generation that only memory has for a stable one
// (decision 0018).
void Volume::compare_held_state() {
    if (!held_state_ || generation_is_unstable())
        return;
    const State announced = *held_state_;
    held_state_.reset();
    if (auto applied = apply_peer_state(announced); !applied)
        link().drop(applied.error());
}

DiskState Volume::real_peer_disk(const State& announced) const {
    return disk_meant(announced.disk, peer_.generations.inconsistent);
}

// Spec 4.5; the numbers are its steps.
Result<void> Volume::apply_peer_state(const State& announced) {
    const State before = state_;
    DiskState real = real_peer_disk(announced);
    // By the role that it has, and not by one that it was only granted, is judged who follows whom at the end.
    if (is_source(state_.connection) && announced.connection == ConnectionState::Connected) {
        State wanted = state_;
        wanted.peer = announced.role;
        change_state(ChangeKind::Hard, wanted, "the peer's state", 0);
    }
    const bool taken = announced.role == Role::Primary && std::exchange(peer_granted_, false);
    const bool target_was_done = target_is_done_;
    if (resync_is_finished_by(announced, real))  // 3
        return {};
    // Blocks that failed there follow this copy, or the other way round (decision 0024), and this end is not closed yet.
    if (target_was_done && is_source(state_.connection) &&
        (announced.connection == ConnectionState::WFBitMapS || announced.connection == ConnectionState::WFBitMapT)) {
        link().drop(ConnectionState::NetworkFailure,
                    "volume %u: the peer begins another resync before this node has closed the last one: the nodes meet anew",
                    number_);
        return {};
    }
    if (before.peer_disk >= DiskState::Inconsistent && before.peer_disk < DiskState::UpToDate &&
        real == DiskState::UpToDate && before.connection > ConnectionState::Connected &&
        before.disk == DiskState::UpToDate && announced.connection > ConnectionState::Connected &&
        announced.connection < ConnectionState::SyncSource)
        real = DiskState::Inconsistent;
    if (before.peer_disk == DiskState::UpToDate && real == DiskState::Inconsistent &&
        before.connection == ConnectionState::Connected && announced.connection > ConnectionState::SyncSource)
        real = DiskState::UpToDate;  // 5: an old message
    if (announced.connection == ConnectionState::Ahead)
        return Error::of(ErrorCode::Incompatible,
                         "volume %u: the peer went Ahead (on-congestion pull-ahead), which this node cannot follow: set "
                         "on-congestion to block there",
                         number_);
    const bool preparing = before.connection >= ConnectionState::WFBitMapS && before.connection <= ConnectionState::WFSyncUUID;
    if (preparing && decision_.direction != Direction::None &&
        goes_the_same_way(decision_.direction, announced.connection))
        return Error::of(ErrorCode::Incompatible, "volume %u: both nodes want to be the %s of the resync", number_,
                         decision_.direction == Direction::Source ? "source" : "target");

    State next = before;  // 6
    bool decided = false;
    if (next.connection == ConnectionState::WFReportParams)
        next.connection = ConnectionState::Connected;
    const bool negotiating = announced.disk == DiskState::Negotiating || before.disk == DiskState::Negotiating;
    const bool connected = before.connection == ConnectionState::Connected;
    // The peer decides by what this node tells now: by what is compared here, and not by what a rule will have made of it.
    if (before.connection >= ConnectionState::Connected &&
        (announced.disk == DiskState::Negotiating ||
         (before.peer_disk < DiskState::Inconsistent && real >= DiskState::Inconsistent)))
        send_uuids();
    if (peer_.has_generations && announced.disk >= DiskState::Negotiating && before.disk >= DiskState::Negotiating &&
        (before.connection < ConnectionState::Connected || (connected && (negotiating || consider_resync_)) ||
         (connected && announced.connection >= ConnectionState::StartingSyncS &&
          announced.connection <= ConnectionState::WFBitMapT))) {
        consider_resync_ = false;
        if (is_declaring_good()) {
            link().drop(ConnectionState::NetworkFailure,
                        "a forced promotion is being recorded: the peer's disk will be met after it");
            return {};
        }
        decision_ = decide(announced, real);
        decided = !decision_.refused();
        if (decided)
            next.connection = decision_.next_state();
        else if (auto refused = refuse_handshake(announced, real, next); !refused)
            return refused;
    }
    // A disk that came while the peer was in the handshake was compared there alone, with what this node told then.
    if (!decided && before.connection >= ConnectionState::Connected && before.peer_disk < DiskState::Inconsistent &&
        real >= DiskState::Inconsistent && before.disk > DiskState::Negotiating && peer_.has_generations &&
        !same_generation(disk_.uuids.current, peer_.generations.uuids.current)) {
        link().drop(ConnectionState::NetworkFailure,
                    "volume %u: the peer's disk is of another data generation than the one that was begun here meanwhile: "
                    "the nodes meet anew",
                    number_);
        return {};
    }
    // It was being given up, and had missed what was written here last; this disk is gone, too, and the guest would be served from that one.
    const bool serves_again = before.peer_disk <= DiskState::Failed && real == DiskState::UpToDate;
    if (serves_again && next.disk < DiskState::Negotiating && peer_.has_generations && guest_has_not_seen(peer_.generations.uuids))
        return unseen_by_guest(peer_.generations.uuids);
    next.peer = announced.role;  // 7
    next.peer_disk = real;
    next.paused_by_peer = announced.paused_after_dependency || announced.paused_by_user;
    if (before.disk == DiskState::Negotiating && next.disk == DiskState::Negotiating &&
        (decided || announced.disk < DiskState::Negotiating))
        next.disk = decided ? intended_disk_ : uncompared_disk();

    if (real <= DiskState::Failed && spare_this_copy())
        next.disk = DiskState::UpToDate;

    if (decided) {
        take_decision();
        peer_has_newer_ = false;  // what it has came into it
    }
    const bool establishes = before.connection < ConnectionState::Connected && next.connection >= ConnectionState::Connected;
    const StateVerdict verdict = change_state(establishes ? ChangeKind::Soft : ChangeKind::Hard, next,
                                              decided ? decision_.reason : "the peer's state", 0);  // 9
    if (!verdict.ok())
        return Error::of(ErrorCode::Incompatible, "volume %u: the peer's state is refused: %s", number_, verdict.reason);
    if (before.disk == DiskState::Negotiating && state_.disk == DiskState::Failed)
        give_up_disk();
    if (establishes) {
        if (real >= DiskState::Inconsistent)
            io_.want_generation(false);  // a loss makes one
        policy_.handshake_under_way = false;
        if (real > DiskState::Negotiating)
            disk_.generation_shared = false;  // what the peer has is known now
        owner_.on_handshake_over(number_);
        refresh_access();
    }
    // Over there the volume was opened anew, and knows nothing of this one yet (trap 21).
    const bool begins_anew = before.connection >= ConnectionState::Connected &&
                             announced.connection == ConnectionState::WFConnection;
    if (begins_anew)
        send_sizes(false);
    if (begins_anew ||
        (before.connection > ConnectionState::WFReportParams && next.connection > ConnectionState::Connected &&
         announced.connection <= ConnectionState::Connected && announced.disk != DiskState::Negotiating)) {  // 10
        send_uuids();
        send_state();
    }
    want_superblock();  // 11
    if (taken && state_.connection == ConnectionState::Connected && disk_.crashed_primary && is_ahead_in_blocks(Role::Secondary))
        resync_failed_blocks();
    return {};
}

HandshakeDecision Volume::decide(const State& announced, DiskState real) {
    const Link& link = this->link();
    const Connection& connection = owner_.connection();
    const DrbdNetConfig& config = connection.config();
    HandshakeInput input;
    input.self = {.uuids = disk_.uuids,
                  .bits_set = bits_told_,
                  .crashed_primary = disk_.crashed_primary,
                  .discard_my_data = connection.discard_my_data(),
                  .role = state_.role,
                  .disk = state_.disk == DiskState::Negotiating ? intended_disk_ : state_.disk};
    input.peer = {.uuids = peer_.generations.uuids,
                  .bits_set = peer_.generations.bits_set,
                  .crashed_primary = peer_.generations.crashed_primary,
                  .discard_my_data = peer_.generations.discard_my_data,
                  .role = announced.role,
                  .disk = real};
    input.self_negotiating = state_.disk == DiskState::Negotiating;
    input.peer_negotiating = announced.disk == DiskState::Negotiating;
    input.exposed_uuid = exposed_uuid_;
    input.resolve_conflicts = link.resolve_conflicts();
    input.agreed_version = link.agreement().version;
    input.has_write_same = link.agreement().features.has(wire::Feature::WriteSame);
    input.after_split_brain = {static_cast<AfterSplitBrain>(config.after_sb_0pri),
                               static_cast<AfterSplitBrain>(config.after_sb_1pri),
                               static_cast<AfterSplitBrain>(config.after_sb_2pri)};
    input.always_after_split_brain = config.always_asbp;
    input.role_conflict = static_cast<RoleConflict>(config.rr_conflict);
    input.dry_run = connection.peer_asks_dry_run();
    return decide_sync(input);
}

void Volume::take_decision() {
    disk_.uuids = decision_.self;
    peer_.generations.uuids = decision_.peer;
    if (decision_.amount == SyncAmount::Full && decision_.direction != Direction::None)
        disk_.bitmap.set_all_out_of_sync();
}

// Nobody follows anybody.  A disk that was being attached is given up again; two
// connected disks cannot stay together.
Result<void> Volume::refuse_handshake(const State& announced, DiskState& real, State& next) {
    Notices& notices = owner_.notices();
    const int volume = static_cast<int>(number_);
    if (decision_.refusal == Refusal::SplitBrain)
        notices.split_brain(volume, decision_.reason);
    next.connection = ConnectionState::Connected;
    // Where they meet, the peer's data may be none that the guest has seen: it does not go on there either.
    const bool goes_on_there = is_connected() || !guest_has_not_seen(peer_.generations.uuids);
    if (state_.disk == DiskState::Negotiating && goes_on_there) {
        notices.warning(volume, "the disk is given up again: %.200s", decision_.reason);
        next.disk = DiskState::Failed;
        return {};
    }
    if (announced.disk == DiskState::Negotiating) {
        notices.warning(volume, "the peer's disk is not taken: %.200s", decision_.reason);
        real = DiskState::Diskless;
        if (state_.disk == DiskState::Outdated && is_connected())
            send_state_of(state_);  // by what this disk is; it is without one again when it hears the next
        send_state();
        return {};
    }
    Error error = Error::of(ErrorCode::Incompatible, "volume %u: %s", number_, decision_.reason);
    return error;
}

}  // namespace drbd
