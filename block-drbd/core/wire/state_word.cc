// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/wire/state_word.h"

namespace drbd::wire {

namespace {

// One row a field: where it is, and how many values it has.
struct Field {
    const char* name;
    unsigned shift;
    unsigned width;
    uint32_t values;

    constexpr uint32_t mask() const { return ((1u << width) - 1) << shift; }
    constexpr uint32_t get(uint32_t word) const { return (word & mask()) >> shift; }
    constexpr uint32_t put(uint32_t value) const { return value << shift; }
};

constexpr Field kRole{"role", 0, 2, 3};
constexpr Field kPeer{"peer role", 2, 2, 3};
constexpr Field kConnection{"connection", 4, 5, kConnectionStates};
constexpr Field kDisk{"disk", 9, 4, kDiskStates};
constexpr Field kPeerDisk{"peer disk", 13, 4, kDiskStates};
constexpr Field kSuspended{"suspended", 17, 1, 2};
constexpr Field kPausedAfter{"paused after dependency", 18, 1, 2};
constexpr Field kPausedByPeer{"paused by peer", 19, 1, 2};
constexpr Field kPausedByUser{"paused by user", 20, 1, 2};
constexpr Field kSuspendedNoData{"suspended, no data", 21, 1, 2};
constexpr Field kSuspendedFencing{"suspended, fencing", 22, 1, 2};
constexpr Field kFields[] = {kRole,         kPeer,         kConnection,      kDisk,
                             kPeerDisk,     kSuspended,    kPausedAfter,     kPausedByPeer,
                             kPausedByUser, kSuspendedNoData, kSuspendedFencing};
constexpr uint32_t kFieldsMask = 0x007fffff;

template <typename T>
void add(StateChangeWords& words, const Field& field, const std::optional<T>& value) {
    if (!value)
        return;
    words.mask |= field.mask();
    words.value |= field.put(static_cast<uint32_t>(*value));
}

template <typename T>
void take(StateChangeWords words, const Field& field, std::optional<T>& value) {
    if (words.mask & field.mask())
        value = static_cast<T>(field.get(words.value));
}

}  // namespace

uint32_t word_of(const State& state) {
    return kRole.put(static_cast<uint32_t>(state.role)) | kPeer.put(static_cast<uint32_t>(state.peer)) |
           kConnection.put(static_cast<uint32_t>(state.connection)) |
           kDisk.put(static_cast<uint32_t>(state.disk)) |
           kPeerDisk.put(static_cast<uint32_t>(state.peer_disk)) | kSuspended.put(state.suspended) |
           kPausedAfter.put(state.paused_after_dependency) | kPausedByPeer.put(state.paused_by_peer) |
           kPausedByUser.put(state.paused_by_user) | kSuspendedNoData.put(state.suspended_no_data) |
           kSuspendedFencing.put(state.suspended_fencing);
}

Result<State> state_of_word(uint32_t word) {
    for (const Field& field : kFields)
        if (field.get(word) >= field.values)
            return Error::of(ErrorCode::Protocol, "state 0x%08x: %s is %u, which is no state", word,
                             field.name, field.get(word));
    State state;
    state.role = static_cast<Role>(kRole.get(word));
    state.peer = static_cast<Role>(kPeer.get(word));
    state.connection = static_cast<ConnectionState>(kConnection.get(word));
    state.disk = static_cast<DiskState>(kDisk.get(word));
    state.peer_disk = static_cast<DiskState>(kPeerDisk.get(word));
    state.suspended = kSuspended.get(word);
    state.paused_after_dependency = kPausedAfter.get(word);
    state.paused_by_peer = kPausedByPeer.get(word);
    state.paused_by_user = kPausedByUser.get(word);
    state.suspended_no_data = kSuspendedNoData.get(word);
    state.suspended_fencing = kSuspendedFencing.get(word);
    return state;
}

StateChangeWords words_of(const StateChange& change) {
    StateChangeWords words;
    add(words, kRole, change.role);
    add(words, kPeer, change.peer);
    add(words, kConnection, change.connection);
    add(words, kDisk, change.disk);
    add(words, kPeerDisk, change.peer_disk);
    add(words, kSuspended, change.suspended);
    add(words, kPausedAfter, change.paused_after_dependency);
    add(words, kPausedByPeer, change.paused_by_peer);
    add(words, kPausedByUser, change.paused_by_user);
    add(words, kSuspendedNoData, change.suspended_no_data);
    add(words, kSuspendedFencing, change.suspended_fencing);
    return words;
}

Result<StateChange> state_change_of_words(StateChangeWords words) {
    if (words.mask & ~kFieldsMask)
        return Error::of(ErrorCode::Protocol, "state change: mask 0x%08x has unknown fields", words.mask);
    if (words.value & ~words.mask)
        return Error::of(ErrorCode::Protocol, "state change: value 0x%08x lies outside of mask 0x%08x",
                         words.value, words.mask);
    for (const Field& field : kFields) {
        const uint32_t asked = words.mask & field.mask();
        if (asked != 0 && asked != field.mask())
            return Error::of(ErrorCode::Protocol, "state change: mask 0x%08x has a part of %s", words.mask,
                             field.name);
        if (asked != 0 && field.get(words.value) >= field.values)
            return Error::of(ErrorCode::Protocol, "state change: %s is %u, which is no state", field.name,
                             field.get(words.value));
    }
    StateChange change;
    take(words, kRole, change.role);
    take(words, kPeer, change.peer);
    take(words, kConnection, change.connection);
    take(words, kDisk, change.disk);
    take(words, kPeerDisk, change.peer_disk);
    take(words, kSuspended, change.suspended);
    take(words, kPausedAfter, change.paused_after_dependency);
    take(words, kPausedByPeer, change.paused_by_peer);
    take(words, kPausedByUser, change.paused_by_user);
    take(words, kSuspendedNoData, change.suspended_no_data);
    take(words, kSuspendedFencing, change.suspended_fencing);
    return change;
}

}  // namespace drbd::wire
