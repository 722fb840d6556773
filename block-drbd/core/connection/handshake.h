// SPDX-License-Identifier: GPL-2.0-or-later
// The talk on data before anything else (spec 4.1, steps 2 and 3): versions and
// features, then, if cram-hmac-alg is configured, each proves to the other that
// it knows the secret.
//
// In: the socket, frames.  Out: packets, and an Agreement; or an error:
// Incompatible where trying again is of no use, Protocol otherwise.
// Invariants: nothing of the peer but this talk is looked at before it is over;
// our own challenge is never answered for (reflection); responses are compared
// in constant time.
#pragma once

#include "core/connection/sockets.h"
#include "core/wire/features.h"

namespace drbd {

class Handshake {
  public:
    Result<void> begin(Socket& data, const DrbdNetConfig& config);
    // The next packet.  When is_done(), it was the last one.
    Result<void> on_frame(const wire::Frame& frame);

    bool is_done() const { return step_ == Step::Done; }
    const wire::Agreement& agreement() const { return agreement_; }
    // What is waited for, for the reason of a failure.
    const char* awaited() const;
    // The peer does not know the secret: the connection must end, but not before our own
    // response has left, by which the peer sees the same and does not try again and again.
    bool is_refused() const { return step_ == Step::Refused && data_->outbox.empty(); }
    Error refusal() const;

  private:
    enum class Step : uint8_t { Features, Challenge, Response, Refused, Done };

    Result<void> send(wire::Encoded packet);
    Result<void> on_features(const wire::Frame& frame);
    Result<void> on_challenge(const wire::Frame& frame);
    Result<void> on_response(const wire::Frame& frame);
    bool authenticates() const { return config_->cram_hmac_alg[0] != 0; }

    Socket* data_ = nullptr;
    const DrbdNetConfig* config_ = nullptr;
    Step step_ = Step::Done;
    wire::Agreement agreement_;
    uint8_t challenge_[wire::kChallengeSize] = {};  // ours
};

}  // namespace drbd
