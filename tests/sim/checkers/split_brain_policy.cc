// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of split_brain_policy.h.
#include "checkers/split_brain_policy.h"

#include <algorithm>

namespace drbd::sim {

namespace {

constexpr uint64_t kJustCreated = 4;
constexpr uint32_t kDiscardsMyData = 1;  // P_UUIDS

enum class Yields { Nobody, Own, Peer };

uint64_t plain(uint64_t uuid) { return uuid & ~uint64_t{1}; }
bool was_primary(const TappedGenerations& g) { return g.bitmap & 1; }

// Neither's generation is in the other's past, and they have a past in common.
bool is_split(const TappedGenerations& a, const TappedGenerations& b, bool also_without_base) {
    const uint64_t own = plain(a.current), peers = plain(b.current);
    if (own == peers)
        return false;
    for (const uint64_t current : {own, peers})
        if (current == 0 || current == kJustCreated)
            return false;
    for (const uint64_t past : {b.bitmap, b.history[0], b.history[1]})
        if (plain(past) == own)
            return false;
    for (const uint64_t past : {a.bitmap, a.history[0], a.history[1]})
        if (plain(past) == peers)
            return false;
    if (plain(a.bitmap) != 0 && plain(a.bitmap) == plain(b.bitmap))
        return true;
    bool common = false;
    for (const uint64_t own_past : a.history)
        for (const uint64_t peers_past : b.history)
            common |= plain(own_past) == plain(peers_past);
    return also_without_base && common;
}

Yields by_changes(const SplitBrainCase& c, bool also_where_both_have_some) {
    const uint64_t own = c.own.told.bits, peers = c.peer.told.bits;
    if (own != 0 && peers != 0 && !also_where_both_have_some)
        return Yields::Nobody;
    if (own == peers)
        return c.accepted_meta ? Yields::Own : Yields::Peer;
    return own < peers ? Yields::Own : Yields::Peer;
}

// after-sb-0pri, by the numbers of the wire.
Yields without_primary(uint32_t policy, const SplitBrainCase& c) {
    const bool own = was_primary(c.own.told), peers = was_primary(c.peer.told);
    switch (policy) {
    case 1:  // discard-younger-primary: who became Primary when the other was
        return own == peers ? by_changes(c, true) : own ? Yields::Peer : Yields::Own;
    case 2:  // discard-older-primary
        return own == peers ? by_changes(c, true) : own ? Yields::Own : Yields::Peer;
    case 3: return by_changes(c, false);  // discard-zero-changes
    case 4: return by_changes(c, true);   // discard-least-changes
    case 5: return Yields::Own;           // discard-local
    case 6: return Yields::Peer;          // discard-remote
    default: return Yields::Nobody;
    }
}

// after-sb-1pri and after-sb-2pri; `as_0p` is what the one without a Primary says.
Yields with_primary(uint32_t policy, Yields as_0p, const SplitBrainCase& c) {
    const bool yielding_is_primary = as_0p == Yields::Own ? c.own.is_primary : c.peer.is_primary;
    switch (policy) {
    case 7:  // consensus
    case 9:  // call-pri-lost-after-sb: a Primary is in use here, and cannot be demoted
        return yielding_is_primary ? Yields::Nobody : as_0p;
    case 8: return c.own.is_primary ? Yields::Peer : Yields::Own;  // discard-secondary
    case 10: return as_0p;                                         // violently-as0p
    default: return Yields::Nobody;
    }
}

Yields who_yields(const TappedParameters& policies, const SplitBrainCase& c) {
    const Yields as_0p = without_primary(policies.after_sb[0], c);
    const unsigned primaries = c.own.is_primary + c.peer.is_primary;
    return primaries == 0 ? as_0p : with_primary(policies.after_sb[primaries], as_0p, c);
}

SplitBrainJudgement judge(const SplitBrainCase& c) {
    SplitBrainJudgement judgement;
    if (!c.own.told.known || !c.peer.told.known || c.own.is_inconsistent || !is_split(c.own.told, c.peer.told, true))
        return judgement;
    judgement.is_split = true;
    const bool applies = is_split(c.own.told, c.peer.told, c.always_asbp);
    bool peer_named = false, nobody_named = !applies;
    for (const TappedParameters& policies : c.parameters) {
        const Yields yields = applies ? who_yields(policies, c) : Yields::Nobody;
        judgement.policy_names_own |= yields == Yields::Own;
        peer_named |= yields == Yields::Peer;
        nobody_named |= yields == Yields::Nobody;
    }
    const bool discards = (c.own.told.flags & kDiscardsMyData) && !(c.peer.told.flags & kDiscardsMyData);
    if (judgement.policy_names_own || (nobody_named && discards))
        return judgement;
    std::string facts;
    for (const SplitBrainSide* side : {&c.own, &c.peer})
        facts += std::string(facts.empty() ? "" : ", the peer ") + (side->is_primary ? "Primary" : "Secondary") + " with " +
                 std::to_string(side->told.bits) + " changed blocks, at the split " + (was_primary(side->told) ? "Primary" : "Secondary");
    std::string names;
    for (const TappedParameters& p : c.parameters)
        names += " " + std::to_string(p.after_sb[0]) + "/" + std::to_string(p.after_sb[1]) + "/" + std::to_string(p.after_sb[2]);
    judgement.complaint = std::string("becomes target after a split brain, but the policies") + names + " name " +
                          (peer_named ? "the other" : "nobody, and nobody has said that its data may go") + ": it is " + facts +
                          (c.accepted_meta ? "; it accepted meta" : "");
    return judgement;
}

}  // namespace

// What a node decides by may be told a moment after that.
SplitBrainJudgement judge_target(const SplitBrainCase& facts) {
    const SplitBrainJudgement first = judge(facts);
    if (first.policy_names_own || !facts.told_later.known)
        return first;
    SplitBrainCase turned = facts;
    turned.own.told = facts.told_later;
    const SplitBrainJudgement second = judge(turned);
    return second.is_split && (second.policy_names_own || !first.is_split) ? second : first;
}

}  // namespace drbd::sim
