/* Once a second: keepalive, idle clients, worn keys, and streams whose time is up.
 *
 * Each worker keeps the time of the peers whose id is its index, modulo the number of workers, and of the streams that it
 * reads. Pings and reports are up to a second late, never early. What control could not be told now is told at a later tick.
 */
#include "worker.h"

#define PEERS_AT_ONCE 256 /* then packets get their turn: all may have to be pinged */

static bool tell(struct worker *worker, enum event_kind kind, const struct peer *peer)
{
    struct event event = {.kind = kind, .peer_id = event_name(peer)};
    return events_push(worker->events, &event);
}

/* Only of the key that is sent under: of the others, the end is near anyway. */
static void report_worn(struct worker *worker, struct peer *peer)
{
    struct data_key *key = atomic_load_explicit(&peer->sending, memory_order_acquire);
    if (key && !is_wear_told(key) && is_worn(key, &worker->plane->settings.wear) && tell(worker, EVENT_WORN, peer))
        note_wear_told(key);
}

static void look_after(struct worker *worker, struct peer *peer)
{
    atomic_store_explicit(&peer->moves, 0, memory_order_relaxed);
    uint64_t sent = atomic_load_explicit(&peer->last_sent, memory_order_relaxed);
    uint64_t heard = atomic_load_explicit(&peer->last_heard, memory_order_relaxed);
    /* Another worker's clock may be a batch ahead of this one's: then it was just now. */
    if (peer->ping_interval_ms && worker->now > sent && worker->now - sent >= peer->ping_interval_ms)
        egress_ping(worker, peer);
    report_worn(worker, peer);
    bool is_idle = peer->idle_timeout_ms && worker->now > heard && worker->now - heard >= peer->idle_timeout_ms;
    if (is_idle && !peer->idle_reported)
        peer->idle_reported = tell(worker, EVENT_IDLE, peer);
}

/* Some of them, from where it stopped before; true at the end. */
static bool look_after_peers(struct worker *worker)
{
    unsigned workers = worker->plane->settings.workers;
    for (unsigned i = 0; i < PEERS_AT_ONCE; i++) {
        struct peer *peer = peer_from(worker->plane->peers, worker->tick_at);
        if (!peer) {
            worker->tick_at = 0;
            return true;
        }
        worker->tick_at = peer->id + 1;
        if (peer->id % workers == worker->index)
            look_after(worker, peer);
    }
    return false;
}

/* By this worker, under its `streams_mutex`. */
static void tell_ended(struct worker *worker, struct served_stream *served)
{
    struct event event = {.kind = EVENT_STREAM_ENDED, .path = served->stream->path};
    served->ended = !events_push(worker->events, &event);
}

void end_stream(struct worker *worker, struct stream *stream)
{
    stream_end(stream);
    pthread_mutex_lock(&worker->streams_mutex);
    for (size_t i = 0; i < worker->stream_count; i++)
        if (worker->streams[i].stream == stream)
            tell_ended(worker, &worker->streams[i]);
    pthread_mutex_unlock(&worker->streams_mutex);
}

static void look_after_streams(struct worker *worker)
{
    pthread_mutex_lock(&worker->streams_mutex);
    for (size_t i = 0; i < worker->stream_count; i++) {
        struct served_stream *served = &worker->streams[i];
        if (served->ended) {
            tell_ended(worker, served);
        } else if (stream_is_overdue(served->stream, worker->now)) {
            stream_end(served->stream);
            tell_ended(worker, served);
        }
    }
    pthread_mutex_unlock(&worker->streams_mutex);
}

bool timers_tick(struct worker *worker)
{
    if (!look_after_peers(worker))
        return false;
    look_after_streams(worker);
    return true;
}
