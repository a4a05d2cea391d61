/* One accepted TCP stream: cutting it into frames, and writing frames without ever waiting. The twin of pyplane/streams.py.
 *
 * One worker reads a stream; anybody sends. Sending is under the stream's mutex; what the socket does not take at once waits in
 * a bounded backlog, which the reading worker empties when epoll says that the socket is writable (EPOLLOUT is armed while the
 * backlog is not empty). The reading worker alone closes the descriptor; everybody else asks for it by `stream_abort`.
 */
#ifndef PORTWAY_STREAM_H
#define PORTWAY_STREAM_H

#include <pthread.h>
#include <stdatomic.h>

#include "octets.h"
#include "path.h"

#define MOST_FRAME 10240 /* as tunnel/stream_framing.py */

struct peer;

struct stream_limits {
    size_t backlog;         /* octets of data that may wait */
    size_t control_backlog; /* octets of control packets that may wait on top; beyond that the stream is aborted */
    unsigned close_timeout_ms;
};

struct stream {
    struct path path; /* fixed */
    unsigned worker;  /* that reads it; fixed */
    _Atomic(struct peer *) peer; /* who was let in on it; written by control */
    _Atomic bool is_full; /* data must be dropped: the client does not read as fast as it is sent to */

    struct stream_limits limits; /* fixed */
    int epoll; /* of the worker that reads; fixed */
    pthread_mutex_t mutex; /* for writing what follows; the reading worker reads the first three without it */
    int fd;                /* -1 once closed, which the reading worker alone does */
    _Atomic bool closing;  /* `stream_close` was asked: no more data, then our side is shut */
    _Atomic bool aborted;  /* ended, but for the descriptor; `closing` too */
    uint64_t deadline;     /* ms of CLOCK_MONOTONIC, when closing */
    uint8_t *waiting;      /* backlog: a ring, allocated with the first octet that waits, freed when nothing does */
    size_t room, begin, used;

    /* Of the reading worker, alone: the beginning of a frame whose end has not arrived. */
    uint8_t *partial; /* allocated when a frame is cut; MOST_FRAME + 2 */
    size_t partial_used;
};

/* Takes over a connected, non-blocking socket: sets TCP_NODELAY and a send buffer of 1 MB and adds it to `epoll` (level-triggered,
 * EPOLLIN | EPOLLRDHUP, data.ptr = the stream). Gives the stream, or negative errno; the socket stays the caller's then. */
int stream_new(int fd, int epoll, unsigned worker, const struct path *path, const struct stream_limits *limits,
               struct stream **stream);
/* For `reclaim_later`; closes what is still open. */
void stream_free(void *stream);

/* What reading gives, frame by frame. */
typedef void (*stream_take)(void *context, struct stream *stream, struct span frame);

enum stream_state { STREAM_OPEN, STREAM_ENDED };

/* By the reading worker: read once into `buffer` (64 KB or so, the worker's own; at least MOST_FRAME + 2) and hand over whole
 * frames. All of them lie in `buffer`, where they stay until it is used again, those too whose beginning came earlier. Frames after
 * `stream_close` are discarded. STREAM_ENDED: the other side closed, or the stream was aborted or is out of step (a length of 0 or
 * over MOST_FRAME); the frames before that were handed over. `stream_end` is due then. */
enum stream_state stream_read(struct stream *stream, struct span buffer, stream_take take, void *context);
/* By the reading worker, when epoll says writable: write what waits. STREAM_ENDED as above. */
enum stream_state stream_write(struct stream *stream);
/* By the reading worker, once a second: whether the time for closing is up. */
bool stream_is_overdue(struct stream *stream, uint64_t now);
/* By the reading worker: take it out of epoll and close the descriptor. Idempotent. */
void stream_end(struct stream *stream);

/* By anybody: a run of packets (run.h), each in a frame of its own. Returns how many were not taken: 0, or all. A stream that is full
 * or closing takes none, nor is anything taken that is no run. */
unsigned stream_send_data(struct stream *stream, struct span packets, size_t segment, unsigned count);
/* The same for one control packet, which may not be dropped: a client that lets too much wait is aborted. */
void stream_send_control(struct stream *stream, struct span packet);
/* Write what waits, then shut our side, then wait for the client's; all that within `close_timeout_ms` of `now`. */
void stream_close(struct stream *stream, uint64_t now);
/* End it at once: the reading worker will notice. */
void stream_abort(struct stream *stream);

#endif
