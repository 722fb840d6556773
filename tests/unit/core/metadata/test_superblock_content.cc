// SPDX-License-Identifier: GPL-2.0-or-later
// Flags of the superblock for every state (spec 5.5), and back (4.7).
#include <gtest/gtest.h>

#include "core/metadata/superblock_content.h"

namespace drbd {
namespace {

using metafmt::MdFlag;

TEST(SuperblockContent, FlagsOfEveryState) {
    Disk disk;
    disk.size = Sector(123456);
    disk.uuids.current = 0x10;
    for (int crashed = 0; crashed < 2; crashed++)
        for (int role = 1; role < 3; role++)
            for (int peer = 0; peer < 3; peer++)
                for (int conn = 0; conn < 24; conn++)
                    for (int own = 0; own < 9; own++)
                        for (int other = 0; other < 9; other++) {
                            disk.crashed_primary = crashed;
                            State s;
                            s.role = static_cast<Role>(role);
                            s.peer = static_cast<Role>(peer);
                            s.connection = static_cast<ConnectionState>(conn);
                            s.disk = static_cast<DiskState>(own);
                            s.peer_disk = static_cast<DiskState>(other);
                            const metafmt::Superblock sb = superblock_of(disk, s, Cleanness::InUse);
                            uint32_t expected = 0;
                            expected |= own > 4 ? 0x01 : 0;                                        // CONSISTENT
                            expected |= role == 1 || (other < 4 && peer == 1) ? 0x02 : 0;          // PRIMARY_IND
                            expected |= conn > 9 ? 0x04 : 0;                                       // CONNECTED_IND
                            expected |= own > 5 ? 0x10 : 0;                                        // WAS_UP_TO_DATE
                            expected |= other >= 4 && other <= 5 ? 0x20 : 0;                       // PEER_OUT_DATED
                            expected |= crashed ? 0x40 : 0;
                            ASSERT_EQ(sb.flags.bits, expected) << role << peer << " " << conn << " " << own << " " << other;
                            ASSERT_EQ(sb.magic, metafmt::SuperblockMagic::Unclean);
                            const metafmt::Superblock clean = superblock_of(disk, s, Cleanness::Clean);
                            ASSERT_EQ(clean.flags.bits, expected | 0x80);
                            ASSERT_TRUE(clean.is_clean());
                        }
}

TEST(SuperblockContent, SizeIdentifiersAndOldFlags) {
    Disk disk;
    disk.size = Sector(77);
    disk.uuids = {.current = 1, .bitmap = 2, .history = {3, 4}};
    disk.superblock.flags.bits = 0x1ff;
    disk.superblock.md_size_sect = 136;
    const metafmt::Superblock sb = superblock_of(disk, State{}, Cleanness::InUse);
    EXPECT_EQ(sb.la_size, Sector(77));
    EXPECT_EQ(sb.uuids, disk.uuids);
    EXPECT_EQ(sb.md_size_sect, 136u);
    EXPECT_FALSE(sb.flags.has(MdFlag::FullSync));
    EXPECT_FALSE(sb.flags.has(MdFlag::AlDisabled));
}

TEST(SuperblockContent, StatesOfAnAttach) {
    EXPECT_EQ(disk_state_of({0}), DiskState::Inconsistent);
    EXPECT_EQ(disk_state_of({0x10}), DiskState::Inconsistent);
    EXPECT_EQ(disk_state_of({0x01}), DiskState::Outdated);
    EXPECT_EQ(disk_state_of({0x11}), DiskState::UpToDate) << "fencing is off";
    EXPECT_EQ(disk_state_of({0x31}), DiskState::UpToDate);
    EXPECT_EQ(peer_disk_state_of({0x20}), DiskState::Outdated);
    EXPECT_EQ(peer_disk_state_of({0x11}), DiskState::DUnknown);
}

}  // namespace
}  // namespace drbd
