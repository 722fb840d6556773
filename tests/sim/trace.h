// SPDX-License-Identifier: GPL-2.0-or-later
// What happened, one line an event, always the same columns: time, who (A, B,
// or - for the world), what, three numbers or a text.  Printed if asked for;
// hashed always: the same seed must give the same hash.
#pragma once

#include <cstdint>
#include <cstdio>

#include "event_queue.h"

namespace drbd::sim {

// Hears every line as it happens; it changes nothing.
class TraceListener {
  public:
    virtual void on_line(int who, const char* what, const uint64_t numbers[3]) = 0;
    virtual void on_text(int who, const char* what, const char* text) = 0;

  protected:
    ~TraceListener() = default;
};

class Trace {
  public:
    Trace(const EventQueue& queue, bool print) : queue_(queue), print_(print) {}

    void line(int who, const char* what, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0) {
        mix(queue_.now() * 4 + static_cast<unsigned>(who + 1));
        mix_text(what);
        mix(a);
        mix(b);
        mix(c);
        if (print_)
            print_line(who, what, a, b, c);
        if (const uint64_t numbers[3] = {a, b, c}; listener_)
            listener_->on_line(who, what, numbers);
    }
    void text(int who, const char* what, const char* text) {
        mix(queue_.now() * 4 + static_cast<unsigned>(who + 1));
        mix_text(what);
        mix_text(text);
        if (print_)
            print_text(who, what, text);
        if (listener_)
            listener_->on_text(who, what, text);
    }
    // For people alone: no part of what is repeated.
    void note(int who, const char* what, const char* text) const {
        if (print_)
            print_text(who, what, text);
    }
    void set_listener(TraceListener* listener) { listener_ = listener; }
    uint64_t hash() const { return hash_; }
    bool prints() const { return print_ || listener_; }

  private:
    void mix(uint64_t value) {
        hash_ = (hash_ ^ value) * 0x9e3779b97f4a7c15u;
        hash_ ^= hash_ >> 29;
    }
    void mix_text(const char* text) {
        for (; *text; text++)
            hash_ = (hash_ ^ static_cast<unsigned char>(*text)) * 0x100000001b3u;
    }
    void print_head(int who, const char* what) const {
        std::printf("%12.6f %c %-14s ", static_cast<double>(queue_.now()) / 1e6, who < 0 ? '-' : 'A' + who, what);
    }
    void print_line(int who, const char* what, uint64_t a, uint64_t b, uint64_t c) const {
        print_head(who, what);
        std::printf("%llu %llu %llu\n", static_cast<unsigned long long>(a), static_cast<unsigned long long>(b),
                    static_cast<unsigned long long>(c));
    }
    void print_text(int who, const char* what, const char* text) const {
        print_head(who, what);
        std::printf("%s\n", text);
    }

    const EventQueue& queue_;
    bool print_;
    TraceListener* listener_ = nullptr;
    uint64_t hash_ = 0xcbf29ce484222325u;
};

}  // namespace drbd::sim
