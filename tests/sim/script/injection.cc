// SPDX-License-Identifier: GPL-2.0-or-later
// The table of script/injection.h.
#include "script/injection.h"

#include <cstring>

#include "world.h"

namespace drbd::sim {

namespace {

constexpr Time kBackAfter = 300 * kMillisecond;

void cut(World& world, int) {
    for (const End end : world.net().live_ends())
        world.net().cut(end, true, false);
}

void partition(World& world, int) {
    world.trace().line(-1, "partition");
    world.net().set_partition(true);
}

void heal(World& world, int) {
    world.trace().line(-1, "heal");
    world.net().set_partition(false);
}

// As a partition that ends by itself.
void outage(World& world, int) {
    partition(world, -1);
    world.queue().after(3 * kSecond, [&world] { heal(world, -1); });
}

void kill(World& world, int host) {
    world.node(host).kill();
}

// What a service manager does with a process that died.
void come_back(World& world, int host) {
    if (world.is_over())
        return;
    Node& node = world.node(host);
    if (!node.is_running()) {
        node.start();
    } else if (!node.is_frozen() && !node.has_pending_operation()) {
        for (unsigned v = 0; v < world.options().volumes; v++)
            if (!drbd_volume_needs_disk(node.core(), v)) {
                node.attach(v);
                world.queue().after(kBackAfter, [&world, host] { come_back(world, host); });
                return;
            }
        node.connect(false);
        return;
    }
    world.queue().after(kBackAfter, [&world, host] { come_back(world, host); });
}

void restart(World& world, int host) {
    world.node(host).kill();
    world.queue().after(kBackAfter, [&world, host] { come_back(world, host); });
}

void power(World& world, int host) {
    world.node(host).lose_power();
}

void power_both(World& world, int) {
    world.node(0).lose_power();
    world.node(1).lose_power();
}

void freeze(World& world, int host) {
    world.node(host).freeze(true);
}

void thaw(World& world, int host) {
    world.node(host).freeze(false);
}

template <DiskFault kind>
void fail(World& world, int host) {
    world.node(host).fail_next(kind);
}

void corrupt(World& world, int host) {
    world.net().corrupt_next(host);
}

constexpr ScriptFault kFaults[] = {
    {"cut", -1, true, cut},
    {"outage", -1, true, outage},
    {"partition", -1, false, partition},
    {"heal", -1, false, heal},
    {"kill-a", 0, true, kill},
    {"kill-b", 1, true, kill},
    {"restart-a", 0, true, restart},
    {"restart-b", 1, true, restart},
    {"power-a", 0, true, power},
    {"power-b", 1, true, power},
    {"power-both", -1, true, power_both},
    {"freeze-a", 0, false, freeze},
    {"freeze-b", 1, false, freeze},
    {"thaw-a", 0, false, thaw},
    {"thaw-b", 1, false, thaw},
    {"read-error-a", 0, true, fail<DiskFault::Read>},
    {"read-error-b", 1, true, fail<DiskFault::Read>},
    {"write-error-a", 0, true, fail<DiskFault::Write>},
    {"write-error-b", 1, true, fail<DiskFault::Write>},
    {"flush-error-a", 0, true, fail<DiskFault::Flush>},
    {"flush-error-b", 1, true, fail<DiskFault::Flush>},
    {"metadata-error-a", 0, true, fail<DiskFault::Metadata>},
    {"metadata-error-b", 1, true, fail<DiskFault::Metadata>},
    {"no-space-a", 0, true, fail<DiskFault::Space>},
    {"no-space-b", 1, true, fail<DiskFault::Space>},
    {"corrupt-a", 0, false, corrupt},
    {"corrupt-b", 1, false, corrupt},
};

}  // namespace

std::span<const ScriptFault> script_faults() {
    return kFaults;
}

const ScriptFault* find_script_fault(const std::string& name) {
    for (const ScriptFault& fault : kFaults)
        if (name == fault.name)
            return &fault;
    return nullptr;
}

}  // namespace drbd::sim
