/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The border of the core: every input and every output.
 *
 * The core decides and does nothing else: no I/O, no thread, no clock, no
 * memory from outside after attach.  Somebody (the QEMU shim, a simulator, a
 * unit test) tells it what happened with the drbd_on_...() functions, does the
 * steps they return, and empties the queues named by drbd_resource_pending().
 *
 * Locking.  The core has no lock.  Every function here must be called with the
 * caller's one lock of that resource held, and every pointer that it returns
 * is borrowed: valid until the next call that the function's comment names.
 * Nothing calls back, nothing blocks, so the lock is held for the decision
 * alone.
 *
 * Order.  A guest request is driven by its own coroutine: each call returns
 * the next step of that request.  Everything else (metadata jobs, wake-ups,
 * notices) waits in ordered queues of the resource, whoever caused it.  After
 * any call the caller looks at drbd_resource_pending() and kicks the queues
 * that are not empty.
 *
 * Life of a volume: open (it exists, Diskless), create-md if it has no
 * metadata, attach (metadata read, activity log replayed), role, detach,
 * close.  They are separate steps: a node of QEMU may be open and own nothing.
 *
 * Errors.  Functions that can refuse take `char error[DRBD_ERROR_SIZE]`; the
 * text says what is wrong, where and what to do next.  Values that come from a
 * disk or a user never trip an assertion; a wrong sequence of calls does.
 */
#ifndef DRBD_CORE_H
#define DRBD_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    DRBD_ERROR_SIZE = 256,   /* bytes of an error text, with its NUL */
    DRBD_MAX_VOLUMES = 16,   /* volumes of one resource */
    DRBD_AL_EXTENTS_MIN = 67, /* of a disk's activity log */
    DRBD_AL_EXTENTS_MAX = 65534,
    DRBD_JOB_MAX_PARTS = 64, /* pieces of one metadata job */
    DRBD_MAX_SOCKETS = 8,    /* TCP connections of one resource at a time, those being made included */
    DRBD_SEND_PARTS = 128,   /* pieces that one call of sendmsg() takes */
    DRBD_DIGEST_SIZE = 64,   /* bytes of the longest digest */
    DRBD_NAME_SIZE = 64,     /* name of an algorithm, with its NUL */
};

typedef struct DrbdResource DrbdResource; /* one resource: its volumes and queues */
typedef struct DrbdRequest DrbdRequest;   /* one guest request; owned by the core */

/* ------------------------------------------------------------ resource -- */

typedef struct DrbdResourceConfig {
    const char *name;     /* for texts; copied */
    unsigned nr_volumes;  /* 1..DRBD_MAX_VOLUMES; the role concerns all of them */
    unsigned max_requests; /* pool of guest requests, all volumes; 0 = default */
    uint64_t random_seed[2]; /* from a good source: data generations are drawn from it */
} DrbdResourceConfig;

/* NULL and a text if the configuration makes no sense. */
DrbdResource *drbd_resource_new(const DrbdResourceConfig *config, char error[DRBD_ERROR_SIZE]);

/* All volumes must be closed. */
void drbd_resource_free(DrbdResource *resource);

/* Bits of drbd_resource_pending(). */
enum {
    DRBD_PENDING_WAKE = 1 << 0,   /* drbd_next_wake() has somebody */
    DRBD_PENDING_NOTICE = 1 << 1, /* drbd_next_notice() has one */
    DRBD_PENDING_NET = 1 << 2,    /* drbd_next_net_action() has one */
    DRBD_PENDING_PEER_IO = 1 << 3, /* drbd_next_peer_io() has one */
    DRBD_PENDING_RELEASE = 1 << 4, /* drbd_next_release() has one */
    DRBD_PENDING_TIMER = 1 << 5,  /* drbd_next_deadline_ms() has changed since it was asked */
    DRBD_PENDING_SEND = 1 << 6,   /* drbd_pending_sockets() is not 0 */
    DRBD_PENDING_RECEIVE = 1 << 7, /* a socket that had to stop reading may read again: drbd_may_receive() */
    DRBD_PENDING_JOB_SHIFT = 16,  /* bit 16 + n: volume n has a job to hand out */
};
#define DRBD_PENDING_NETWORK                                                                              \
    (DRBD_PENDING_NET | DRBD_PENDING_PEER_IO | DRBD_PENDING_RELEASE | DRBD_PENDING_TIMER |               \
     DRBD_PENDING_SEND | DRBD_PENDING_RECEIVE)
#define DRBD_PENDING_ALL UINT32_MAX

/* Which queues have something to take now, of those asked for: bits of `queues`.  Those of the network cost
 * more than all others together; who has kicked it already does without them. */
uint32_t drbd_resource_pending(const DrbdResource *resource, uint32_t queues);

/* ---------------------------------------------------------- connection -- */

/*
 * Two TCP connections to the peer, the streams `data` and `meta` (spec section
 * 1).  The core says when to listen and dial, which of the sockets are kept and
 * when one is closed; its caller moves bytes.  A socket is a number below
 * DRBD_MAX_SOCKETS, given by the core, free again after drbd_on_closed().
 *
 * Whoever reads and writes a socket is one thread per resource, so that for one
 * socket at most one drbd_on_bytes/_bulk/_eof is under way, and at most one
 * drbd_next_send .. drbd_on_sent.  Both may come from that thread without the
 * lock in between.
 *
 * Time is the caller's monotonic clock in milliseconds.  drbd_on_time() tells
 * it; it is called at the deadline or soon after, and before any other event of
 * the network.  drbd_on_clock() before everything else that may send, a guest's
 * request or a command: a timeout that began at the last event of the network
 * would end too early after a silence.
 */

typedef enum DrbdProtocol { DRBD_PROTOCOL_A = 1, DRBD_PROTOCOL_B = 2, DRBD_PROTOCOL_C = 3 } DrbdProtocol;

/* Pure functions that the core may call: the only calls out of it, a few for
 * one handshake.  Both return false if they cannot. */
typedef struct DrbdCrypto {
    void *opaque;
    /* HMAC of `data` with the resource's secret by cram_hmac_alg: cram_digest_size bytes. */
    bool (*hmac)(void *opaque, const void *data, size_t length, uint8_t digest[DRBD_DIGEST_SIZE]);
    bool (*random)(void *opaque, void *bytes, size_t length);
} DrbdCrypto;

/*
 * Options of drbd.conf's `net` section and what `disk` says to the peer, by
 * their names and units there (spec 9.2).  0 means the default, unless noted.
 * Texts are copied.
 */
typedef struct DrbdNetConfig {
    DrbdProtocol protocol;         /* 0 = C */
    unsigned protocol_version_min; /* 86..101 */
    unsigned protocol_version_max;
    bool features_given;           /* else all that we know */
    uint32_t features;             /* TRIM 1, THIN_RESYNC 2, WSAME 4, WZEROES 8 */
    unsigned timeout;              /* 0.1 s, 60 */
    unsigned ping_timeout;         /* 0.1 s, 5 */
    unsigned socket_check_timeout; /* 0.1 s; 0 = ping_timeout */
    unsigned connect_int;          /* s, 10 */
    unsigned ping_int;             /* s, 10 */
    bool ko_count_given;           /* else 7 */
    unsigned ko_count;             /* 0 = off */
    unsigned drain_timeout;        /* 0.1 s; 0 = ko_count * timeout, or timeout if ko_count is off */
    unsigned max_epoch_size;       /* writes, 2048 */
    unsigned max_buffers;          /* pages of 4 KiB that requests of the peer and a resync may hold, 8192 */
    unsigned after_sb_0pri, after_sb_1pri, after_sb_2pri; /* numbers of the wire (spec 3.2), 0 = disconnect */
    bool always_asbp;
    unsigned rr_conflict;          /* 0 disconnect, 1 call-pri-lost, 2 violently */
    bool no_use_rle;               /* use-rle is on by default */
    char data_integrity_alg[DRBD_NAME_SIZE]; /* empty = off */
    unsigned integrity_digest_size; /* bytes of it */
    char verify_alg[DRBD_NAME_SIZE], csums_alg[DRBD_NAME_SIZE]; /* compared, not used yet */
    char cram_hmac_alg[DRBD_NAME_SIZE]; /* empty = no authentication */
    unsigned cram_digest_size;
    DrbdCrypto crypto;             /* with cram_hmac_alg */
    unsigned resync_rate;          /* KiB/s; told to the peer, 250 */
    unsigned c_plan_ahead, c_delay_target, c_fill_target, c_max_rate; /* told to the peer; all 0 = defaults */
} DrbdNetConfig;

/*
 * How to reach the peer.  Before the first connect, or later: timeouts and
 * policies hold from then on; protocol, versions, features and algorithms only
 * while StandAlone (false and a text otherwise).
 */
bool drbd_on_net_config(DrbdResource *resource, const DrbdNetConfig *config, char error[DRBD_ERROR_SIZE]);

/* Operations (see below).  Connect succeeds when the attempts begin: it is no
 * wait for the peer.  discard_my_data holds for the next handshake. */
uint64_t drbd_on_connect(DrbdResource *resource, bool discard_my_data, char error[DRBD_ERROR_SIZE]);
/* Graceful unless `force`: tells the peer and waits for its answer (spec 5.7). */
uint64_t drbd_on_disconnect(DrbdResource *resource, bool force, char error[DRBD_ERROR_SIZE]);

void drbd_on_time(DrbdResource *resource, uint64_t now_ms);
/* What the clock says, and no more: nothing falls due by it. */
void drbd_on_clock(DrbdResource *resource, uint64_t now_ms);
/* When drbd_on_time() must be called next; UINT64_MAX: no need. */
uint64_t drbd_next_deadline_ms(DrbdResource *resource);

typedef enum DrbdNetActionKind {
    DRBD_NET_LISTEN,   /* on the local address, until UNLISTEN; a failure: drbd_on_listen_failed() */
    DRBD_NET_UNLISTEN,
    DRBD_NET_DIAL,     /* `socket`: from the local address, any port, to the peer's; within timeout_ms */
    DRBD_NET_CLOSE,    /* `socket`: close it, or stop dialling; then drbd_on_closed().  What is under way
                          on it is told no more, except the end of a send. */
} DrbdNetActionKind;

typedef struct DrbdNetAction {
    DrbdNetActionKind kind;
    unsigned socket;
    unsigned timeout_ms;
} DrbdNetAction;

/* The next thing to do, in order; false if there is none. */
bool drbd_next_net_action(DrbdResource *resource, DrbdNetAction *action);

/* The local address cannot be listened on: the resource goes StandAlone. */
void drbd_on_listen_failed(DrbdResource *resource, const char *text);
/* It cannot yet, and is tried again by the caller; NULL: it is listened on now. */
void drbd_on_listen_delayed(DrbdResource *resource, const char *text);
/* The end of a DIAL: NULL, or why it failed (that is normal, and tried again).
 * TCP_NODELAY is the caller's to set, also on accepted sockets. */
void drbd_on_dialled(DrbdResource *resource, unsigned socket, const char *error);
/* Somebody connected to our address: his socket's number, or -1 (close it). */
int drbd_on_accepted(DrbdResource *resource);
void drbd_on_closed(DrbdResource *resource, unsigned socket);

/* --- receiving --- */

typedef enum DrbdReceive {
    DRBD_RECEIVE_MORE,  /* all was taken; read on */
    DRBD_RECEIVE_BULK,  /* `taken` bytes were taken, and bulk->bytes of payload follow: get them into a
                           buffer, then drbd_on_bulk(), and only then go on with drbd_on_bytes() */
    DRBD_RECEIVE_STALL, /* `taken` bytes were taken, no more for now: keep the rest and do not read until
                           drbd_may_receive() */
    DRBD_RECEIVE_CLOSED, /* the socket is being given up: forget the rest, read no more */
} DrbdReceive;

typedef struct DrbdBulk {
    uint32_t bytes;         /* of payload */
    bool discard;           /* it is of no use: no buffer, just pass over it */
    bool has_digest;        /* compare data_integrity_alg over the payload with this */
    uint8_t digest[DRBD_DIGEST_SIZE];
} DrbdBulk;

/* Bytes that came on a socket, in any pieces. */
DrbdReceive drbd_on_bytes(DrbdResource *resource, unsigned socket, const void *bytes, size_t length,
                          size_t *taken, DrbdBulk *bulk);
/* The payload that DRBD_RECEIVE_BULK asked for.  The buffer (aligned for the
 * image, NULL if discard) is the core's until drbd_next_release().  Not called
 * if the socket was to be closed meanwhile. */
void drbd_on_bulk(DrbdResource *resource, unsigned socket, void *buffer, bool digest_ok);
/* End of the stream, or an error of reading or writing (NULL: plain end). */
void drbd_on_eof(DrbdResource *resource, unsigned socket, const char *error);
/* False: a STALL still holds.  Look again after every call of the core. */
bool drbd_may_receive(const DrbdResource *resource, unsigned socket);

/* --- sending --- */

typedef struct DrbdSendPart {
    const void *data;
    size_t bytes;
} DrbdSendPart;

typedef struct DrbdSend {
    unsigned nr_parts;
    size_t bytes;               /* of all parts */
    DrbdSendPart parts[DRBD_SEND_PARTS];
} DrbdSend;

/* Bit n: socket n has something to send that is not handed out. */
uint32_t drbd_pending_sockets(const DrbdResource *resource);
/* Everything that is queued for the socket, as much as fits; false if nothing
 * is.  The parts stay valid until drbd_on_sent(), which must follow, also if
 * the socket is closed meanwhile. */
bool drbd_next_send(DrbdResource *resource, unsigned socket, DrbdSend *send);
/* So many bytes of it were sent, 0 to all; the rest is handed out again. */
void drbd_on_sent(DrbdResource *resource, unsigned socket, size_t bytes);

/* --- the image, on behalf of the peer --- */

typedef enum DrbdPeerIoKind {
    DRBD_PEER_READ,   /* the caller brings the buffer, and gives it with the result */
    DRBD_PEER_WRITE,
    DRBD_PEER_ZEROES, /* write zeroes, MAY_UNMAP if may_unmap */
    DRBD_PEER_FLUSH,  /* of the image */
    DRBD_PEER_STATUS, /* result 1: the whole range reads as zero, through every layer; 0: it may not */
} DrbdPeerIoKind;

typedef struct DrbdPeerIo {
    DrbdPeerIoKind kind;
    uint32_t id;
    unsigned volume;
    uint64_t offset;
    uint32_t bytes;
    void *buffer;      /* WRITE */
    bool fua;
    bool may_unmap;
    bool wants_digest; /* READ: data_integrity_alg over the data */
} DrbdPeerIo;

/* The next I/O to do on an image, or false.  Many may be under way; each ends
 * with drbd_on_peer_io_done().  While the volume is drained, and no guest
 * request of a drained volume is in flight, none is handed out. */
bool drbd_next_peer_io(DrbdResource *resource, DrbdPeerIo *io);
/* `result` is 0 (STATUS: 0 or 1) or a negative errno.  `buffer` (READ that
 * worked, else NULL) is the core's until drbd_next_release(). */
void drbd_on_peer_io_done(DrbdResource *resource, uint32_t id, int result, void *buffer,
                          const uint8_t *digest);

/* A buffer that came by drbd_on_bulk() or a READ and is not needed any more. */
bool drbd_next_release(DrbdResource *resource, void **buffer, size_t *bytes);

/* -------------------------------------------------------------- volume -- */

typedef enum DrbdPlacement {
    DRBD_PLACEMENT_INTERNAL, /* at the end of the image */
    DRBD_PLACEMENT_FLEXIBLE, /* a metadata device of its own */
    DRBD_PLACEMENT_INDEXED,  /* a slot of 128 MiB of a shared metadata device */
} DrbdPlacement;

typedef enum DrbdOnIoError {
    DRBD_ON_IO_ERROR_DETACH,  /* give the disk up */
    DRBD_ON_IO_ERROR_PASS_ON, /* tell the guest, mark the range, keep the disk */
} DrbdOnIoError;

typedef struct DrbdDiskConfig {
    uint64_t image_bytes;    /* size of the image now */
    uint64_t metadata_bytes; /* size of the metadata device; of the image if internal */
    DrbdPlacement placement;
    unsigned metadata_index; /* slot, if indexed */
    unsigned al_extents;     /* hot extents of 4 MiB, DRBD_AL_EXTENTS_MIN to _MAX; 0 = default (1237) */
    DrbdOnIoError on_io_error;
} DrbdDiskConfig;

/* Step one: the volume exists and is Diskless.  False and a text if the number
 * is out of range or taken. */
bool drbd_volume_open(DrbdResource *resource, unsigned volume, char error[DRBD_ERROR_SIZE]);

/* The volume must be Diskless with no operation pending and no request in flight,
 * those included that have completed and the peer has yet to confirm: after
 * drbd_on_leave(), which waits for them, it is so. */
void drbd_volume_close(DrbdResource *resource, unsigned volume);

/* Size that the guest sees, in bytes: the agreed size while attached, the last
 * one known otherwise, 0 before the first attach. */
uint64_t drbd_volume_bytes(const DrbdResource *resource, unsigned volume);

/* The image may answer for the volume (block status, allocation): UpToDate. */
bool drbd_volume_is_up_to_date(const DrbdResource *resource, unsigned volume);

/* From attach began until the disk is gone: the children must be writable. */
bool drbd_volume_needs_disk(const DrbdResource *resource, unsigned volume);

/* ---------------------------------------------------------- operations -- */

/*
 * An operation takes as long as the disk does.  The functions return its
 * number (> 0) and the result comes as a DRBD_NOTICE_OPERATION, perhaps already
 * queued when the function returns; or 0 and a text when it is refused at once,
 * and then nothing has changed.
 */

/* Read the metadata, replay the activity log, become Secondary with a disk. */
uint64_t drbd_on_attach(DrbdResource *resource, unsigned volume, const DrbdDiskConfig *disk,
                        char error[DRBD_ERROR_SIZE]);

/* Give the disk up in an orderly way: requests in flight end first.  A
 * Secondary leaves clean metadata.  A Primary without a peer is refused unless
 * `force`, which leaves it as a crash would. */
uint64_t drbd_on_detach(DrbdResource *resource, unsigned volume, bool force,
                        char error[DRBD_ERROR_SIZE]);

/* Orderly end of a node (blockdev-del, quit, inactivation): nobody writes any
 * more.  Flush, leave the Primary role on this volume's disk, detach clean.
 * `inactivate` remembers the role for drbd_on_activate(). */
uint64_t drbd_on_leave(DrbdResource *resource, unsigned volume, bool inactivate,
                       char error[DRBD_ERROR_SIZE]);

/* Attach again after an inactivation, in the role of then.  A data generation
 * that this Primary needs is made by the first guest write, not here. */
uint64_t drbd_on_activate(DrbdResource *resource, unsigned volume, const DrbdDiskConfig *disk,
                          bool primary, char error[DRBD_ERROR_SIZE]);

/* Role of the resource: all volumes or none. */
uint64_t drbd_on_set_role(DrbdResource *resource, bool primary, bool force,
                          char error[DRBD_ERROR_SIZE]);

/* Write fresh metadata.  The volume must be Diskless.  Refused if something is
 * in the way (a file system, metadata), unless `force`. */
typedef struct DrbdCreateMd {
    bool force;
    uint32_t al_stripes;        /* 0 = 1 */
    uint32_t al_stripe_size_kb; /* 0 = 32 */
    uint32_t peer_max_bio_size; /* bytes, 0 = not known */
} DrbdCreateMd;
uint64_t drbd_on_create_md(DrbdResource *resource, unsigned volume, const DrbdDiskConfig *disk,
                           const DrbdCreateMd *options, char error[DRBD_ERROR_SIZE]);

/* Own data is declared worthless: Inconsistent, every bit set.  Secondary, or
 * connected: then everything is resynced from the peer (spec 7.1). */
uint64_t drbd_on_invalidate(DrbdResource *resource, unsigned volume, char error[DRBD_ERROR_SIZE]);

/* Own data is declared old: Outdated.  Secondary only. */
uint64_t drbd_on_outdate(DrbdResource *resource, unsigned volume, char error[DRBD_ERROR_SIZE]);

/* The peer's data is declared worthless: connected, everything is resynced to
 * it; StandAlone on a Primary, every bit is set. */
uint64_t drbd_on_invalidate_remote(DrbdResource *resource, unsigned volume, char error[DRBD_ERROR_SIZE]);

/* A new data generation.  With `clear_bitmap` on a connected pair of fresh
 * disks: both hold the same bytes, no first sync (spec 5.10); refused without
 * `force`, because nobody looks whether they do (design D16). */
uint64_t drbd_on_new_current_uuid(DrbdResource *resource, unsigned volume, bool clear_bitmap, bool force,
                                  char error[DRBD_ERROR_SIZE]);

/* on-io-error may change while attached. */
void drbd_on_disk_options(DrbdResource *resource, unsigned volume, DrbdOnIoError on_io_error);

/* -------------------------------------------------------------- drain -- */

/*
 * Between begin and end (they nest) no metadata job is handed out while no
 * guest request of the volume is in flight, so that the node comes to rest.
 * Jobs of an operation begun by drbd_on_leave() or drbd_on_activate() are
 * handed out all the same: their caller waits for them inside a drained section.
 */
void drbd_on_drain_begin(DrbdResource *resource, unsigned volume);
void drbd_on_drain_end(DrbdResource *resource, unsigned volume);

/* ------------------------------------------------------ guest requests -- */

typedef enum DrbdRequestKind {
    DRBD_REQUEST_READ,
    DRBD_REQUEST_WRITE,
    DRBD_REQUEST_ZEROES,  /* write zeroes; MAY_UNMAP allowed */
    DRBD_REQUEST_DISCARD, /* as zeroes that may unmap, but a failure is no disk failure */
    DRBD_REQUEST_FLUSH,   /* offset and bytes 0 */
} DrbdRequestKind;

enum {
    DRBD_REQUEST_FUA = 1 << 0,
    DRBD_REQUEST_MAY_UNMAP = 1 << 1,
};

typedef enum DrbdStep {
    DRBD_STEP_WAIT,     /* yield; when woken call drbd_request_step() */
    DRBD_STEP_RETRY,    /* yield; when woken call drbd_on_guest_request() again: no request free */
    DRBD_STEP_COPY,     /* a write: copy its payload once (design D5), then drbd_on_copied() */
    DRBD_STEP_SUBMIT,   /* do the request on the image, then drbd_on_local_done(); a copied write from the copy */
    DRBD_STEP_DELIVER,  /* a read that the peer answered: hand drbd_request_answer() to the guest, then
                           drbd_on_delivered() */
    DRBD_STEP_COMPLETE, /* drbd_request_end() gives the result */
} DrbdStep;

/* Where a caller stands that got DRBD_STEP_RETRY; lives on its stack. */
typedef struct DrbdWaiter {
    void *owner;
    struct DrbdWaiter *next;
} DrbdWaiter;

/*
 * A guest wants something.  `owner` (never NULL) is what drbd_next_wake()
 * returns when the request may go on: exactly one wake-up follows each
 * DRBD_STEP_WAIT or DRBD_STEP_RETRY, and none anything else.
 *
 * `offset` and `bytes` are multiples of 512 and lie inside the volume; a disk that
 * has become smaller since a RETRY makes the step COMPLETE with EIO.  On a
 * Secondary, without a disk, or in a state that forbids it the step is COMPLETE
 * with a negative errno at once (EROFS for changes, EIO for reads on a
 * Secondary).  *request is set unless the step is RETRY.
 *
 * Order of what is done for a write: the activity log covers it (a transaction
 * may have to reach the disk: WAIT), COPY if there is a peer to tell, SUBMIT,
 * then it may have to WAIT until its completion is allowed (the peer has it, a
 * new data generation is stable).  After a read that failed, or without a disk,
 * the peer is asked: WAIT, DELIVER.
 */
DrbdStep drbd_on_guest_request(DrbdResource *resource, unsigned volume, DrbdRequestKind kind,
                               uint64_t offset, uint64_t bytes, unsigned flags, void *owner,
                               DrbdWaiter *waiter, DrbdRequest **request);

/* The next step of a request that has been woken. */
DrbdStep drbd_request_step(DrbdRequest *request);

/* Valid with DRBD_STEP_COPY: a digest (data_integrity_alg) is wanted of each so
 * many bytes of the payload, the last piece may be shorter; 0: none is. */
uint32_t drbd_request_digest_piece(const DrbdRequest *request);

/* The payload's copy, which the image, the network and digests read; it must
 * stay as it is until drbd_request_end().  `digest`: those that are wanted, one
 * behind the other, kept as long; else NULL.  Not under the lock: copying. */
DrbdStep drbd_on_copied(DrbdRequest *request, const void *payload, const uint8_t *digest);

/* Valid with DRBD_STEP_DELIVER: `bytes` of the answer for the guest, at `offset`
 * from the request's beginning.  A large read comes in several parts, and each
 * is a step. */
const void *drbd_request_answer(const DrbdRequest *request, uint64_t *offset, size_t *bytes);
DrbdStep drbd_on_delivered(DrbdRequest *request);

/* The image has done it: `result` is 0 or a negative errno. */
DrbdStep drbd_on_local_done(DrbdRequest *request, int result);

/* After DRBD_STEP_COMPLETE, once: 0 or a negative errno for the guest.  The
 * request is gone for the caller. */
int drbd_request_end(DrbdRequest *request);

/* Somebody who may go on (the `owner` of a request), or NULL. */
void *drbd_next_wake(DrbdResource *resource);

/* ------------------------------------------------------- metadata jobs -- */

typedef enum DrbdJobKind {
    DRBD_JOB_READ,
    DRBD_JOB_WRITE,
} DrbdJobKind;

typedef enum DrbdJobTarget {
    DRBD_TARGET_METADATA, /* the metadata device; the image if internal */
    DRBD_TARGET_IMAGE,    /* the image */
} DrbdJobTarget;

typedef struct DrbdJobPart {
    uint64_t offset; /* bytes from the start of the target, multiple of 512 */
    void *buffer;    /* 512-byte aligned or better */
    uint32_t bytes;  /* multiple of 512, at most 1 MiB */
} DrbdJobPart;

/*
 * The only way metadata is read or written.  One job of a volume at a time; it
 * is done in this order: flush the image if `flush_image_first`; all parts, in
 * any order or at once (each with FUA if `fua`); flush the target if
 * `flush_after`.  The first error ends it and is its result.  A job may have no
 * part.
 */
typedef struct DrbdJob {
    DrbdJobKind kind;
    DrbdJobTarget target;
    bool flush_image_first;
    bool fua;
    bool flush_after;
    bool flush_foreign; /* the flushes must reach the disk even if this process wrote nothing:
                           somebody before it may have */
    unsigned nr_parts;
    DrbdJobPart parts[DRBD_JOB_MAX_PARTS];
} DrbdJob;

/* The job to do now, or NULL.  It and its buffers stay valid, and no other is
 * handed out for the volume, until drbd_on_job_done(). */
const DrbdJob *drbd_next_job(DrbdResource *resource, unsigned volume);

/* `result` is 0 or a negative errno. */
void drbd_on_job_done(DrbdResource *resource, unsigned volume, int result);

/* ------------------------------------------------------------- notices -- */

typedef enum DrbdNoticeKind {
    DRBD_NOTICE_STATE,     /* one field of the state changed */
    DRBD_NOTICE_OPERATION, /* an operation ended */
    DRBD_NOTICE_WARNING,   /* an administrator should know */
    DRBD_NOTICE_PEER_LOST, /* the connection ended; text says why */
    DRBD_NOTICE_SPLIT_BRAIN, /* both sides keep their data; text says what to do */
    DRBD_NOTICE_RESYNC,    /* began, goes on (at most once a second), ended: see `resync` */
} DrbdNoticeKind;

typedef enum DrbdResyncPhase {
    DRBD_RESYNC_STARTED,
    DRBD_RESYNC_PROGRESS,
    DRBD_RESYNC_FINISHED,
    DRBD_RESYNC_ABORTED,   /* connection or disk lost: goes on when the nodes meet again */
} DrbdResyncPhase;

typedef struct DrbdResyncNotice {
    DrbdResyncPhase phase;
    bool source;           /* this node gives the data */
    uint64_t total_bytes;  /* that differed at the start */
    uint64_t left_bytes;
    uint64_t failed_bytes; /* could not be read or written somewhere */
} DrbdResyncNotice;

typedef struct DrbdNotice {
    DrbdNoticeKind kind;
    int volume;             /* -1: the resource */
    uint64_t operation;     /* OPERATION: its number; else the operation that caused it, or 0 */
    const char *field;      /* STATE: role, disk, peer-disk, connection */
    const char *old_value;  /* STATE: by its DRBD name: Primary, UpToDate ... */
    const char *new_value;
    bool success;           /* OPERATION */
    const char *command;    /* OPERATION: attach, detach, set-role ... */
    DrbdResyncNotice resync; /* RESYNC */
    char text[DRBD_ERROR_SIZE]; /* reason of a change, error of an operation, warning */
} DrbdNotice;

/* Copies the oldest notice out and removes it; false if there is none. */
bool drbd_next_notice(DrbdResource *resource, DrbdNotice *notice);

/* -------------------------------------------------------------- status -- */

typedef enum DrbdRole { DRBD_ROLE_SECONDARY, DRBD_ROLE_PRIMARY } DrbdRole;

typedef struct DrbdResourceStatus {
    DrbdRole role;
    const char *connection;  /* connection state by its DRBD name */
    unsigned nr_volumes;     /* as configured */
    unsigned nr_open, nr_attached;
    unsigned requests_in_use, requests_max;
    unsigned operations_pending;
    uint64_t requests_waited_for_pool;
    const char *promotable_reason; /* NULL if a promotion would be accepted now, else why not */
} DrbdResourceStatus;
void drbd_resource_status(const DrbdResource *resource, DrbdResourceStatus *status);

/* What is known of the peer and the way to it; counters are since the resource was made. */
typedef struct DrbdConnectionStatus {
    bool configured;            /* drbd_on_net_config() was called */
    const char *state;          /* connection state by its DRBD name (of the resource: up to Connected) */
    char reason[DRBD_ERROR_SIZE]; /* why: the last error, mismatch or loss */
    const char *peer_role;
    bool has_data, has_meta;    /* the streams exist */
    bool resolve_conflicts;     /* this end accepted meta (spec 1.3) */
    unsigned agreed_version;    /* 0: none */
    uint32_t agreed_features;
    uint64_t times_connected, times_lost;
    uint64_t data_sent_bytes, data_received_bytes, meta_sent_bytes, meta_received_bytes;
    uint64_t pings_sent, pings_answered;
    unsigned last_ping_ms;
    unsigned epochs;            /* not acknowledged by the peer */
    unsigned unacknowledged;    /* writes and reads of ours that the peer has not answered */
    unsigned peer_requests, peer_requests_max; /* of the peer, being done here */
    uint64_t peer_request_bytes, peer_request_bytes_max;
    unsigned send_queue;        /* packets */
} DrbdConnectionStatus;
void drbd_connection_status(const DrbdResource *resource, DrbdConnectionStatus *status);

typedef struct DrbdVolumeStatus {
    bool open;
    const char *disk;       /* disk state by its DRBD name: Diskless, Inconsistent, UpToDate ... */
    const char *peer_disk;
    char disk_reason[DRBD_ERROR_SIZE]; /* why the disk is in that state */
    uint64_t bytes;         /* what the guest sees */
    uint64_t image_bytes, metadata_bytes;
    uint64_t current_uuid, bitmap_uuid, history_uuid[2];
    uint32_t metadata_flags; /* as the superblock has them (docs/METADATA.md) */
    uint64_t out_of_sync_bytes;
    bool busy;              /* an operation is pending on this volume */
    /* activity log */
    unsigned al_extents, al_used, al_referenced, al_waiting;
    uint64_t al_transactions, al_updates;
    uint64_t bitmap_pages_written, superblock_writes, metadata_jobs;
    /* guest I/O */
    uint64_t reads, read_bytes, writes, written_bytes, zeroes, zeroed_bytes, flushes;
    uint64_t flushes_saved, overlaps_waited, read_errors, write_errors;
    unsigned in_flight, writes_in_flight;
    unsigned drained;       /* depth of drain */
    /* connection and resync of this volume */
    const char *connection;   /* its connection state: Connected, SyncSource ... */
    const char *peer_role;
    uint64_t peer_uuid[4];    /* current, bitmap, history; 0 if not known */
    char sync_reason[DRBD_ERROR_SIZE]; /* which rule decided the direction of the last handshake */
    uint64_t sent_writes, sent_bytes, received_writes, received_bytes, remote_reads, peer_reads, negative_acks;
    bool resync_running;
    uint64_t resync_total_bytes, resync_left_bytes, resync_failed_bytes;
    uint64_t resync_rate_bytes; /* per second, lately */
    uint64_t resync_ms;         /* since it began */
    uint64_t resync_eta_ms;     /* UINT64_MAX: not known */
    uint64_t memory_bytes;  /* held for this volume: bitmap, activity log, buffers */
} DrbdVolumeStatus;
void drbd_volume_status(const DrbdResource *resource, unsigned volume, DrbdVolumeStatus *status);

/* Operations that ended lately, newest first; false when `index` is past the end. */
bool drbd_past_operation(const DrbdResource *resource, unsigned index, DrbdNotice *notice);

/* The pending operation of the resource, if any (one at a time per volume, set-role per resource). */
bool drbd_pending_operation(const DrbdResource *resource, unsigned index, uint64_t *operation,
                            const char **command, int *volume);

#ifdef __cplusplus
}
#endif

#endif
