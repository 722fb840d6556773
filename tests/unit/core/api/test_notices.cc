// SPDX-License-Identifier: GPL-2.0-or-later
// The bounded queue of notices.
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "core/api/notices.h"

namespace drbd {
namespace {

TEST(Notices, ComeInOrderWithAllTheyWereGiven) {
    auto notices = std::make_unique<Notices>();
    EXPECT_TRUE(notices->empty());
    notices->state(3, 7, "disk", "Attaching", "UpToDate", "because");
    notices->operation(-1, 8, "set-role", false, "no");
    notices->warning(1, "%d is odd", 3);
    DrbdNotice n;
    ASSERT_TRUE(notices->take(n));
    EXPECT_EQ(n.kind, DRBD_NOTICE_STATE);
    EXPECT_EQ(n.volume, 3);
    EXPECT_EQ(n.operation, 7u);
    EXPECT_STREQ(n.field, "disk");
    EXPECT_STREQ(n.old_value, "Attaching");
    EXPECT_STREQ(n.new_value, "UpToDate");
    EXPECT_STREQ(n.text, "because");
    ASSERT_TRUE(notices->take(n));
    EXPECT_EQ(n.kind, DRBD_NOTICE_OPERATION);
    EXPECT_FALSE(n.success);
    EXPECT_STREQ(n.command, "set-role");
    ASSERT_TRUE(notices->take(n));
    EXPECT_STREQ(n.text, "3 is odd");
    EXPECT_FALSE(notices->take(n));
}

TEST(Notices, WhenFullTheOldestThatIsNoEndOfAnOperationGoes) {
    auto notices = std::make_unique<Notices>();
    for (unsigned i = 0; i < 1000; i++) {
        if (i % 10 == 0)
            notices->operation(0, i, "attach", true, "");
        else
            notices->warning(0, "%u", i);
    }
    DrbdNotice n;
    unsigned operations = 0, taken = 0;
    int last_warning = -1;
    while (notices->take(n)) {
        taken++;
        if (n.kind == DRBD_NOTICE_OPERATION) {
            EXPECT_EQ(n.operation, operations * 10) << "in order, none lost";
            operations++;
        } else {
            EXPECT_GT(std::stoi(n.text), last_warning);
            last_warning = std::stoi(n.text);
        }
    }
    EXPECT_EQ(operations, 100u);
    EXPECT_EQ(taken, kNoticesMax);
    EXPECT_EQ(last_warning, 999);
}

TEST(Notices, FullOfOperationsTheOldestGoes) {
    auto notices = std::make_unique<Notices>();
    for (unsigned i = 0; i < kNoticesMax + 3; i++)
        notices->operation(0, i, "attach", true, "");
    DrbdNotice n;
    for (unsigned i = 3; i < kNoticesMax + 3; i++) {
        ASSERT_TRUE(notices->take(n));
        EXPECT_EQ(n.operation, i);
    }
    EXPECT_TRUE(notices->empty());
}

TEST(Notices, PastOperationsNewestFirstAndBounded) {
    auto notices = std::make_unique<Notices>();
    DrbdNotice n;
    EXPECT_FALSE(notices->past_operation(0, n));
    for (unsigned i = 1; i <= 20; i++)
        notices->operation(0, i, "detach", i % 2, "");
    for (unsigned i = 0; i < kPastOperationsMax; i++) {
        ASSERT_TRUE(notices->past_operation(i, n));
        EXPECT_EQ(n.operation, 20 - i);
        EXPECT_EQ(n.success, (20 - i) % 2 == 1);
    }
    EXPECT_FALSE(notices->past_operation(kPastOperationsMax, n));
}

}  // namespace
}  // namespace drbd
