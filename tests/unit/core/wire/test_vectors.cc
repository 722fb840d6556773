// SPDX-License-Identifier: GPL-2.0-or-later
// Bytes that are known: examples of docs/WIRE.md, of packets, state words and
// run lengths.
#include <gtest/gtest.h>

#include "core/wire/state_word.h"
#include "core/wire/vli.h"
#include "packets.h"

namespace drbd::wire {
namespace {

class Vectors : public testing::Test {
  protected:
    uint8_t memory_[kPacketSizeMax];
    Room room_{memory_};
    To to_{kNewest, 0};
    // A kernel's handle, a pointer in its own byte order.
    BlockId id_{0xa0f2b80f8088ffff};
};

TEST_F(Vectors, FirstPackets) {
    EXPECT_EQ(to_vector(encode_initial(room_, Stream::Data)), hex("83740267 fff2 0000"));
    EXPECT_EQ(to_vector(encode_initial(room_, Stream::Meta)), hex("83740267 fff1 0000"));
}

TEST_F(Vectors, Features) {
    ByteVector expected = hex("83740267 fffe 0048 00000056 0000000f 00000065 00000000");
    expected.resize(80);
    EXPECT_EQ(to_vector(encode_features(room_, {})), expected);
}

TEST_F(Vectors, Protocol) {
    EXPECT_EQ(to_vector(encode_protocol(room_, to_, Packet::Protocol, {})),
              hex("8620ec20 0000 000b 00000019 00000000"
                  "00000003 00000000 00000000 00000000 00000000 00000000 00"));
    To old{{86, {}}, 0};
    EXPECT_EQ(to_vector(encode_protocol(room_, old, Packet::Protocol, {})),
              hex("83740267 000b 0018 00000003 00000000 00000000 00000000 00000000 00000000"));
}

TEST_F(Vectors, Ping) {
    EXPECT_EQ(to_vector(encode_empty(room_, to_, Packet::Ping)), hex("8620ec20 0000 0013 00000000 00000000"));
}

TEST_F(Vectors, InitialState) {
    const State state{Role::Secondary, Role::Unknown, ConnectionState::WFConnection, DiskState::Inconsistent,
                      DiskState::DUnknown};
    EXPECT_EQ(to_vector(encode_state(room_, to_, state)), hex("8620ec20 0000 000e 00000004 00000000 0000c882"));
}

TEST_F(Vectors, PromoteAndItsReply) {
    StateChange change;
    change.role = Role::Primary;
    EXPECT_EQ(to_vector(encode_state_change_request(room_, to_, Packet::StateChangeRequest, change)),
              hex("8620ec20 0000 0012 00000008 00000000 00000003 00000001"));
    EXPECT_EQ(to_vector(encode_state_change_reply(room_, to_, Packet::StateChangeReply, 1)),
              hex("8620ec20 0000 001d 00000004 00000000 00000001"));
    EXPECT_EQ(to_vector(encode_state_change_reply(room_, to_, Packet::ConnectionStateChangeReply, -19)),
              hex("8620ec20 0000 002b 00000004 00000000 ffffffed"));
}

TEST_F(Vectors, EndOfPlainBitmap) {
    EXPECT_EQ(to_vector(encode_bitmap_header(room_, to_, Packet::Bitmap, 0)),
              hex("8620ec20 0000 0004 00000000 00000000"));
}

TEST_F(Vectors, WriteAndItsAck) {
    const DataWrite write{Sector(8), Bytes(4096), id_, 1, {256}, {}};
    EXPECT_EQ(to_vector(encode_write(room_, to_, Packet::Data, write)),
              hex("8620ec20 0000 0000 00001018 00000000 0000000000000008 a0f2b80f8088ffff 00000001 00000100"));
    EXPECT_EQ(to_vector(encode_block_ack(room_, to_, Packet::WriteAck, {Sector(8), Bytes(4096), id_, 1})),
              hex("8620ec20 0000 0016 00000018 00000000 0000000000000008 a0f2b80f8088ffff 00001000 00000001"));
}

TEST_F(Vectors, HeaderByVersionAndLength) {
    struct Row { unsigned version; uint64_t size; const char* header; };
    const Row rows[] = {
        {86, 4096, "83740267 0000 1018"},      {94, 32768, "83740267 0000 8018"},
        {95, 32768 - 512, "83740267 0000 7e18"}, {95, 32768, "835a 0000 00008018"},
        {95, 131072, "835a 0000 00020018"},    {99, 65536, "835a 0000 00010018"},
        {100, 1048576, "8620ec20 0000 0000 00100018 00000000"},
    };
    for (const Row& row : rows) {
        const To to{{row.version, {}}, 0};
        const auto packet = encode_write(room_, to, Packet::Data, {Sector(0), Bytes(row.size), id_, 1, {2}, {}});
        EXPECT_EQ(to_vector(packet.first(packet.size() - 24)), hex(row.header)) << row.version << ' ' << row.size;
    }
}

TEST_F(Vectors, VerdictsHaveAByteOrder) {
    const To to{kNewest, 3};
    EXPECT_EQ(to_vector(encode_block_ack(room_, to, Packet::OvResult, {Sector(0), Bytes(4096), kOutOfSyncId, 7})),
              hex("8620ec20 0003 0020 00000018 00000000 0000000000000000 0000000000001268 00001000 00000007"));
}

TEST_F(Vectors, SizesAndParametersGrew) {
    EXPECT_EQ(encode_sizes(room_, {{86, {0}}, 0}, {}).size(), 8u + 32);
    Sizes sizes;
    sizes.limits = QueueLimits{};
    EXPECT_EQ(encode_sizes(room_, {{86, {15}}, 0}, sizes).size(), 8u + 56);
    EXPECT_EQ(encode_sizes(room_, to_, sizes).size(), 16u + 56);
    const std::pair<unsigned, size_t> rows[] = {{86, 8 + 4}, {87, 8 + 4}, {88, 8 + 5}, {89, 8 + 132}, {94, 8 + 132},
                                                {95, 8 + 148}, {99, 8 + 148}, {100, 16 + 148}, {101, 16 + 148}};
    for (const auto& [version, size] : rows)
        EXPECT_EQ(encode_sync_parameters(room_, {{version, {}}, 0}, {}).size(), size) << version;
}

struct StateVector {
    uint32_t word;
    State state;
};

TEST(StateWords, KnownStates) {
    const StateVector rows[] = {
        {0x0000c882, {Role::Secondary, Role::Unknown, ConnectionState::WFConnection, DiskState::Inconsistent, DiskState::DUnknown}},
        {0x0000d081, {Role::Primary, Role::Unknown, ConnectionState::WFConnection, DiskState::UpToDate, DiskState::DUnknown}},
        {0x000110aa, {Role::Secondary, Role::Secondary, ConnectionState::Connected, DiskState::UpToDate, DiskState::UpToDate}},
        {0x00009109, {Role::Primary, Role::Secondary, ConnectionState::SyncSource, DiskState::UpToDate, DiskState::Inconsistent}},
    };
    for (const StateVector& row : rows) {
        EXPECT_EQ(word_of(row.state), row.word);
        const auto state = state_of_word(row.word);
        ASSERT_TRUE(state.ok());
        EXPECT_EQ(state.value(), row.state);
    }
}

TEST(StateWords, EveryFieldHasItsBits) {
    const std::pair<bool State::*, unsigned> flags[] = {
        {&State::suspended, 17}, {&State::paused_after_dependency, 18}, {&State::paused_by_peer, 19},
        {&State::paused_by_user, 20}, {&State::suspended_no_data, 21}, {&State::suspended_fencing, 22}};
    const State none{Role::Unknown, Role::Unknown, ConnectionState::StandAlone, DiskState::Diskless, DiskState::Diskless};
    ASSERT_EQ(word_of(none), 0u);
    for (const auto& [field, bit] : flags) {
        State state = none;
        state.*field = true;
        EXPECT_EQ(word_of(state), 1u << bit);
        const auto back = state_of_word(1u << bit);
        ASSERT_TRUE(back.ok());
        EXPECT_EQ(back.value(), state);
    }
}

// All 2^17 words of the five enumerators: either a state that has this word,
// or an error, exactly where an enumerator is none.
TEST(StateWords, EveryWord) {
    for (uint32_t word = 0; word < 1u << 17; word++) {
        const bool legal = (word & 3) < 3 && (word >> 2 & 3) < 3 && (word >> 4 & 31) < 24 && (word >> 9 & 15) < 9 &&
                           (word >> 13 & 15) < 9;
        const auto state = state_of_word(word);
        ASSERT_EQ(state.ok(), legal) << word;
        if (legal)
            ASSERT_EQ(word_of(state.value()), word);
    }
    EXPECT_TRUE(state_of_word(0xff8110aa).ok()) << "the upper bits are not looked at";
}

// Masks and values of requests that kernels send.
TEST(StateWords, KnownChanges) {
    struct Row { StateChangeWords words; StateChange change; };
    StateChange promote, detach, invalidate, verify, outdate_peer, outdate_self;
    promote.role = Role::Primary;
    detach.disk = DiskState::Failed;
    invalidate.connection = ConnectionState::StartingSyncT;
    verify.connection = ConnectionState::VerifyS;
    outdate_peer.connection = outdate_self.connection = ConnectionState::Disconnecting;
    outdate_peer.peer_disk = outdate_self.disk = DiskState::Outdated;
    const Row rows[] = {{{0x3, 0x1}, promote}, {{0x1e00, 0x400}, detach}, {{0x1f0, 0xc0}, invalidate},
                        {{0x1f0, 0x120}, verify}, {{0x1e1f0, 0xa010}, outdate_peer}, {{0x1ff0, 0xa10}, outdate_self}};
    for (const Row& row : rows) {
        const StateChangeWords words = words_of(row.change);
        EXPECT_EQ(words.mask, row.words.mask);
        EXPECT_EQ(words.value, row.words.value);
        const auto change = state_change_of_words(row.words);
        ASSERT_TRUE(change.ok());
        EXPECT_EQ(change.value(), row.change);
    }
}

TEST(StateWords, ChangesThatMakeNoSense) {
    const std::pair<StateChangeWords, const char*> rows[] = {
        {{0x1, 0x1}, "a part of role"},        {{0x1e000, 0x12000}, "peer disk is 9"}, {{0x3, 0x5}, "outside of mask"},
        {{0x800000, 0}, "unknown fields"},     {{0x1f0, 0x180}, "connection is 24"},   {{0x3, 0x3}, "role is 3"},
        {{0x1c00, 0}, "a part of disk"},
    };
    for (const auto& [words, text] : rows) {
        const auto change = state_change_of_words(words);
        ASSERT_FALSE(change.ok()) << text;
        EXPECT_NE(std::string(change.error().text).find(text), std::string::npos) << change.error().text;
    }
}

TEST(RunLengths, KnownCodewords) {
    struct Row { uint64_t value, word; unsigned length; };
    const Row rows[] = {{1, 0x0, 2}, {2, 0x2, 2}, {3, 0x1, 3}, {5, 0x3, 5}, {8, 0x1b, 5}, {17, 0xf, 10},
                        {128, 0x13df, 14}, {305, 0x3f, 21}, {8497, 0x7f, 29}};
    for (const Row& row : rows) {
        EXPECT_EQ(vli_encode(row.value).word, row.word) << row.value;
        EXPECT_EQ(vli_encode(row.value).length, row.length) << row.value;
    }
}

TEST(RunLengths, LevelsAreContiguous) {
    struct Row { unsigned length; uint64_t first, last; };
    const Row rows[] = {{2, 1, 2}, {3, 3, 4}, {5, 5, 8}, {7, 9, 16}, {10, 17, 48}, {14, 49, 304}, {21, 305, 8496},
                        {29, 8497, 2105648}, {42, 2105649, 17181974832}, {64, 17181974833, kVliMax}};
    for (const Row& row : rows)
        for (uint64_t value : {row.first, row.first + (row.last - row.first) / 2, row.last}) {
            const VliCode code = vli_encode(value);
            EXPECT_EQ(code.length, row.length) << value;
            for (unsigned available = 0; available <= 64; available++) {
                const uint64_t ahead = available < 64 ? code.word & ((1ull << available) - 1) : code.word;
                const VliValue back = vli_decode(ahead, available);
                EXPECT_EQ(back.length, available < row.length ? 0 : row.length) << value << " of " << available;
                EXPECT_EQ(back.value, available < row.length ? 0 : value);
            }
        }
    for (uint64_t value = 1; value < 10000; value++)
        ASSERT_EQ(vli_decode(vli_encode(value).word, 64).value, value);
}

}  // namespace
}  // namespace drbd::wire
