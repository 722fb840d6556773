// SPDX-License-Identifier: GPL-2.0-or-later
// The decision when two disks meet: its steps one by one, and that two nodes
// never decide for the same direction, whatever they are told.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/generation/sync_handshake.h"

namespace drbd {
namespace {

using enum DiskState;

constexpr uint64_t kA = 0x1000'0000'0000'0a00;
constexpr uint64_t kB = 0x2000'0000'0000'0b00;
constexpr uint64_t kC = 0x3000'0000'0000'0c00;
constexpr uint64_t kD = 0x4000'0000'0000'0d00;

Uuids uuids(uint64_t current, uint64_t bitmap = 0, uint64_t young = 0, uint64_t old = 0) {
    return {.current = current, .bitmap = bitmap, .history = {young, old}};
}

HandshakeInput input(Uuids self, Uuids peer) {
    HandshakeInput in;
    in.self = {.uuids = self, .disk = UpToDate};
    in.peer = {.uuids = peer, .disk = UpToDate};
    return in;
}

HandshakeInput as_peer_sees(const HandshakeInput& in) {
    HandshakeInput result = in;
    result.self = in.peer;
    result.peer = in.self;
    result.self_negotiating = false;
    result.resolve_conflicts = !in.resolve_conflicts;
    result.after_split_brain = {mirrored(in.after_split_brain.no_primary),
                                mirrored(in.after_split_brain.one_primary),
                                mirrored(in.after_split_brain.two_primaries)};
    return result;
}

const Uuids kBehind = uuids(kA), kAhead = uuids(kB, kA);         // rules 50, 70: by bitmap
const Uuids kFarBehind = uuids(kA), kFarAhead = uuids(kB, kC, kA);  // rules 60, 80: full
const Uuids kSplit1 = uuids(kB, kA | 1), kSplit2 = uuids(kC, kA);   // rule 90
const Uuids kApart1 = uuids(kB, kA, kD), kApart2 = uuids(kC, kB + 2, kD);  // rule 100

std::vector<Handler> handlers(const HandshakeDecision& d) {
    return {d.handlers().begin(), d.handlers().end()};
}

using Handlers = std::vector<Handler>;

bool names(const HandshakeDecision& d, const char* text) {
    return std::string(d.reason).find(text) != std::string::npos;
}

TEST(SyncHandshake, TheVerdictBecomesTheNextState) {
    const HandshakeDecision target = decide_sync(input(kBehind, kAhead));
    EXPECT_EQ(target.next_state(), ConnectionState::WFBitMapT);
    EXPECT_EQ(target.amount, SyncAmount::Bitmap);
    const HandshakeDecision source = decide_sync(input(kFarAhead, kFarBehind));
    EXPECT_EQ(source.next_state(), ConnectionState::WFBitMapS);
    EXPECT_EQ(source.amount, SyncAmount::Full);
    EXPECT_TRUE(names(source, "rule 80")) << source.reason;
    const HandshakeDecision none = decide_sync(input(kBehind, kBehind));
    EXPECT_EQ(none.next_state(), ConnectionState::Connected);
    EXPECT_TRUE(handlers(none).empty());
}

TEST(SyncHandshake, RepairedIdentifiersAreHandedBack) {
    const HandshakeDecision d = decide_sync(input(uuids(kA, kB, kC, kD), uuids(kA, 0, kB, kC)));
    EXPECT_EQ(d.direction, Direction::Source);
    EXPECT_EQ(d.self, uuids(kA, 0, kB, kC));
    EXPECT_EQ(d.peer, uuids(kA, 0, kB, kC));
}

TEST(SyncHandshake, OneInconsistentDiskDecides) {
    HandshakeInput in = input(kFarAhead, kFarBehind);
    in.self.disk = Inconsistent;
    HandshakeDecision d = decide_sync(in);
    EXPECT_EQ(d.direction, Direction::Target) << "although the identifiers say source";
    EXPECT_EQ(d.amount, SyncAmount::Full);
    in = input(kSplit1, kSplit2);
    in.peer.disk = Inconsistent;
    d = decide_sync(in);
    EXPECT_EQ(d.direction, Direction::Source);
    EXPECT_EQ(d.amount, SyncAmount::Bitmap);
    EXPECT_TRUE(handlers(d).empty()) << "no split brain to report";
    in = input(kApart1, kApart2);
    in.peer.disk = Inconsistent;
    EXPECT_EQ(decide_sync(in).amount, SyncAmount::Full);
    in = input(kBehind, kBehind);
    in.self.disk = Inconsistent;
    in.peer.disk = Outdated;
    EXPECT_EQ(decide_sync(in).direction, Direction::Target);
    in.peer.disk = Inconsistent;
    EXPECT_EQ(decide_sync(in).direction, Direction::None);
}

TEST(SyncHandshake, ADiskBeingAttachedCountsAsWhatItWillBe) {
    EXPECT_EQ(disk_meant(Negotiating, true), Inconsistent);
    EXPECT_EQ(disk_meant(Negotiating, false), Consistent);
    EXPECT_EQ(disk_meant(Outdated, true), Outdated);
}

TEST(SyncHandshake, UnrelatedDisksAreRefusedEvenIfOneIsInconsistent) {
    HandshakeInput in = input(uuids(kA, 0, kB, kB), uuids(kC, 0, kD, kD));
    in.self.disk = Inconsistent;
    const HandshakeDecision d = decide_sync(in);
    EXPECT_EQ(d.refusal, Refusal::Unrelated);
    EXPECT_TRUE(names(d, "1000000000000A00") && names(d, "3000000000000C00") && names(d, "metadata anew"))
        << d.reason;
}

TEST(SyncHandshake, AnOldPeerIsRefusedWhereTheRuleNeedsMore) {
    HandshakeInput in = input(uuids(kA, kB), uuids(kA));
    in.agreed_version = 90;
    HandshakeDecision d = decide_sync(in);
    EXPECT_EQ(d.refusal, Refusal::NeedsNewerPeer);
    EXPECT_TRUE(names(d, "protocol 91") && names(d, "90 is agreed")) << d.reason;
    EXPECT_TRUE(names(d, "metadata anew")) << "to invalidate a node would not help: " << d.reason;
    in.self.disk = Inconsistent;
    EXPECT_EQ(decide_sync(in).refusal, Refusal::NeedsNewerPeer);
    in.self.disk = UpToDate;
    in = input(kBehind, kBehind);
    in.self.crashed_primary = true;
    in.peer.role = Role::Primary;
    in.has_write_same = false;
    d = decide_sync(in);
    EXPECT_EQ(d.refusal, Refusal::NeedsNewerPeer);
    EXPECT_TRUE(names(d, "WSAME")) << d.reason;
}

TEST(SyncHandshake, SplitBrainIsRefusedAndReported) {
    for (const HandshakeInput& in : {input(kSplit1, kSplit2), input(kApart1, kApart2)}) {
        const HandshakeDecision d = decide_sync(in);
        EXPECT_EQ(d.refusal, Refusal::SplitBrain);
        EXPECT_EQ(handlers(d), (Handlers{Handler::InitialSplitBrain, Handler::SplitBrain}));
        EXPECT_TRUE(names(d, "2000000000000B00") && names(d, "3000000000000C00")) << d.reason;
        EXPECT_TRUE(names(d, "discard-my-data")) << d.reason;
        EXPECT_EQ(d.self, in.self.uuids);
    }
}

TEST(SyncHandshake, DiscardMyDataSettlesWhatNoPolicyDid) {
    HandshakeInput in = input(kSplit1, kSplit2);
    in.self.discard_my_data = true;
    HandshakeDecision d = decide_sync(in);
    EXPECT_EQ(d.direction, Direction::Target);
    EXPECT_EQ(d.amount, SyncAmount::Bitmap);
    EXPECT_EQ(handlers(d), Handlers{Handler::InitialSplitBrain});
    in.peer.discard_my_data = true;
    EXPECT_EQ(decide_sync(in).refusal, Refusal::SplitBrain) << "both: undecided";
    in.self.discard_my_data = false;
    EXPECT_EQ(decide_sync(in).direction, Direction::Source);
    in.after_split_brain.no_primary = AfterSplitBrain::DiscardLocal;
    EXPECT_EQ(decide_sync(in).direction, Direction::Target) << "a policy that decides goes first";
}

// Its guest lives on the other node's disk: no policy may give that up (decision 0025).
TEST(SyncHandshake, NoPolicyDecidesForADiskThatComesToAPrimary) {
    for (const AfterSplitBrain policy : {AfterSplitBrain::DiscardSecondary, AfterSplitBrain::ViolentlyAs0p}) {
        HandshakeInput in = input(kSplit1, kSplit2);
        in.after_split_brain = {AfterSplitBrain::DiscardRemote, policy, AfterSplitBrain::Disconnect};
        in.self.role = Role::Primary;
        EXPECT_EQ(decide_sync(in).direction, Direction::Source);
        in.self_negotiating = true;
        EXPECT_EQ(decide_sync(in).refusal, Refusal::SplitBrain);
        std::swap(in.self, in.peer);
        std::swap(in.self_negotiating, in.peer_negotiating);
        EXPECT_EQ(decide_sync(in).refusal, Refusal::SplitBrain) << "both nodes see it so";
        in.peer.role = Role::Secondary;
        in.after_split_brain.no_primary = AfterSplitBrain::DiscardRemote;
        EXPECT_EQ(decide_sync(in).direction, Direction::Source) << "without a guest the policies hold";
    }
}

TEST(SyncHandshake, ADiskThatTheGuestHasNotSeenIsNoSourceUnderIt) {
    HandshakeInput in = input(kBehind, kAhead);
    in.peer.disk = DiskState::Inconsistent;
    in.self_negotiating = true;
    in.exposed_uuid = in.peer.uuids.current;
    EXPECT_EQ(decide_sync(in).direction, Direction::Source) << "nobody is Primary";
    in.self.role = Role::Primary;
    EXPECT_EQ(decide_sync(in).refusal, Refusal::SourceUnknownToGuest);
    in.exposed_uuid = in.self.uuids.current ^ 1;
    EXPECT_EQ(decide_sync(in).direction, Direction::Source) << "bit 0 is the role";
    in.exposed_uuid = 0;
    EXPECT_EQ(decide_sync(in).direction, Direction::Source) << "the guest has seen nothing yet";
    in.exposed_uuid = in.peer.uuids.current;
    in.peer.disk = DiskState::UpToDate;
    EXPECT_EQ(decide_sync(in).direction, Direction::Target) << "and it may follow what the guest has seen";
}

// What the peer began for the guest is not always heard of: the disk's own state says enough.
TEST(SyncHandshake, AnOldDiskIsNoSourceUnderARunningGuest) {
    for (const bool negotiating : {false, true}) {
        HandshakeInput in = input(kBehind, kAhead);
        in.peer.disk = DiskState::Inconsistent;
        in.self.role = Role::Primary;
        in.self_negotiating = negotiating;
        in.exposed_uuid = in.self.uuids.current;
        EXPECT_EQ(decide_sync(in).direction, Direction::Source);
        in.self.disk = DiskState::Outdated;
        EXPECT_EQ(decide_sync(in).refusal, Refusal::SourceUnknownToGuest);
        EXPECT_NE(std::string(decide_sync(in).reason).find("Outdated"), std::string::npos);
        in.self.role = Role::Secondary;
        EXPECT_EQ(decide_sync(in).direction, Direction::Source) << "without a guest it may";
        in.self.role = Role::Primary;
        in.peer.uuids.current = in.self.uuids.current;
        EXPECT_EQ(decide_sync(in).direction, Direction::Source) << "a peer in the same generation has begun nothing";
    }
}

TEST(SyncHandshake, DiscardMyDataMeansNothingWithoutSplitBrain) {
    HandshakeInput in = input(kAhead, kBehind);
    in.self.discard_my_data = true;
    EXPECT_EQ(decide_sync(in).direction, Direction::Source);
}

// Stricter than the kernel: without a common base no bitmap is believed.
TEST(SyncHandshake, DoubtfulBitmapsMeanAFullResync) {
    HandshakeInput in = input(kApart1, kApart2);
    in.self.discard_my_data = true;
    HandshakeDecision d = decide_sync(in);
    EXPECT_EQ(d.direction, Direction::Target);
    EXPECT_EQ(d.amount, SyncAmount::Full);
    in = input(uuids(kA, metafmt::kUuidJustCreated), uuids(kB, metafmt::kUuidJustCreated));
    in.peer.discard_my_data = true;
    d = decide_sync(in);
    EXPECT_EQ(d.rule->number, 90u);
    EXPECT_EQ(d.direction, Direction::Source);
    EXPECT_EQ(d.amount, SyncAmount::Full) << "just created is no base";
}

TEST(SyncHandshake, PoliciesSolveRule100OnlyWithAlwaysAsbp) {
    HandshakeInput in = input(kApart1, kApart2);
    in.after_split_brain.no_primary = AfterSplitBrain::DiscardRemote;
    EXPECT_EQ(decide_sync(in).refusal, Refusal::SplitBrain);
    in.always_after_split_brain = true;
    const HandshakeDecision d = decide_sync(in);
    EXPECT_EQ(d.direction, Direction::Source);
    EXPECT_EQ(d.amount, SyncAmount::Full);
}

TEST(SyncHandshake, AnInconsistentSourceIsRefused) {
    HandshakeInput in = input(kAhead, kBehind);
    in.self.disk = in.peer.disk = Inconsistent;
    const HandshakeDecision d = decide_sync(in);
    EXPECT_EQ(d.refusal, Refusal::SourceInconsistent);
    EXPECT_TRUE(names(d, "force")) << d.reason;
}

TEST(SyncHandshake, ARoleConflictIsDecidedByItsPolicy) {
    HandshakeInput in = input(kBehind, kAhead);
    in.self.role = Role::Primary;
    HandshakeDecision d = decide_sync(in);
    EXPECT_EQ(d.refusal, Refusal::TargetIsPrimary);
    EXPECT_TRUE(handlers(d).empty());
    in.role_conflict = RoleConflict::CallPriLost;
    d = decide_sync(in);
    EXPECT_EQ(d.refusal, Refusal::TargetIsPrimary);
    EXPECT_EQ(handlers(d), Handlers{Handler::PriLost});
    in.role_conflict = RoleConflict::Violently;
    EXPECT_EQ(decide_sync(in).direction, Direction::Target);
    in.role_conflict = RoleConflict::Disconnect;
    in.self_negotiating = true;  // a diskless Primary attaches: its guest reads from the peer
    EXPECT_EQ(decide_sync(in).direction, Direction::Target);
    in.self_negotiating = false;
    in.self.disk = Outdated;
    EXPECT_EQ(decide_sync(in).direction, Direction::Target);
    in.self.disk = Consistent;
    EXPECT_EQ(decide_sync(in).refusal, Refusal::TargetIsPrimary);
}

TEST(SyncHandshake, PoliciesAreToldWhatBothNodesKnow) {
    HandshakeInput in = input(uuids(kB, kA | 1), uuids(kC | 1, kA));
    in.after_split_brain.no_primary = AfterSplitBrain::DiscardYoungerPrimary;
    EXPECT_EQ(decide_sync(in).direction, Direction::Source) << "bit 0 of the bitmap identifier, not of current";
    EXPECT_EQ(decide_sync(as_peer_sees(in)).direction, Direction::Target);
    in.after_split_brain.no_primary = AfterSplitBrain::DiscardLeastChanges;
    in.self.bits_set = 1;
    in.peer.bits_set = 2;
    EXPECT_EQ(decide_sync(in).direction, Direction::Target);
    in.peer.bits_set = 1;
    in.resolve_conflicts = true;
    EXPECT_EQ(decide_sync(in).direction, Direction::Target);
    in.resolve_conflicts = false;
    EXPECT_EQ(decide_sync(in).direction, Direction::Source);
}

TEST(SyncHandshake, APrimaryThatYieldsIsDemotedAndNoRoleConflict) {
    HandshakeInput in = input(kSplit1, kSplit2);
    in.self.role = Role::Primary;
    in.after_split_brain = {AfterSplitBrain::DiscardLocal, AfterSplitBrain::CallPriLost, {}};
    in.may_demote = true;
    HandshakeDecision d = decide_sync(in);
    EXPECT_EQ(d.direction, Direction::Target);
    EXPECT_TRUE(d.demote_self);
    in.dry_run = true;
    EXPECT_FALSE(decide_sync(in).demote_self) << "a dry run changes nothing";
    in.dry_run = false;
    in.may_demote = false;
    d = decide_sync(in);
    EXPECT_EQ(d.refusal, Refusal::SplitBrain);
    EXPECT_EQ(handlers(d),
              (Handlers{Handler::InitialSplitBrain, Handler::PriLostAfterSplitBrain, Handler::SplitBrain}));
}

// The peer has taken the policy's word and is the source.  Were its
// discard-my-data asked next, this node would be a source too.
TEST(SyncHandshake, APrimaryThatShouldYieldAndCannotAsksNothingElse) {
    HandshakeInput in = input(kSplit1, kSplit2);
    in.self.role = Role::Primary;
    in.peer.discard_my_data = true;
    in.after_split_brain = {AfterSplitBrain::DiscardLocal, AfterSplitBrain::CallPriLost, {}};
    EXPECT_EQ(decide_sync(in).refusal, Refusal::SplitBrain);
    EXPECT_EQ(decide_sync(as_peer_sees(in)).direction, Direction::Source);
}

TEST(SyncHandshake, ADryRunSaysWhatWouldHappen) {
    HandshakeInput in = input(kFarBehind, kFarAhead);
    in.dry_run = true;
    const HandshakeDecision d = decide_sync(in);
    EXPECT_EQ(d.refusal, Refusal::DryRun);
    EXPECT_EQ(d.direction, Direction::None);
    EXPECT_TRUE(names(d, "this node is the target, full") && names(d, "rule 60")) << d.reason;
}

TEST(SyncHandshake, CrossedGenerationsAreRefusedOnBothNodes) {
    const HandshakeInput crossed[] = {
        input(uuids(kA, kB), uuids(kB, kA)),              // 50 and 50
        input(uuids(kA, kC, kB), uuids(kB, kD, kA)),      // 60 and 60
        input(uuids(kA, kB), uuids(kB, kC, kA)),          // 60 and 50
        input(uuids(kA, kA + kSyncUuidOffset, kB), uuids(kB, kA + kSyncUuidOffset, kA)),  // 51 and 60
        input(uuids(0), uuids(1)),                        // 20 twice: no generation at all
    };
    for (const HandshakeInput& one : crossed)
        for (const HandshakeInput& in : {one, as_peer_sees(one)}) {
            const HandshakeDecision d = decide_sync(in);
            EXPECT_EQ(d.refusal, Refusal::Crossed);
            EXPECT_TRUE(names(d, "both nodes would become the target") && names(d, "invalidate")) << d.reason;
        }
    HandshakeInput in = crossed[0];
    in.peer.disk = Inconsistent;  // the way out: one was invalidated
    EXPECT_EQ(decide_sync(in).direction, Direction::Source);
}

TEST(SyncHandshake, APeerThatAnnouncesTheSameWayIsRefused) {
    using enum ConnectionState;
    const HandshakeInput in = input(kBehind, kAhead);
    const HandshakeDecision target = decide_sync(in);
    for (unsigned number = 0; number < kConnectionStates; number++) {
        const auto state = static_cast<ConnectionState>(number);
        const bool source = state == StartingSyncS || state == WFBitMapS || state == SyncSource ||
                            state == PausedSyncS || state == Ahead;
        const bool is_target = state == StartingSyncT || state == WFBitMapT || state == WFSyncUUID ||
                               state == SyncTarget || state == PausedSyncT || state == Behind;
        EXPECT_EQ(goes_the_same_way(Direction::Source, state), source) << name_of(state);
        EXPECT_EQ(goes_the_same_way(Direction::Target, state), is_target) << name_of(state);
        EXPECT_FALSE(goes_the_same_way(Direction::None, state));
        if (!is_target)
            continue;
        const HandshakeDecision d = refuse_same_way(in, target, state);
        EXPECT_EQ(d.refusal, Refusal::Crossed);
        EXPECT_EQ(d.direction, Direction::None);
        EXPECT_TRUE(names(d, name_of(state)) && names(d, "1000000000000A00") && names(d, "2000000000000B00"))
            << d.reason;
    }
}

TEST(SyncHandshake, HandlersHaveTheNamesThatAdministratorsConfigure) {
    EXPECT_STREQ(name_of(Handler::InitialSplitBrain), "initial-split-brain");
    EXPECT_STREQ(name_of(Handler::SplitBrain), "split-brain");
    EXPECT_STREQ(name_of(Handler::PriLost), "pri-lost");
    EXPECT_STREQ(name_of(Handler::PriLostAfterSplitBrain), "pri-lost-after-sb");
}

// Both decisions together: opposite directions of the same amount, or nobody
// resyncs.  One node may refuse alone where its own disk or role forbids it;
// the other one then loses the connection.
void check_pair(const HandshakeInput& in, const HandshakeDecision& a, const HandshakeDecision& b) {
    for (const HandshakeDecision* d : {&a, &b}) {
        ASSERT_LT(std::string(d->reason).size(), HandshakeDecision::kReasonSize - 1) << "cut: " << d->reason;
        ASSERT_FALSE(std::string(d->reason).empty());
        if (d->refused()) {
            ASSERT_EQ(d->direction, Direction::None);
            ASSERT_FALSE(d->demote_self);
        }
    }
    if (!a.refused() && !b.refused()) {
        ASSERT_EQ(a.direction, mirrored(b.direction)) << a.reason << " / " << b.reason;
        ASSERT_EQ(a.amount, b.amount);
        ASSERT_EQ(a.self, b.peer);
        ASSERT_EQ(a.peer, b.self);
        return;
    }
    if (a.refused() && b.refused())
        return;
    const HandshakeDecision& alone = a.refused() ? a : b;
    const bool own_reason =
        alone.refusal == Refusal::SourceInconsistent || alone.refusal == Refusal::TargetIsPrimary ||
        alone.refusal == Refusal::SourceUnknownToGuest;
    const bool cannot_demote = alone.refusal == Refusal::SplitBrain && !in.may_demote;
    ASSERT_TRUE(own_reason || cannot_demote) << a.reason << " / " << b.reason;
}

TEST(SyncHandshake, TwoNodesNeverGoTheSameWay) {
    const Uuids sets[] = {uuids(4), uuids(kA), uuids(kB, kA), uuids(kA, kB), uuids(kC, kA | 1), uuids(kB, kC, kA),
                          uuids(kD, kB, kC, kA), uuids(kA, 0, kB, kC), uuids(kA, kB, kC, kD),
                          uuids(kB, kA + kSyncUuidOffset, kA), uuids(kC, 4), uuids(kD, 4)};
    const DiskState disks[] = {Inconsistent, Outdated, Consistent, UpToDate};
    const AfterSplitBrain zero[] = {AfterSplitBrain::Disconnect, AfterSplitBrain::DiscardLeastChanges,
                                    AfterSplitBrain::DiscardLocal};
    const AfterSplitBrain one[] = {AfterSplitBrain::Disconnect, AfterSplitBrain::Consensus,
                                   AfterSplitBrain::CallPriLost};
    unsigned resyncs = 0, refusals = 0;
    const auto pair = [&](const HandshakeInput& in) {
        const HandshakeDecision a = decide_sync(in);
        const HandshakeDecision b = decide_sync(as_peer_sees(in));
        resyncs += a.direction != Direction::None;
        refusals += a.refused();
        check_pair(in, a, b);
    };
    const auto flags = [&](HandshakeInput in) {
        for (unsigned bits = 0; bits < 512 && !testing::Test::HasFatalFailure(); bits++) {
            in.self.role = bits & 1 ? Role::Primary : Role::Secondary;
            in.peer.role = bits & 2 ? Role::Primary : Role::Secondary;
            in.self.crashed_primary = bits & 4;
            in.peer.crashed_primary = bits & 8;
            in.self.discard_my_data = bits & 16;
            in.always_after_split_brain = bits & 32;
            in.may_demote = bits & 64;
            in.self.bits_set = bits & 128 ? 7 : 3;
            in.peer.bits_set = 5;
            in.after_split_brain.one_primary = one[bits % 3];
            in.after_split_brain.two_primaries = AfterSplitBrain::ViolentlyAs0p;
            in.after_split_brain.no_primary = zero[bits / 3 % 3];
            in.role_conflict = static_cast<RoleConflict>(bits / 9 % 3);
            in.resolve_conflicts = bits & 256;
            pair(in);
        }
    };
    for (const Uuids& self : sets)
        for (const Uuids& peer : sets)
            for (const DiskState own_disk : disks)
                for (const DiskState peer_disk : {Inconsistent, UpToDate}) {
                    HandshakeInput in = input(self, peer);
                    in.self.disk = own_disk;
                    in.peer.disk = peer_disk;
                    flags(in);
                    if (testing::Test::HasFatalFailure())
                        return;
                }
    EXPECT_GT(resyncs, 100'000u);
    EXPECT_GT(refusals, 100'000u);
}

}  // namespace
}  // namespace drbd
