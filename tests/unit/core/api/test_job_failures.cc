// SPDX-License-Identifier: GPL-2.0-or-later
// Every operation, with each of its jobs failing in turn: it ends exactly once,
// nothing hangs, and the node can be used again.
#include "../node.h"

namespace drbd::test {
namespace {

struct Case {
    const char* name;
    void (*prepare)(Node&);
    uint64_t (*begin)(Node&);
    unsigned jobs;             // that it takes when all goes well
    bool fails_always = true;  // a demotion stands even if the disk is lost
};

void secondary(Node& n) {
    n.format_up_to_date(0);
    n.must(n.attach());
}
void primary_with_writes(Node& n) {
    n.become_primary();
    n.write_through(0);
    n.write_through(100 * kMiB);
}
void crashed(Node& n) {
    primary_with_writes(n);
    n.must(n.leave(0));
    n.format_up_to_date(0);
    n.must(n.attach());
    n.must(n.set_role(true));
    n.write_through(0);
    n.must(n.detach(0, true));
}

const Case kCases[] = {
    {"attach", [](Node& n) { n.format_up_to_date(0); }, [](Node& n) { return n.attach(); }, 5},
    {"attach after a crash", crashed, [](Node& n) { return n.attach(); }, 8},
    {"activate", [](Node& n) { n.format_up_to_date(0, 0); }, [](Node& n) { return n.activate(0, true); }, 6},
    {"promote", secondary, [](Node& n) { return n.set_role(true); }, 1},
    {"demote", primary_with_writes, [](Node& n) { return n.set_role(false); }, 3, false},
    {"detach", secondary, [](Node& n) { return n.detach(0, false); }, 2},
    {"detach a former Primary",
     [](Node& n) {
         primary_with_writes(n);
         n.must(n.set_role(false));
     },
     [](Node& n) { return n.detach(0, false); }, 3},
    {"leave", primary_with_writes, [](Node& n) { return n.leave(0); }, 5},
    {"inactivate", primary_with_writes, [](Node& n) { return n.leave(0, true); }, 5},
    {"invalidate", secondary, [](Node& n) { return n.invalidate(); }, 4},
    {"outdate", secondary, [](Node& n) { return n.outdate(); }, 1},
    {"create-md", [](Node& n) { n.format_up_to_date(0); }, [](Node& n) { return n.create_md(0, true); }, 6},
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class EachJobFails : public testing::TestWithParam<Case> {};

TEST_P(EachJobFails, EndsOnceAndCanBeTriedAgain) {
    const Case& c = GetParam();
    for (unsigned failing = 0; failing <= c.jobs; failing++) {
        SCOPED_TRACE("job " + std::to_string(failing) + " fails");
        Node node;
        c.prepare(node);
        node.jobs.clear();
        const uint64_t operation = c.begin(node);
        ASSERT_NE(operation, 0u) << node.refusal();
        for (unsigned i = 0; i < failing; i++) {
            EXPECT_EQ(node.ended(operation).times, 0u) << "not before its last job";
            ASSERT_TRUE(node.run_job());
        }
        if (failing < c.jobs) {
            ASSERT_TRUE(node.run_job(0, -5));
        }
        const Ended end = node.ended(operation);
        EXPECT_EQ(end.times, 1u);
        EXPECT_EQ(end.success, failing == c.jobs || !c.fails_always);
        if (!end.success) {
            EXPECT_NE(end.text.find("failed"), std::string::npos) << end.text;
        }
        node.expect_at_rest();
        EXPECT_EQ(node.jobs.size(), std::min(failing + 1, c.jobs));
        if (failing < c.jobs) {
            EXPECT_EQ(node.disk(), "Diskless") << "its metadata is not known";
            EXPECT_EQ(node.status().memory_bytes, 0u);
        }

        // And again, on a device that works.
        if (node.disk() == "Diskless") {
            node.must(node.create_md(0, true));
            if (!node.is_primary())
                node.must(node.attach());
        }
        EXPECT_EQ(node.ended(operation).times, 1u);
    }
}

INSTANTIATE_TEST_SUITE_P(Operations, EachJobFails, testing::ValuesIn(kCases),
                         [](const auto& one) {
                             std::string name = one.param.name;
                             for (char& ch : name)
                                 ch = std::isalnum(static_cast<unsigned char>(ch)) ? ch : '_';
                             return name;
                         });

}  // namespace
}  // namespace drbd::test
