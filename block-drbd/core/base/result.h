// SPDX-License-Identifier: GPL-2.0-or-later
// Errors as values.  An Error has a code, which programs decide on, and a text
// that tells a person what is wrong, where, and what to do next.  Result<T> is
// a T or an Error; Result<void> is success or an Error.  Nothing allocates:
// the text has a fixed size and is cut when longer.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "core/base/assert.h"

namespace drbd {

// What a caller may want to tell apart.  The text says the rest.
enum class ErrorCode {
    Invalid,      // an argument or option makes no sense
    NoMetadata,   // there is no metadata of ours
    Foreign,      // something else is there: a file system, metadata of another format
    Corrupt,      // metadata is damaged: checksum, layout, ranges
    Unclean,      // metadata is sound, but apply-al has not run
    TooSmall,     // a device is too small for what it must hold
    Refused,      // a rule of the state machine forbids it; the text names the rule
    InUse,        // somebody else has it
    Io,           // the layer below failed; the text has its errno
    NoSpace,      // ENOSPC below
    NotFound,     // no such volume, request, operation
    Exhausted,    // a bound of limits.h is reached
    Protocol,     // the peer's bytes break the protocol: drop the connection, try again
    Incompatible, // this peer and we will never agree: drop the connection, stand alone
};

struct [[nodiscard]] Error {
    static constexpr unsigned kTextSize = 256;

    ErrorCode code;
    char text[kTextSize];

    [[gnu::format(printf, 2, 3)]] static Error of(ErrorCode code, const char* format, ...) {
        Error error;
        error.code = code;
        va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(error.text, sizeof error.text, format, arguments);
        va_end(arguments);
        return error;
    }
};

template <typename T>
class [[nodiscard]] Result {
  public:
    static_assert(!std::is_reference_v<T>);

    Result(T value) : ok_(true) { new (&value_) T(std::move(value)); }  // NOLINT: implicit on purpose
    Result(Error error) : ok_(false), error_(error) {}                  // NOLINT
    Result(Result&& other) noexcept : ok_(other.ok_) {
        if (ok_)
            new (&value_) T(std::move(other.value_));
        else
            new (&error_) Error(other.error_);
    }
    Result(const Result&) = delete;
    Result& operator=(const Result&) = delete;
    Result& operator=(Result&&) = delete;
    ~Result() {
        if (ok_)
            value_.~T();
    }

    bool ok() const { return ok_; }
    explicit operator bool() const { return ok_; }

    T& value() {
        DRBD_ASSERT(ok_);
        return value_;
    }
    const T& value() const {
        DRBD_ASSERT(ok_);
        return value_;
    }
    const Error& error() const {
        DRBD_ASSERT(!ok_);
        return error_;
    }

  private:
    bool ok_;
    union {
        T value_;
        Error error_;
    };
};

template <>
class [[nodiscard]] Result<void> {
  public:
    Result() : ok_(true) {}
    Result(Error error) : ok_(false), error_(error) {}  // NOLINT: implicit on purpose

    bool ok() const { return ok_; }
    explicit operator bool() const { return ok_; }
    const Error& error() const {
        DRBD_ASSERT(!ok_);
        return error_;
    }

  private:
    bool ok_;
    Error error_{};
};

}  // namespace drbd
