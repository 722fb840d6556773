// SPDX-License-Identifier: GPL-2.0-or-later
// The connection of a resource: two sockets found among those that are dialled
// and accepted, the handshake of versions and secrets, keepalive, and the one
// road on which a peer is lost (spec sections 1, 2, 4.1).
//
// In: what drbd-core.h says of sockets and time, the administrator's connect
// and disconnect.  Out: actions (listen, dial, close), packets queued on a
// Link, frames handed to the listener, the phases of the connection.
// Phases: StandAlone, Unconnected, WFConnection, WFReportParams ("up": P_PROTOCOL
// has been sent), and back by Timeout..TearDown or Disconnecting.  What comes
// after WFReportParams is each volume's (api/).
// Invariants: on_connection_up() and on_connection_lost() alternate; no frame of
// a connection is handed over before the first or after the second; nothing of
// an earlier connection is taken for one of this.  A loss, whoever found it, is
// carried out in pump() and nowhere else (lose.cc).
#pragma once

#include <cstdint>
#include <utility>

#include "core/base/random.h"
#include "core/connection/establish.h"
#include "core/connection/handshake.h"
#include "core/connection/keepalive.h"
#include "core/connection/link.h"
#include "core/connection/sockets.h"
#include "core/wire/frame.h"

namespace drbd {

// What to do with the payload of a packet.
enum class BulkVerdict : uint8_t { Take, Discard, Stall };

class ConnectionListener {
  public:
    // A new phase, of the connection as a whole.  That of a loss (Timeout to
    // TearDown, Disconnecting) comes with on_connection_lost() instead, if the
    // connection was up.
    virtual void on_phase(ConnectionState phase, const char* reason) = 0;
    // Both streams stand, versions and secret are agreed, P_PROTOCOL is sent:
    // each volume's parameters are to be sent now.  The peer's P_PROTOCOL has
    // not come yet; a mismatch ends the connection.  on_phase(WFReportParams)
    // follows.
    virtual void on_connection_up() = 0;
    // The link is down already.  What was queued on it is thrown away right after
    // this, and its owners are told; what a send has under way, when that ends.
    virtual void on_connection_lost(ConnectionState how, const char* reason) = 0;
    // Everything that was asked for with Link::request_ping() is answered.
    virtual void on_ping_answered() = 0;
    // A packet with payload has been announced.  Stall: asked again in every
    // pump(); the stream is not read on until then.  Any other answer is the
    // last question for this packet: on_packet() or a loss follows.
    virtual Result<BulkVerdict> on_bulk(const wire::Frame& frame) = 0;
    // Every packet but those of the handshake, pings and P_PROTOCOL*.  `buffer`:
    // the payload, the listener's from now on (DrbdPeerIo release queue); null
    // if there is none or it was discarded.  An error ends the connection.
    virtual Result<void> on_packet(const wire::Frame& frame, void* buffer) = 0;
    // Too much of the peer's is under way: asked before a packet of data is
    // read, and again in every pump() while it holds.
    virtual bool is_stalled() const = 0;
    // A payload that nobody takes any more: to be released.
    virtual void on_buffer_unused(void* buffer, uint32_t bytes) = 0;
    // Everything of the last connection has ended (writes for the peer too): a
    // new one may begin (spec 1.7).
    virtual bool may_reconnect() const = 0;

  protected:
    ~ConnectionListener() = default;
};

class Connection {
  public:
    Connection(ConnectionListener& listener, PacketListener& packets, Random& random, const char* resource_name);
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    bool allocate(unsigned packets_max) { return pool_.allocate(packets_max); }

    // Of the resource.  Packets name their volume from protocol 100 on, so with
    // more than one nothing older is offered.
    void set_volumes(unsigned volumes) { volumes_ = volumes; }

    Link& link() { return link_; }
    const Link& link() const { return link_; }

    // Configuration.  Checked; refused while a connection stands if it changes
    // what was agreed.  Policies that changed are told to a peer that can hear
    // of it (P_PROTOCOL_UPDATE, from protocol 100 on).
    Result<void> configure(const DrbdNetConfig& config);
    bool is_configured() const { return configured_; }
    const DrbdNetConfig& config() const { return config_; }  // defaults filled in
    // How long the peer may owe something, in milliseconds: timeout, and
    // ko-count x timeout for the answer to a request.  Without ko-count nobody
    // gives up a request for its age; what has to end all the same has timeout.
    uint64_t timeout_ms() const { return config_.timeout * 100ull; }
    uint64_t answer_ms() const { return timeout_ms() * (config_.ko_count != 0 ? config_.ko_count : 1); }
    bool gives_requests_up() const { return config_.ko_count != 0; }

    // Begins to look for the peer.  Only from StandAlone, configured.
    void connect(bool discard_my_data);
    bool discard_my_data() const { return discard_my_data_; }  // of this attempt
    void clear_discard_my_data() { discard_my_data_ = false; } // when the handshake is over
    // What the peer's P_PROTOCOL said.
    bool peer_discards() const { return peer_.discard_my_data; }
    bool peer_asks_dry_run() const { return peer_.dry_run; }
    // Its P_PROTOCOL has come and agrees with ours.
    bool has_peer_parameters() const { return step_ == Step::Up && has_parameters_; }

    // Goes StandAlone, by Disconnecting, in the next pump(); nothing is told to
    // the peer.
    void stand_alone(const char* reason);
    // The peer announced the graceful end of this connection: its end, or none
    // within 4 x ping-timeout, is no error but TearDown.
    void expect_end();
    // The peer was asked for the graceful end.  A kernel closes both streams
    // behind its answer on meta; the end of data may be seen before it, and is no
    // loss for ping-timeout or until meta ends too (spec 5.7).
    void expect_answer_to_end() { answer_to_end_expected_ = true; }
    void answer_to_end_came() { answer_to_end_expected_ = false; }
    ConnectionState phase() const;
    const char* reason() const { return reason_; }

    // Events of drbd-core.h.
    void on_clock(uint64_t now_ms);
    void on_time(uint64_t now_ms);
    uint64_t next_deadline_ms() const;
    bool next_action(DrbdNetAction& action);
    bool has_action() const { return sockets_.has_action(); }
    void on_listen_failed(const char* text);
    // Empty: the peer can come.  Only what is told changes.
    void on_listen_delayed(const char* text);
    void on_dialled(unsigned socket, const char* error);
    int on_accepted();
    void on_closed(unsigned socket) { sockets_.on_closed(socket); }
    DrbdReceive on_bytes(unsigned socket, std::span<const uint8_t> bytes, size_t& taken, DrbdBulk& bulk);
    void on_bulk(unsigned socket, void* buffer, bool digest_ok);
    void on_eof(unsigned socket, const char* error);
    bool may_receive(unsigned socket) const;
    bool has_stalled_ready() const;  // somebody who stalled may go on
    uint32_t pending_sockets() const;
    bool next_send(unsigned socket, DrbdSend& send);
    void on_sent(unsigned socket, size_t bytes);

    // Carries out a loss, sends a ping that was asked for, goes on with what
    // waits.  Called at the end of every event of the core.
    void pump();

    void fill_status(DrbdConnectionStatus& status) const;
    // Numbers of data and meta; meaningful from WFReportParams on.
    std::pair<unsigned, unsigned> stream_sockets() const { return {data_, meta_}; }

  private:
    // Waiting is Unconnected; Establishing and Handshaking are WFConnection.
    enum class Step : uint8_t { StandAlone, Waiting, Establishing, Handshaking, Up };

    // connection.cc
    void advance();
    void begin_to_establish();
    void begin_handshake();
    void go_up();
    void send_pings();
    void check_keepalive(bool was_late);
    void update_watches();
    uint64_t step_timeout_ms() const { return config_.ping_timeout * 400ull; }
    uint64_t now_ms() const { return link_.now_ms(); }
    bool is_lost() const { return loss_.pending || link_.is_dropped(); }

    // receive.cc
    DrbdReceive receive_first(unsigned number, std::span<const uint8_t> bytes, size_t& taken, DrbdBulk& bulk);
    DrbdReceive receive(Socket& socket, std::span<const uint8_t> bytes, size_t& taken, DrbdBulk& bulk);
    bool may_feed(const Socket& socket) const;
    // Whether the payload may come: asks the listener.
    bool grant_bulk(Socket& socket);
    DrbdReceive announce_bulk(Socket& socket, DrbdBulk& bulk);
    void resume_stalled();
    void on_newcomer(unsigned number);
    Result<void> on_frame(Socket& socket, void* buffer);
    Result<void> on_data_frame(const wire::Frame& frame, void* buffer);
    Result<void> on_meta_frame(const wire::Frame& frame);
    Result<void> on_protocol(const wire::Frame& frame);
    Result<void> on_protocol_update(const wire::Frame& frame);
    Result<void> take_integrity(const wire::ProtocolParameters& peer);

    // lose.cc
    void fail(const Error& error);
    [[gnu::format(printf, 3, 4)]] void fail(ConnectionState how, const char* format, ...);
    void lose();
    void tear_down(ConnectionState how);

    ConnectionListener& listener_;
    char resource_name_[DRBD_NAME_SIZE];
    OutgoingPool pool_;
    Link link_;
    Sockets sockets_;
    Establish establish_;
    Handshake handshake_;
    Pings pings_;
    SendWatch watch_data_, watch_meta_;

    unsigned volumes_ = 1;
    bool configured_ = false;
    DrbdNetConfig config_{};
    Step step_ = Step::StandAlone;
    char reason_[DRBD_ERROR_SIZE] = "";
    char dial_error_[DRBD_ERROR_SIZE] = "";  // of the last dial, empty if it worked
    char listen_error_[DRBD_ERROR_SIZE] = "";  // why the peer cannot come yet
    bool discard_my_data_ = false;
    uint64_t retry_ms_ = 0;      // Waiting: not before
    uint64_t step_ends_ms_ = 0;  // Handshaking, and Up until the peer's P_PROTOCOL
    unsigned data_ = 0, meta_ = 0;
    bool has_parameters_ = false;
    bool ping_due_ = false;      // ours, not one that somebody asked for
    wire::ProtocolParameters peer_;
    uint64_t end_expected_ms_ = UINT64_MAX;
    bool answer_to_end_expected_ = false;
    uint64_t data_end_ms_ = UINT64_MAX;  // data has ended: when that is a loss

    // Why, if the link was not up or the administrator ended it.
    struct Loss {
        bool pending = false;
        bool stand_alone = false;  // the administrator's; goes before any other
        ConnectionState how = ConnectionState::NetworkFailure;
        char why[DRBD_ERROR_SIZE] = "";
    } loss_;

    uint64_t times_lost_ = 0;
    uint64_t sent_bytes_[2] = {}, received_bytes_[2] = {};  // data, meta
};

}  // namespace drbd
