/* Owns: one client's TCP connection, its framing and its backlog. Must not know what a frame is for.
 *
 * In: stream_read puts what is left of the last read before what the socket gives, so that every frame lies in the worker's
 * buffer in one piece. Only a frame that is cut by the end of a read is copied, to `partial`.
 *
 * Out: frames go to the socket from where they lie. What it does not take is copied to the ring `waiting`, and from then on
 * everything goes there until stream_write has emptied it. Frames are whole when they enter either, so the stream is never out
 * of step; when that fails, it is aborted.
 */
#define _GNU_SOURCE /* EPOLLRDHUP */
#include "stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "run.h"

/* The kernel's share of a slow client's backlog: left to itself it grows to several megabytes per stream. */
#define SEND_BUFFER (1 << 20)

#define LENGTH_SIZE 2
#define PARTIAL_SIZE (MOST_FRAME + LENGTH_SIZE)
#define MOST_FRAMES_OCTETS (MOST_GSO_OCTETS + MOST_GSO_SEGMENTS * LENGTH_SIZE)

/* A run of packets with a length before each: there are just two different lengths. */
struct frames {
    uint8_t segment[LENGTH_SIZE], last[LENGTH_SIZE];
    struct iovec pieces[2 * MOST_GSO_SEGMENTS];
    size_t count, octets;
};

static void frame_run(struct frames *frames, struct span packets, size_t segment, unsigned count)
{
    struct span last = run_packet(packets, segment, count - 1);
    store16(span_of(frames->segment, LENGTH_SIZE), 0, (uint16_t)segment);
    store16(span_of(frames->last, LENGTH_SIZE), 0, (uint16_t)last.size);
    for (unsigned i = 0; i < count; i++) {
        struct span packet = run_packet(packets, segment, i);
        frames->pieces[2 * i] = (struct iovec){i + 1 < count ? frames->segment : frames->last, LENGTH_SIZE};
        frames->pieces[2 * i + 1] = (struct iovec){packet.at, packet.size};
    }
    frames->count = 2 * (size_t)count;
    frames->octets = packets.size + count * (size_t)LENGTH_SIZE;
}

/* The ring. From here to "The interface", whoever calls holds the mutex. */

static bool watch(struct stream *stream, bool writable)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | (writable ? EPOLLOUT : 0), .data.ptr = stream};
    return epoll_ctl(stream->epoll, EPOLL_CTL_MOD, stream->fd, &event) == 0;
}

static void set_used(struct stream *stream, size_t used)
{
    stream->used = used;
    atomic_store_explicit(&stream->is_full, used > stream->limits.backlog, memory_order_relaxed);
}

static bool begin_waiting(struct stream *stream)
{
    /* Data may enter while no more than `backlog` waits, control packets while no more than both limits. */
    stream->room = stream->limits.backlog + stream->limits.control_backlog + MOST_FRAMES_OCTETS;
    stream->waiting = malloc(stream->room);
    stream->begin = 0;
    return stream->waiting && watch(stream, true);
}

static void forget_waiting(struct stream *stream)
{
    free(stream->waiting);
    stream->waiting = NULL;
    stream->room = stream->begin = 0;
    set_used(stream, 0);
}

static size_t wrapped(const struct stream *stream, size_t at)
{
    return at < stream->room ? at : at - stream->room;
}

/* `size` octets of the ring from `at` on are two parts of the memory, the second maybe empty. */
static void ring_parts(const struct stream *stream, size_t at, size_t size, struct span parts[2])
{
    struct span ring = span_of(stream->waiting, stream->room);
    size_t first = stream->room - at < size ? stream->room - at : size;
    parts[0] = part(ring, at, first);
    parts[1] = part(ring, 0, size - first);
}

static void ring_append(struct stream *stream, struct span octets)
{
    struct span parts[2];
    ring_parts(stream, wrapped(stream, stream->begin + stream->used), octets.size, parts);
    put(parts[0], 0, part(octets, 0, parts[0].size));
    put(parts[1], 0, rest(octets, parts[0].size));
    set_used(stream, stream->used + octets.size);
}

/* Let everything of the frames wait but the first `sent` octets. */
static bool append_frames(struct stream *stream, const struct frames *frames, size_t sent)
{
    if (!stream->waiting && !begin_waiting(stream))
        return false;
    if (frames->octets - sent > stream->room - stream->used)
        return false;
    for (size_t i = 0; i < frames->count; i++) {
        struct span piece = span_of(frames->pieces[i].iov_base, frames->pieces[i].iov_len);
        size_t skipped = sent < piece.size ? sent : piece.size;
        ring_append(stream, rest(piece, skipped));
        sent -= skipped;
    }
    return true;
}

/* The socket. Octets taken, 0 when it takes none now, negative when it is gone. */
static ssize_t write_pieces(const struct stream *stream, struct iovec *pieces, size_t count)
{
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = count};
    ssize_t sent = sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 && errno == EAGAIN ? 0 : sent;
}

static void abort_now(struct stream *stream)
{
    if (stream->fd < 0 || atomic_load_explicit(&stream->aborted, memory_order_relaxed))
        return;
    atomic_store_explicit(&stream->closing, true, memory_order_relaxed);
    atomic_store_explicit(&stream->aborted, true, memory_order_relaxed);
    forget_waiting(stream);
    shutdown(stream->fd, SHUT_RDWR); /* which wakes the reading worker; it may be gone by itself already */
}

/* Say that nothing more comes. Closing outright would discard what the client has not read yet. */
static bool finish(const struct stream *stream)
{
    return shutdown(stream->fd, SHUT_WR) == 0;
}

static bool write_frames(struct stream *stream, struct frames *frames)
{
    ssize_t sent = stream->used ? 0 : write_pieces(stream, frames->pieces, frames->count);
    if (sent < 0)
        return false;
    return (size_t)sent == frames->octets || append_frames(stream, frames, (size_t)sent);
}

static bool write_waiting(struct stream *stream)
{
    if (!stream->used)
        return true;
    struct span parts[2];
    ring_parts(stream, stream->begin, stream->used, parts);
    struct iovec pieces[2] = {{parts[0].at, parts[0].size}, {parts[1].at, parts[1].size}};
    ssize_t sent = write_pieces(stream, pieces, 2);
    if (sent < 0)
        return false;
    stream->begin = wrapped(stream, stream->begin + (size_t)sent);
    set_used(stream, stream->used - (size_t)sent);
    if (stream->used)
        return true;
    forget_waiting(stream);
    return watch(stream, false) && (!atomic_load_explicit(&stream->closing, memory_order_relaxed) || finish(stream));
}

static bool takes_frames(struct stream *stream)
{
    return stream->fd >= 0 && !atomic_load_explicit(&stream->closing, memory_order_relaxed);
}

static bool send_run(struct stream *stream, struct span packets, size_t segment, unsigned count)
{
    struct frames frames;
    frame_run(&frames, packets, segment, count);
    bool sent = write_frames(stream, &frames);
    if (!sent)
        abort_now(stream);
    return sent;
}

/* The interface. */

int stream_new(int fd, int epoll, unsigned worker, const struct path *path, const struct stream_limits *limits,
               struct stream **made)
{
    struct stream *stream = malloc(sizeof *stream);
    if (!stream)
        return -ENOMEM;
    *stream = (struct stream){.path = *path, .worker = worker, .limits = *limits, .epoll = epoll, .fd = fd};
    pthread_mutex_init(&stream->mutex, NULL);
    /* What a socket does not know of these, it can do without. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &(int){SEND_BUFFER}, sizeof(int));
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.ptr = stream};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) {
        int error = -errno;
        stream->fd = -1;
        stream_free(stream);
        return error;
    }
    *made = stream;
    return 0;
}

void stream_end(struct stream *stream)
{
    pthread_mutex_lock(&stream->mutex);
    if (stream->fd >= 0) {
        epoll_ctl(stream->epoll, EPOLL_CTL_DEL, stream->fd, NULL);
        close(stream->fd);
        stream->fd = -1;
    }
    forget_waiting(stream);
    pthread_mutex_unlock(&stream->mutex);
    free(stream->partial);
    stream->partial = NULL;
    stream->partial_used = 0;
}

void stream_free(void *object)
{
    struct stream *stream = object;
    stream_end(stream);
    pthread_mutex_destroy(&stream->mutex);
    free(stream);
}

/* Reading. */

static bool keep_partial(struct stream *stream, struct span octets)
{
    if (octets.size && !stream->partial)
        stream->partial = malloc(PARTIAL_SIZE);
    if (octets.size && !stream->partial)
        return false;
    stream->partial_used = octets.size;
    return put(span_of(stream->partial, PARTIAL_SIZE), 0, octets);
}

/* Hand over the whole frames of `octets`, and keep the rest; false when they are out of step. */
static bool cut_frames(struct stream *stream, struct span octets, stream_take take, void *context)
{
    size_t at = 0;
    while (holds(octets, at, LENGTH_SIZE)) {
        size_t size = load16(octets, at);
        if (size == 0 || size > MOST_FRAME)
            return false;
        if (!holds(octets, at + LENGTH_SIZE, size))
            break;
        if (!atomic_load_explicit(&stream->closing, memory_order_relaxed))
            take(context, stream, part(octets, at + LENGTH_SIZE, size));
        at += LENGTH_SIZE + size;
    }
    return keep_partial(stream, rest(octets, at));
}

enum stream_state stream_read(struct stream *stream, struct span buffer, stream_take take, void *context)
{
    if (stream->fd < 0 || atomic_load_explicit(&stream->aborted, memory_order_relaxed))
        return STREAM_ENDED;
    struct span room = rest(buffer, stream->partial_used);
    ssize_t size = recv(stream->fd, room.at, room.size, MSG_DONTWAIT);
    if (size < 0)
        return errno == EAGAIN ? STREAM_OPEN : STREAM_ENDED;
    if (size == 0)
        return STREAM_ENDED;
    /* What is discarded need not be in step. */
    if (atomic_load_explicit(&stream->closing, memory_order_relaxed))
        return STREAM_OPEN;
    put(buffer, 0, span_of(stream->partial, stream->partial_used));
    struct span octets = part(buffer, 0, stream->partial_used + (size_t)size);
    return cut_frames(stream, octets, take, context) ? STREAM_OPEN : STREAM_ENDED;
}

/* Writing. */

enum stream_state stream_write(struct stream *stream)
{
    pthread_mutex_lock(&stream->mutex);
    if (!write_waiting(stream))
        abort_now(stream);
    bool open = stream->fd >= 0 && !atomic_load_explicit(&stream->aborted, memory_order_relaxed);
    pthread_mutex_unlock(&stream->mutex);
    return open ? STREAM_OPEN : STREAM_ENDED;
}

unsigned stream_send_data(struct stream *stream, struct span packets, size_t segment, unsigned count)
{
    if (!is_run(packets, segment, count))
        return count;
    pthread_mutex_lock(&stream->mutex);
    bool taken = takes_frames(stream) && !atomic_load_explicit(&stream->is_full, memory_order_relaxed) &&
                 send_run(stream, packets, segment, count);
    pthread_mutex_unlock(&stream->mutex);
    return taken ? 0 : count;
}

void stream_send_control(struct stream *stream, struct span packet)
{
    if (!is_run(packet, packet.size, 1))
        return;
    pthread_mutex_lock(&stream->mutex);
    if (stream->used > stream->limits.backlog + stream->limits.control_backlog)
        abort_now(stream);
    else if (takes_frames(stream))
        send_run(stream, packet, packet.size, 1);
    pthread_mutex_unlock(&stream->mutex);
}

/* Ending. */

void stream_close(struct stream *stream, uint64_t now)
{
    pthread_mutex_lock(&stream->mutex);
    if (takes_frames(stream)) {
        atomic_store_explicit(&stream->closing, true, memory_order_relaxed);
        stream->deadline = now + stream->limits.close_timeout_ms;
        if (!stream->used && !finish(stream))
            abort_now(stream);
    }
    pthread_mutex_unlock(&stream->mutex);
}

bool stream_is_overdue(struct stream *stream, uint64_t now)
{
    pthread_mutex_lock(&stream->mutex);
    bool overdue = atomic_load_explicit(&stream->closing, memory_order_relaxed) && now >= stream->deadline;
    pthread_mutex_unlock(&stream->mutex);
    return overdue;
}

void stream_abort(struct stream *stream)
{
    pthread_mutex_lock(&stream->mutex);
    abort_now(stream);
    pthread_mutex_unlock(&stream->mutex);
}
