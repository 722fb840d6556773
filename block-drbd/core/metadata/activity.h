// SPDX-License-Identifier: GPL-2.0-or-later
// A piece of metadata work that takes several jobs: attaching a disk, writing a
// transaction, leaving clean metadata.  It is asked for the next job when the
// one before is done; what happens between two jobs is decided under the lock,
// so the order of jobs is the order in which things become stable.  The
// folder's activities are the only code that makes DrbdJobs: nothing else
// writes metadata.  A volume runs one activity at a time (api/volume.h).
#pragma once

#include <cstring>

#include "core/base/result.h"
#include "drbd-core.h"
#include "metafmt/block.h"

namespace drbd {

class Activity {
  public:
    // Fills the next job, or returns false: the work has ended, well or not.
    virtual bool next(DrbdJob& job) = 0;

    // The layer below failed the job that was handed out last; none follows.
    virtual void failed(int error) = 0;

    const Result<void>& result() const { return result_; }

  protected:
    ~Activity() = default;

    void fail(Error error) { result_ = Result<void>(error); }
    void fail_io(const char* what, int error) {
        fail(Error::of(error == -28 ? ErrorCode::NoSpace : ErrorCode::Io, "%s failed: %s", what,
                       std::strerror(-error)));
    }
    void begin() { result_ = Result<void>(); }

  private:
    Result<void> result_;
};

// Jobs are filled through these, so that every one begins in a known state.
inline void start_job(DrbdJob& job, DrbdJobKind kind) {
    job.kind = kind;
    job.target = DRBD_TARGET_METADATA;
    job.flush_image_first = job.fua = job.flush_after = job.flush_foreign = false;
    job.nr_parts = 0;
}

inline void add_part(DrbdJob& job, Bytes offset, void* buffer, Bytes size) {
    DRBD_ASSERT(job.nr_parts < DRBD_JOB_MAX_PARTS);
    job.parts[job.nr_parts++] = {offset.value, buffer, static_cast<uint32_t>(size.value)};
}

}  // namespace drbd
