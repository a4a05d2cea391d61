/* When there is no memory: `scarcity SECONDS SEED`, of which it needs neither. Linked with --wrap for malloc, calloc and aligned_alloc.
 *
 * Everything that allocates is made once for each allocation in it, which fails then: that must be said, and leave nothing
 * behind. What stays allocated is for a sanitizer to see.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include "driver.h"
#include "events.h"
#include "peers.h"
#include "reclaim.h"
#include "stream.h"
#include "udp.h"

#define NETWORK 0x0A500000u
#define HOLD_NS 5000000
#define NEVER UINT64_MAX

static uint64_t until_failure = NEVER; /* allocations that succeed before one that does not */
static uint64_t failures;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static bool fails_now(void)
{
    bool now = until_failure == 0;
    until_failure -= until_failure != NEVER;
    failures += now;
    return now;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails_now() ? NULL : __real_aligned_alloc(alignment, size);
}

/* Each says whether it had what it needed. */

static bool make_access(void)
{
    struct access_table *table = NULL;
    int error = access_table_new(&(uint32_t){0}, &(uint8_t){VERDICT_FORWARD}, 1, 0, 0, &table);
    must(error == 0 || error == -ENOMEM, "there was nothing wrong but memory");
    access_table_free(table);
    return error == 0;
}

static bool make_events(void)
{
    struct events *events = events_new(-1);
    events_free(events);
    return events != NULL;
}

static bool add_peer(struct peer_table *table, uint32_t id)
{
    struct peer *peer = peer_new(id, NETWORK + id % 256);
    int error = peer ? peer_table_add(table, peer) : -ENOMEM;
    must(error == 0 || error == -ENOMEM, "there was nothing wrong but memory");
    must(peer_by_id(table, id) == (error ? NULL : peer), "who was not added is not found");
    if (peer && error)
        peer_free(peer);
    return error == 0;
}

static bool make_peers(void)
{
    struct peer_table *table = peer_table_new(NETWORK, 24);
    if (!table)
        return false;
    bool added = add_peer(table, 1) && add_peer(table, 2) && add_peer(table, 10000);
    peer_table_free(table);
    return added;
}

static void count_destroyed(void *object)
{
    unsigned *destroyed = object;
    ++*destroyed;
}

/* Without memory to remember an object by, it goes at once if nobody can hold it. */
static bool make_reclaim(void)
{
    unsigned destroyed = 0;
    struct reclaim *reclaim = reclaim_new(2);
    if (!reclaim)
        return false;
    uint64_t before = failures;
    reclaim_later(reclaim, &destroyed, count_destroyed);
    must(destroyed == 1, "it goes, with memory or without");
    reclaim_free(reclaim);
    return failures == before;
}

static bool make_receiver(void)
{
    struct udp_receiver *receiver = udp_receiver_new();
    udp_receiver_free(receiver);
    return receiver != NULL;
}

static void ignore_frame(void *context, struct stream *stream, struct span frame)
{
    (void)context, (void)stream, (void)frame;
}

/* The beginning of a frame comes in, and more goes out than the socket takes: both need memory. */
static bool use_stream(struct stream *stream, int client)
{
    static uint8_t buffer[1 << 16], packets[60000];
    must(write(client, "\0\5cut", 5) == 5, "the client can write");
    if (stream_read(stream, span_of(buffer, sizeof buffer), ignore_frame, NULL) != STREAM_OPEN)
        return false;
    bool taken = true;
    while (taken && !stream->used)
        taken = stream_send_data(stream, span_of(packets, sizeof packets), 1000, 60) == 0;
    must(taken != stream->aborted, "a stream that loses a part of a frame goes no further");
    return taken;
}

static bool make_stream(void)
{
    int ends[2], epoll = epoll_create1(0);
    must(epoll >= 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "a stream and epoll");
    struct stream *stream = NULL;
    struct stream_limits limits = {.backlog = 1 << 18, .control_backlog = 1 << 18};
    int error = stream_new(ends[0], epoll, 0, &(struct path){0}, &limits, &stream);
    must(error == 0 || error == -ENOMEM, "there was nothing wrong but memory");
    bool used = !error && use_stream(stream, ends[1]);
    if (error)
        close(ends[0]);
    else
        stream_free(stream);
    close(ends[1]);
    close(epoll);
    return used;
}

static void fail_at_each(bool (*make)(void))
{
    for (uint64_t at = 0;; at++) {
        uint64_t before = failures;
        until_failure = at;
        bool made = make();
        until_failure = NEVER;
        must(made == (failures == before), "a lack of memory is said, and nothing else is");
        if (made)
            break;
    }
}

/* Without memory to remember an object by, while a worker may hold it. */

struct holding {
    struct reclaim *reclaim;
    pthread_barrier_t begun;
    _Atomic bool done; /* the worker is done with the object */
    bool destroyed;
};

static void *hold(void *argument)
{
    struct holding *holding = argument;
    reclaim_online(holding->reclaim, 0);
    pthread_barrier_wait(&holding->begun);
    nanosleep(&(struct timespec){.tv_nsec = HOLD_NS}, NULL);
    must(!holding->destroyed, "what a worker holds stays");
    atomic_store_explicit(&holding->done, true, memory_order_relaxed);
    reclaim_offline(holding->reclaim, 0);
    return NULL;
}

static void note_destroyed(void *object)
{
    struct holding *holding = object;
    must(atomic_load_explicit(&holding->done, memory_order_relaxed), "nothing goes while a worker may hold it");
    holding->destroyed = true;
}

static void wait_for_the_holder(void)
{
    pthread_t thread;
    struct holding holding = {.reclaim = reclaim_new(1)};
    pthread_barrier_init(&holding.begun, NULL, 2);
    must(pthread_create(&thread, NULL, hold, &holding) == 0, "a thread");
    pthread_barrier_wait(&holding.begun);
    until_failure = 0;
    reclaim_later(holding.reclaim, &holding, note_destroyed);
    must(failures > 0 && holding.destroyed, "control has waited");
    until_failure = NEVER;
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&holding.begun);
    reclaim_free(holding.reclaim);
}

int main(void)
{
    fail_at_each(make_access);
    fail_at_each(make_events);
    fail_at_each(make_peers);
    fail_at_each(make_reclaim);
    fail_at_each(make_receiver);
    fail_at_each(make_stream);
    failures = 0;
    wait_for_the_holder();
    return 0;
}
