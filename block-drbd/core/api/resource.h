// SPDX-License-Identifier: GPL-2.0-or-later
// A resource: its volumes, the pool of requests, the notices, the connection to
// the peer, and the one role that all volumes have (design D2, D12).
//
// In: every event of drbd-core.h.  Out: the same queues.  resource.cc has the
// volumes and the queues; role_change.cc the role (all volumes or none);
// connection_events.cc what the connection says; dispatch.cc gives each packet
// to whom it concerns; cluster_change.cc asks the peer and answers it, and ends
// the connection gracefully.
// Invariants: one change of role at a time; one question to the peer at a time;
// settle() follows every event that may have moved the connection or a volume's state,
// and only there a lost connection is taken down.
#pragma once

#include <memory>
#include <vector>

#include "core/api/volume.h"
#include "core/base/random.h"
#include "core/connection/connection.h"
#include "core/peer/peer_io.h"
#include "core/request/transfer_log.h"

struct DrbdResource final : private drbd::VolumeOwner,
                            private drbd::ConnectionListener,
                            private drbd::PacketListener,
                            private drbd::TransferLogListener {
  public:
    DrbdResource(const DrbdResourceConfig& config);
    DrbdResource(const DrbdResource&) = delete;
    DrbdResource& operator=(const DrbdResource&) = delete;

    bool allocate(unsigned max_requests);

    unsigned nr_volumes() const { return nr_volumes_; }
    drbd::Volume* volume(unsigned number) { return number < nr_volumes_ ? volumes_[number].get() : nullptr; }
    const drbd::Volume* volume(unsigned number) const {
        return number < nr_volumes_ ? volumes_[number].get() : nullptr;
    }
    drbd::Result<void> open_volume(unsigned number);
    void close_volume(unsigned number);

    drbd::Result<void> check_activation(unsigned volume, bool primary) const override;
    drbd::Result<uint64_t> set_role(drbd::Role role, bool force);
    // Why a promotion would be refused now; null if it would not.
    const char* why_not_promotable() const;

    // The connection.
    drbd::Connection& connection() override { return connection_; }
    const drbd::Connection& connection() const { return connection_; }
    drbd::Result<void> configure(const DrbdNetConfig& config);
    drbd::Result<uint64_t> connect(bool discard_my_data);
    drbd::Result<uint64_t> disconnect(bool force);
    void on_time(uint64_t now_ms);
    uint64_t next_deadline_ms();
    bool drained_guest_waits() const override;
    // A volume was drained: its guest's requests must end in time.
    void on_drain_begin() { drain_since_ms_ = kNotTimed; }
    bool has_peer_io() const;
    bool next_peer_io(DrbdPeerIo& io);
    // The end of an event: what it has made possible or necessary.
    void settle();
    // The same after an event of a guest's request, where nearly always nothing is to do.
    void settle_after_request(const drbd::Volume& volume) {
        const drbd::Link& link = connection_.link();
        if (link.needs_attention() || losing_peer_ || change_.number != 0 || ending_.number != 0 || !volume.is_quiet())
            settle();
    }
    drbd::ConnectionState connection_state() const;
    void fill_status(DrbdConnectionStatus& status) const;

    drbd::RequestPool& requests() { return pool_; }
    const drbd::RequestPool& requests() const { return pool_; }
    drbd::Notices& notices() override { return notices_; }
    const drbd::Notices& notices() const { return notices_; }
    drbd::Role role() const override { return role_; }
    uint64_t role_operation() const override { return change_.number; }
    uint64_t disconnect_operation() const { return ending_.number; }
    drbd::TransferLog& transfer_log() override { return log_; }
    drbd::PeerRequests& peer_requests() override { return peer_requests_; }
    const drbd::PeerRequests& peer_requests() const { return peer_requests_; }
    drbd::PeerIo& peer_io() override { return peer_io_; }
    uint32_t pending(uint32_t queues) const;

  private:
    static constexpr uint64_t kNotTimed = UINT64_MAX;

    // VolumeOwner
    DrbdResource& resource() override { return *this; }
    uint64_t new_operation_number() override { return ++last_operation_; }
    drbd::Random& random() override { return random_; }
    drbd::RequestPool& pool() override { return pool_; }
    uint64_t now_ms() const override { return connection_.link().now_ms(); }
    void on_role_recorded(unsigned volume, const drbd::Result<void>& result) override;
    void on_activated(drbd::Role role) override;
    void on_left() override;
    bool ask_peer(unsigned volume, const drbd::wire::StateChange& change) override;
    void on_handshake_over(unsigned volume) override;
    void stand_alone(const char* reason) override { connection_.stand_alone(reason); }

    // ConnectionListener (connection_events.cc, dispatch.cc)
    void on_phase(drbd::ConnectionState phase, const char* reason) override;
    void on_connection_up() override;
    void on_connection_lost(drbd::ConnectionState how, const char* reason) override;
    void on_ping_answered() override;
    bool is_stalled() const override;
    drbd::Result<drbd::BulkVerdict> on_bulk(const drbd::wire::Frame& frame) override;
    drbd::Result<void> on_packet(const drbd::wire::Frame& frame, void* buffer) override;
    void on_buffer_unused(void* buffer, uint32_t bytes) override { peer_requests_.release(buffer, bytes); }
    bool may_reconnect() const override;
    void on_packet_left(const drbd::Owner& owner, bool sent) override;
    // TransferLogListener
    void on_barrier_sent(uint64_t epoch) override;
    void on_epoch_confirmed(uint64_t epoch) override;

    // dispatch.cc
    bool is_for_closed(const drbd::wire::Frame& frame);
    drbd::Result<void> refuse_for_closed(const drbd::wire::Frame& frame);
    drbd::Result<void> on_block_ack(drbd::Volume& volume, const drbd::wire::Frame& frame);
    drbd::Result<void> on_barrier_ack(const drbd::wire::Frame& frame);
    drbd::Result<void> on_volume_packet(drbd::Volume& volume, const drbd::wire::Frame& frame, void* buffer);

    // cluster_change.cc
    enum class Question : uint8_t { None, Operation, Role, End };
    bool ask(Question question, unsigned volume, const drbd::wire::StateChange& change);
    drbd::Result<void> on_question(const drbd::wire::Frame& frame);
    drbd::Result<void> on_answer(const drbd::wire::Frame& frame);
    void take_end_request(const drbd::wire::StateChange& asked);
    void answer(drbd::wire::Packet packet, unsigned volume, drbd::StateCode code);
    void answer_when_recorded();
    int volume_served_by_peer() const;
    void ask_for_end();
    void end_answered(drbd::StateCode code);
    void end_connection(bool told);

    // role_change.cc
    enum class RolePhase : uint8_t { None, Handshake, Ping, PeerDemotion, AskPeer, Record };
    void take_role(drbd::Role role, const char* reason, uint64_t operation);
    drbd::Result<void> check_role(unsigned volume, drbd::Role role, bool force) const;
    drbd::Result<void> check_roles(drbd::Role role, bool force) const;
    void go_on_with_role();
    bool becomes_primary() const;
    bool peer_keeps_role_from_us() const;
    uint64_t role_deadline_ms() const;
    void ask_next_volume();
    void role_answered(drbd::StateCode code);
    void role_link_lost();
    void record_role();
    void give_up_role(const char* text);
    void fail_role(const char* text);
    void end_role_record();

    // connection_events.cc
    uint64_t deadline_ms() const;
    bool go_on_without_volumes();
    void check_timeouts(uint64_t now_ms);
    uint32_t volumes_that_may_work() const;
    void confirm_resync();
    int volume_in_handshake() const;

    char name_[64];
    unsigned nr_volumes_;
    drbd::Random random_;
    drbd::RequestPool pool_;
    drbd::Notices notices_;
    drbd::Connection connection_;
    drbd::PeerIo peer_io_;
    drbd::PeerRequests peer_requests_;
    drbd::TransferLog log_;
    std::unique_ptr<drbd::Volume> volumes_[DRBD_MAX_VOLUMES];
    drbd::Role role_ = drbd::Role::Secondary;
    uint64_t last_operation_ = 0;
    mutable char why_not_promotable_[DRBD_ERROR_SIZE] = "";
    uint64_t told_deadline_ms_ = UINT64_MAX;
    uint64_t drain_since_ms_ = kNotTimed;
    uint64_t handshake_since_ms_ = kNotTimed;
    uint64_t last_confirmation_ms_ = 0;
    unsigned first_to_settle_ = 0;
    std::vector<std::shared_ptr<drbd::BitmapPackets>> packets_of_closed_;  // until all have been sent, and another one is closed
    uint32_t closed_volumes_ = 0;  // on this connection; the peer may have sent to them before it heard of it
    bool losing_peer_ = false;  // the transfer log is being told, in slices

    // The change of role that is under way.
    struct RoleChange {
        uint64_t number = 0;  // 0: none
        drbd::Role role = drbd::Role::Secondary;
        RolePhase phase = RolePhase::None;
        bool force = false;
        uint64_t peer_primary_since_ms = kNotTimed;  // it is, or was, given a moment
        unsigned volume = 0;       // AskPeer: the one the peer is asked for
        unsigned waiting = 0;      // Record: volumes that have not answered
        bool withdrawing = false;  // a volume failed; the others take it back
        bool unreachable = false;  // the peer was lost over it
        char error[DRBD_ERROR_SIZE] = "";
    } change_;

    // What the peer is being asked.
    struct {
        Question question = Question::None;
        unsigned volume = 0;
        uint64_t since_ms = 0;
    } asked_;

    // What the peer asked, answered as soon as it is on the disk.
    struct {
        bool waits = false;
        bool ends = false;  // and then it closes the connection
        drbd::wire::Packet packet = drbd::wire::Packet::StateChangeReply;
        unsigned volume = 0;
    } to_answer_;

    // The graceful end that is under way.
    struct {
        uint64_t number = 0;
        unsigned attempt = 0;
        bool is_asked = false;
        drbd::EndTerms terms;
    } ending_;
};
