// SPDX-License-Identifier: GPL-2.0-or-later
// The state of a volume as one 32-bit word, and changes of it as a mask and a
// value (docs/WIRE.md, "State word").  In: a word from the peer, which may be
// anything; out: a State whose enumerators exist, or an error that names the
// field.  Everything a State can hold has a word, and comes back equal.
#pragma once

#include <cstdint>

#include "core/base/result.h"
#include "core/state/state.h"
#include "core/wire/values.h"

namespace drbd::wire {

uint32_t word_of(const State& state);

// Bits 23 to 31 are not looked at: newer peers may use them.
Result<State> state_of_word(uint32_t word);

struct StateChangeWords {
    uint32_t mask = 0;
    uint32_t value = 0;
};

StateChangeWords words_of(const StateChange& change);

// A field is asked for as a whole or not at all.
Result<StateChange> state_change_of_words(StateChangeWords words);

}  // namespace drbd::wire
