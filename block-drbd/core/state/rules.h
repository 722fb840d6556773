// SPDX-License-Identifier: GPL-2.0-or-later
// What states are legal and which changes are (spec sections 5.1 to 5.4).
// In: an old state, a wanted one, the policies that matter.  Out: the state
// that results, or the code and sentence of the rule that forbids it.  Pure
// functions over tables, one row a rule; tests walk every row.
#pragma once

#include <cstdint>

#include "core/state/state.h"

namespace drbd {

enum class Fencing : uint8_t { DontCare, ResourceOnly, ResourceAndStonith };

struct StatePolicy {
    bool allow_two_primaries = false;
    bool has_verify_alg = false;
    bool suspend_on_no_data = false;
    Fencing fencing = Fencing::DontCare;
    unsigned agreed_version = 101;
    bool handshake_under_way = false;  // "state sent" marker of spec 4.1
};

// DRBD's codes (spec 5.1); >= 1 is success on the wire.
enum class StateCode : int8_t {
    NothingToDo = 2, Success = 1, TwoPrimaries = -1, NoUpToDateDisk = -2, NoLocalDisk = -4,
    NoRemoteDisk = -5, ConnectedOutdates = -6, PrimaryNop = -7, ResyncRunning = -8,
    AlreadyStandAlone = -9, FailedByPeer = -10, IsDiskless = -11, DeviceInUse = -12, NoNetConfig = -13,
    NoVerifyAlg = -14, NeedConnection = -15, LowerThanOutdated = -16, NotSupported = -17,
    InTransientState = -18, ConcurrentChange = -19, OtherVolumePeerPrimary = -20,
    OutdateWithoutConnection = -21,
};

// A sentence for a code that the peer has sent, which may be any number.
const char* text_of(StateCode code);

struct StateVerdict {
    StateCode code = StateCode::Success;
    const char* reason = nullptr;  // a sentence for people; null on success
    bool ok() const { return static_cast<int>(code) >= 1; }
};

// Makes a wanted state consistent: what follows from what (spec 5.4).
State sanitize(const State& old_state, State wanted, const StatePolicy& policy);

StateVerdict valid_state(const State& state, const StatePolicy& policy);                          // 5.2
StateVerdict valid_transition(const State& old_state, const State& wanted);                       // 5.3, always
StateVerdict valid_soft_transition(const State& old_state, const State& wanted, const StatePolicy&);  // 5.3, by request

// Soft: somebody asks for it and may be refused.  Hard: the environment
// imposes it, only impossible transitions are refused.
enum class ChangeKind { Soft, Hard };

// The whole procedure of spec 5.1.  `result` is written on success only.
StateVerdict decide_change(const State& old_state, const State& wanted, ChangeKind kind,
                           const StatePolicy& policy, State& result);

}  // namespace drbd
