/* Quiescent-state-based reclamation. Owns the epochs and the line of objects that wait. Knows no peers, keys or packets.
 *
 * The epoch is a number that control raises by one for every object that it hands over, after it has unlinked it: that number
 * is the object's. A worker says in `seen` which epoch it has read while it held nothing, or OFFLINE. An object goes when no
 * worker is online with a smaller number than the object's.
 *
 * Why that is right, for a worker W and an object of epoch E that control has unlinked. Control looks at `seen` of W by a
 * read-modify-write, so it reads the last value in that variable's modification order, and one of these holds:
 *
 *   1. It reads OFFLINE, or E or more, and W looks at shared objects later only. If it read OFFLINE, W's next step on `seen` is
 *      the exchange in `reclaim_online`, which comes later in the modification order, reads what control's release has written,
 *      and acquires it. If it read E or more, W had acquired the epoch E, which control released after unlinking. Either way the
 *      unlinking happens before all that W looks at from there on: W does not find the object again.
 *   2. Whatever W did with the object before is sequenced before its release of `seen` that control has read and acquired: it
 *      happens before the object is destroyed.
 *   3. It reads a number below E: the object waits.
 *
 * Two read-modify-writes of one variable make this so, without fences: one of them is first, and the other sees it. They also let
 * ThreadSanitizer follow the argument.
 */
#include "reclaim.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CACHE_LINE 64
#define OFFLINE UINT64_C(0)
#define RETRY_NS 1000000

/* Written by its worker; control reads it, and writes back what it read. */
struct lane {
    _Alignas(CACHE_LINE) _Atomic uint64_t seen;
};

struct waiting {
    struct waiting *next;
    uint64_t epoch;
    void *object;
    void (*destroy)(void *object);
};

struct reclaim {
    _Alignas(CACHE_LINE) _Atomic uint64_t epoch; /* written by control, read by workers; from 1 on */
    /* Of control, alone: the line, in the order of epochs. */
    _Alignas(CACHE_LINE) struct waiting *first;
    struct waiting *last;
    unsigned count, workers;
    struct lane lanes[];
};

struct reclaim *reclaim_new(unsigned workers)
{
    size_t size = sizeof(struct reclaim) + workers * sizeof(struct lane);
    struct reclaim *reclaim = aligned_alloc(CACHE_LINE, size);
    if (!reclaim)
        return NULL;
    memset(reclaim, 0, size);
    reclaim->workers = workers;
    atomic_init(&reclaim->epoch, OFFLINE + 1);
    for (unsigned i = 0; i < workers; i++)
        atomic_init(&reclaim->lanes[i].seen, OFFLINE);
    return reclaim;
}

/* Workers. */

void reclaim_online(struct reclaim *reclaim, unsigned worker)
{
    uint64_t epoch = atomic_load_explicit(&reclaim->epoch, memory_order_acquire);
    atomic_exchange_explicit(&reclaim->lanes[worker].seen, epoch, memory_order_acq_rel);
}

void reclaim_quiet(struct reclaim *reclaim, unsigned worker)
{
    uint64_t epoch = atomic_load_explicit(&reclaim->epoch, memory_order_acquire);
    atomic_store_explicit(&reclaim->lanes[worker].seen, epoch, memory_order_release);
}

void reclaim_offline(struct reclaim *reclaim, unsigned worker)
{
    atomic_store_explicit(&reclaim->lanes[worker].seen, OFFLINE, memory_order_release);
}

/* Control. */

/* Objects up to this epoch are held by nobody. */
static uint64_t free_until(struct reclaim *reclaim)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < reclaim->workers; i++) {
        uint64_t seen = atomic_fetch_add_explicit(&reclaim->lanes[i].seen, 0, memory_order_acq_rel);
        if (seen != OFFLINE && seen < least)
            least = seen;
    }
    return least;
}

static void destroy_first(struct reclaim *reclaim)
{
    struct waiting *waiting = reclaim->first;
    reclaim->first = waiting->next;
    if (!reclaim->first)
        reclaim->last = NULL;
    reclaim->count--;
    waiting->destroy(waiting->object);
    free(waiting);
}

unsigned reclaim_now(struct reclaim *reclaim)
{
    if (!reclaim->first)
        return 0;
    uint64_t until = free_until(reclaim);
    while (reclaim->first && reclaim->first->epoch <= until)
        destroy_first(reclaim);
    return reclaim->count;
}

static void line_up(struct reclaim *reclaim, struct waiting *waiting)
{
    if (reclaim->last)
        reclaim->last->next = waiting;
    else
        reclaim->first = waiting;
    reclaim->last = waiting;
    reclaim->count++;
}

static void wait_until_free(struct reclaim *reclaim, uint64_t epoch)
{
    const struct timespec pause = {.tv_nsec = RETRY_NS};
    while (free_until(reclaim) < epoch)
        nanosleep(&pause, NULL);
}

void reclaim_later(struct reclaim *reclaim, void *object, void (*destroy)(void *object))
{
    uint64_t epoch = atomic_load_explicit(&reclaim->epoch, memory_order_relaxed) + 1;
    atomic_store_explicit(&reclaim->epoch, epoch, memory_order_release);
    struct waiting *waiting = malloc(sizeof *waiting);
    if (waiting) {
        *waiting = (struct waiting){.epoch = epoch, .object = object, .destroy = destroy};
        line_up(reclaim, waiting);
    } else {
        wait_until_free(reclaim, epoch);
        destroy(object);
    }
    reclaim_now(reclaim);
}

void reclaim_free(struct reclaim *reclaim)
{
    while (reclaim->first)
        destroy_first(reclaim);
    free(reclaim);
}
