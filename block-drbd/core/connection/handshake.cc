// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/connection/handshake.h"

#include <cstring>

#include "core/connection/net_config.h"
#include "core/wire/decode.h"
#include "core/wire/encode.h"

namespace drbd {

namespace {

// The time it takes says nothing about where the first difference is.
bool equal_in_constant_time(const uint8_t* a, const uint8_t* b, size_t length) {
    volatile uint8_t difference = 0;
    for (size_t i = 0; i < length; i++)
        difference = static_cast<uint8_t>(difference | (a[i] ^ b[i]));
    return difference == 0;
}

}  // namespace

Result<void> Handshake::begin(Socket& data, const DrbdNetConfig& config) {
    data_ = &data;
    config_ = &config;
    agreement_ = {};
    step_ = Step::Features;
    uint8_t room[wire::kPacketSizeMax];
    return send(wire::encode_features(room, offer_of(config)));
}

const char* Handshake::awaited() const {
    switch (step_) {
    case Step::Features: return "P_CONNECTION_FEATURES";
    case Step::Challenge: return "P_AUTH_CHALLENGE";
    case Step::Response: return "P_AUTH_RESPONSE";
    case Step::Refused:
    case Step::Done: break;
    }
    return "P_PROTOCOL";
}

Result<void> Handshake::on_frame(const wire::Frame& frame) {
    switch (step_) {
    case Step::Features: return on_features(frame);
    case Step::Challenge: return on_challenge(frame);
    case Step::Response: return on_response(frame);
    case Step::Refused: return refusal();  // it does not wait for our response
    case Step::Done: break;
    }
    DRBD_ASSERT(false);
    return {};
}

Result<void> Handshake::send(wire::Encoded packet) {
    if (!data_->outbox.push(packet, {}, {}))
        return Error::of(ErrorCode::Exhausted, "no packet is free for the handshake: those of the last connection "
                         "have not left their sockets yet");
    return {};
}

Result<void> Handshake::on_features(const wire::Frame& frame) {
    auto offer = wire::decode_features(frame);
    if (!offer)
        return offer.error();
    auto agreement = wire::agree(offer_of(*config_), offer.value());
    if (!agreement)
        return agreement.error();
    agreement_ = agreement.value();
    if (agreement_.version < 87 && config_->data_integrity_alg[0])
        return Error::of(ErrorCode::Incompatible, "data-integrity-alg: this node %s, the peer speaks protocol %u, which "
                         "has none; leave it away or upgrade the peer", config_->data_integrity_alg, agreement_.version);
    data_->reader.agree(agreement_);
    if (!authenticates()) {
        step_ = Step::Done;
        return {};
    }
    if (!config_->crypto.random(config_->crypto.opaque, challenge_, sizeof challenge_))
        return Error::of(ErrorCode::Io, "cram-hmac-alg %s: no random numbers for the challenge", config_->cram_hmac_alg);
    step_ = Step::Challenge;
    uint8_t room[wire::kPacketSizeMax];
    return send(wire::encode_challenge(room, {agreement_, 0}, challenge_));
}

Result<void> Handshake::on_challenge(const wire::Frame& frame) {
    if (frame.packet() != wire::Packet::AuthChallenge)
        return Error::of(ErrorCode::Incompatible, "cram-hmac-alg: this node %s, the peer none (it sent %s); configure "
                         "both alike, then connect", config_->cram_hmac_alg, frame.row->name);
    auto challenge = wire::decode_challenge(frame);
    if (!challenge)
        return challenge.error();
    const std::span<const uint8_t> bytes = challenge.value();
    if (equal_in_constant_time(bytes.data(), challenge_, sizeof challenge_))
        return Error::of(ErrorCode::Incompatible, "authentication: the peer sent our own challenge back; it does not "
                         "know the secret, or this node talks to itself");
    uint8_t response[DRBD_DIGEST_SIZE];
    if (!config_->crypto.hmac(config_->crypto.opaque, bytes.data(), bytes.size(), response))
        return Error::of(ErrorCode::Io, "cram-hmac-alg %s: the response cannot be computed", config_->cram_hmac_alg);
    step_ = Step::Response;
    uint8_t room[wire::kPacketSizeMax];
    return send(wire::encode_auth_response(room, {agreement_, 0}, {response, config_->cram_digest_size}));
}

Result<void> Handshake::on_response(const wire::Frame& frame) {
    if (frame.packet() != wire::Packet::AuthResponse)
        return Error::of(ErrorCode::Protocol, "authentication: %s where P_AUTH_RESPONSE is due", frame.row->name);
    auto response = wire::decode_auth_response(frame, config_->cram_digest_size);
    if (!response)
        return response.error();
    uint8_t expected[DRBD_DIGEST_SIZE];
    if (!config_->crypto.hmac(config_->crypto.opaque, challenge_, sizeof challenge_, expected))
        return Error::of(ErrorCode::Io, "cram-hmac-alg %s: the response cannot be checked", config_->cram_hmac_alg);
    const bool right = equal_in_constant_time(response.value().data(), expected, config_->cram_digest_size);
    step_ = right ? Step::Done : Step::Refused;
    return {};
}

Error Handshake::refusal() const {
    return Error::of(ErrorCode::Incompatible, "authentication: the peer's response is wrong; shared-secret or "
                     "cram-hmac-alg (%s) differ", config_->cram_hmac_alg);
}

}  // namespace drbd
