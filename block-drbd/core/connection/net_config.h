// SPDX-License-Identifier: GPL-2.0-or-later
// The options of drbd.conf's `net` section: defaults, ranges, and what the two
// nodes must have alike.  In: what the administrator gave, what the peer says in
// P_PROTOCOL.  Out: a complete configuration, packets, or an error that names
// the option and both values (design D10).
// Invariant: a DrbdNetConfig that came out of complete() has no zero that means
// "default", and its texts end.
#pragma once

#include "core/base/limits.h"
#include "core/base/result.h"
#include "core/wire/features.h"
#include "core/wire/values.h"
#include "drbd-core.h"

namespace drbd {

Result<DrbdNetConfig> complete(const DrbdNetConfig& given);

// What may not change under a connection: the name of the first option that
// differs, or null.
const char* first_fixed_difference(const DrbdNetConfig& a, const DrbdNetConfig& b);
bool same_policies(const DrbdNetConfig& a, const DrbdNetConfig& b);

wire::FeatureOffer offer_of(const DrbdNetConfig& config);
// What P_PROTOCOL says of us.
wire::ProtocolParameters parameters_of(const DrbdNetConfig& config, bool discard_my_data);
// The peer's view of itself in our terms: discard-local and discard-remote
// are swapped (spec 3.2).
wire::ProtocolParameters seen_from_here(wire::ProtocolParameters peer);
// Incompatible, with the first difference; `peer` is already seen from here.
Result<void> compare(const wire::ProtocolParameters& own, const wire::ProtocolParameters& peer);
// A P_PROTOCOL_UPDATE of the peer: its protocol and policies are ours now.
void adopt(DrbdNetConfig& config, const wire::ProtocolParameters& peer);

}  // namespace drbd
