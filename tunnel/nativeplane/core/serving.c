/* The streams of a plane, as control sees them, and sending control packets.
 *
 * Streams are numbered upwards and never again alike, so each worker's list is in their order. Control alone changes the lists;
 * workers look at theirs under its mutex.
 */
#include <errno.h>
#include <stdlib.h>

#include "plane.h"
#include "worker.h"

static struct worker *worker_of(struct plane *plane, uint64_t number)
{
    return &plane->workers[number % plane->settings.workers];
}

/* Where the stream of that number is in its worker's list, or would be. */
static size_t place_of(const struct worker *worker, uint64_t number)
{
    size_t low = 0, high = worker->stream_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (worker->streams[middle].stream->path.stream < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct stream *find_stream(struct plane *plane, uint64_t number)
{
    struct worker *worker = worker_of(plane, number);
    size_t place = place_of(worker, number);
    if (place == worker->stream_count || worker->streams[place].stream->path.stream != number)
        return NULL;
    return worker->streams[place].stream;
}

/* Room for one more, under the worker's mutex. */
static bool make_room(struct worker *worker)
{
    if (worker->stream_count < worker->stream_room)
        return true;
    size_t room = worker->stream_room ? 2 * worker->stream_room : 16;
    struct served_stream *larger = reallocarray(worker->streams, room, sizeof *larger);
    if (!larger)
        return false;
    worker->streams = larger;
    worker->stream_room = room;
    return true;
}

int plane_add_stream(struct plane *plane, int fd, const struct path *path)
{
    struct worker *worker = worker_of(plane, path->stream);
    struct stream *stream;
    /* It may end before this returns: its worker then waits here until it is in the list. */
    pthread_mutex_lock(&worker->streams_mutex);
    int failed = path->stream == 0 ? -EINVAL : make_room(worker) ? 0 : -ENOMEM;
    if (!failed && worker->stream_count && worker->streams[worker->stream_count - 1].stream->path.stream >= path->stream)
        failed = -EEXIST;
    if (!failed)
        failed = stream_new(fd, worker->streams_epoll, worker->index, path, &plane->settings.streams, &stream);
    if (!failed)
        worker->streams[worker->stream_count++] = (struct served_stream){.stream = stream};
    pthread_mutex_unlock(&worker->streams_mutex);
    return failed;
}

void plane_close_stream(struct plane *plane, uint64_t number)
{
    struct stream *stream = find_stream(plane, number);
    if (stream)
        stream_close(stream, clock_ms());
}

void plane_abort_stream(struct plane *plane, uint64_t number)
{
    struct stream *stream = find_stream(plane, number);
    if (stream)
        stream_abort(stream);
}

/* Nobody finds the stream by its peer any more, nor the peer by it. */
static void part_from_peer(struct stream *stream)
{
    struct peer *peer = atomic_exchange_explicit(&stream->peer, NULL, memory_order_acq_rel);
    if (peer)
        atomic_store_explicit(&peer->stream, NULL, memory_order_release);
}

void plane_forget_stream(struct plane *plane, uint64_t number)
{
    struct worker *worker = worker_of(plane, number);
    struct stream *stream = find_stream(plane, number);
    if (!stream)
        return;
    size_t place = place_of(worker, number);
    pthread_mutex_lock(&worker->streams_mutex);
    memmove(&worker->streams[place], &worker->streams[place + 1],
            (worker->stream_count - place - 1) * sizeof *worker->streams);
    worker->stream_count--;
    pthread_mutex_unlock(&worker->streams_mutex);
    part_from_peer(stream);
    reclaim_later(plane->reclaim, stream, stream_free);
}

/* Its own, so that it waits for no worker that sends. */
static struct udp_socket *control_socket(struct plane *plane)
{
    return plane->inbox.receiver ? &plane->inbox.udp : &plane->udp[0];
}

void plane_send_control(struct plane *plane, const struct path *path, struct span packet)
{
    if (path->stream) {
        struct stream *stream = find_stream(plane, path->stream);
        if (stream)
            stream_send_control(stream, packet);
    } else if (plane->has_udp && udp_send(control_socket(plane), path, packet, packet.size, 1)) {
        count_drops(&plane->drops, DROP_SEND_FAILED, 1);
    }
}
