/* The ring of a worker's events. Owns its memory and its positions. Knows neither workers nor what events mean.
 *
 * Records lie one behind the other, each from a cache line on and in one piece: where one does not fit before the end of the
 * ring, a filler takes what is left there. Positions count octets from the beginning of time, so full and empty differ.
 *
 * The producer alone writes `end`, by release after the record is complete; the consumer alone writes `begin`, by release after it
 * has done with a record. Each acquires what the other has written.
 *
 * Waking. The consumer says in `sleeps` that it found the ring empty, and looks once more before it believes so. The producer takes
 * that flag back after each record, and writes to the eventfd if it was set. Both do so by read-modify-writes, of which one is
 * first: if that is the producer's, the consumer acquires the new `end` with it and its second look finds the record; if it is the
 * consumer's, the producer sees the flag. So no event waits for the one after it. (Two plain stores and loads would not do:
 * each side may then read what the other has not written yet.) A record more or less while the consumer is at work costs no
 * system call.
 */
#include "events.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define CACHE_LINE 64
#define FILLER UINT32_MAX /* in the place of the kind */

struct record {
    uint32_t size; /* of all of it: whole cache lines */
    uint32_t kind;
    uint32_t peer_id;
    uint32_t packet_size;
    struct path path;
    uint8_t packet[];
};

_Static_assert(sizeof(struct record) == CACHE_LINE, "a filler has room wherever a record may begin");
_Static_assert(EVENTS_SIZE % CACHE_LINE == 0 && (EVENTS_SIZE & (EVENTS_SIZE - 1)) == 0, "the ring is whole lines");

struct events {
    int wake; /* fixed */
    _Alignas(CACHE_LINE) _Atomic uint64_t end; /* by the producer */
    _Atomic uint64_t lost;                     /* by the producer */
    _Alignas(CACHE_LINE) _Atomic uint64_t begin; /* by the consumer */
    uint64_t lent;                               /* octets from `begin` on that the consumer's caller may still read; its own */
    _Alignas(CACHE_LINE) _Atomic bool sleeps;    /* by both */
    _Alignas(CACHE_LINE) uint8_t ring[EVENTS_SIZE];
};

struct events *events_new(int wake)
{
    struct events *events = aligned_alloc(CACHE_LINE, sizeof *events);
    if (!events)
        return NULL;
    /* The ring is not touched: it becomes resident as it is used. */
    events->wake = wake;
    events->lent = 0;
    atomic_init(&events->end, 0);
    atomic_init(&events->begin, 0);
    atomic_init(&events->lost, 0);
    atomic_init(&events->sleeps, true);
    return events;
}

void events_free(struct events *events)
{
    free(events);
}

static struct record *record_at(struct events *events, uint64_t position)
{
    return (struct record *)&events->ring[position % EVENTS_SIZE];
}

/* The producer. */

static uint32_t record_size(const struct event *event)
{
    size_t size = sizeof(struct record) + (event->kind == EVENT_CONTROL ? event->packet.size : 0);
    return (uint32_t)((size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
}

/* Octets to be left out before a record, so that it lies in one piece. */
static uint32_t filler_size(uint64_t end, uint32_t size)
{
    uint32_t to_edge = (uint32_t)(EVENTS_SIZE - end % EVENTS_SIZE);
    return size > to_edge ? to_edge : 0;
}

static bool has_room(struct events *events, const struct event *event, uint64_t end, uint32_t size)
{
    uint64_t used = end - atomic_load_explicit(&events->begin, memory_order_acquire);
    return used + size <= EVENTS_SIZE - (event->kind == EVENT_CONTROL ? EVENTS_RESERVE : 0);
}

static void write_record(struct events *events, uint64_t position, uint32_t size, const struct event *event)
{
    struct record *record = record_at(events, position);
    record->size = size;
    record->kind = event->kind;
    record->peer_id = event->peer_id;
    record->packet_size = event->kind == EVENT_CONTROL ? (uint32_t)event->packet.size : 0;
    record->path = event->path;
    if (record->packet_size)
        put(span_of(record->packet, record->packet_size), 0, event->packet);
}

static void wake_consumer(struct events *events)
{
    static const uint64_t one = 1;
    if (!atomic_exchange_explicit(&events->sleeps, false, memory_order_acq_rel))
        return;
    /* It can only be refused when it is readable already. */
    ssize_t written = write(events->wake, &one, sizeof one);
    (void)written;
}

bool events_push(struct events *events, const struct event *event)
{
    uint64_t end = atomic_load_explicit(&events->end, memory_order_relaxed);
    bool fits = event->kind != EVENT_CONTROL || event->packet.size < EVENTS_SIZE;
    uint32_t size = fits ? record_size(event) : 0;
    uint32_t filler = fits ? filler_size(end, size) : 0;
    if (!fits || !has_room(events, event, end, filler + size)) {
        if (event->kind == EVENT_CONTROL)
            atomic_fetch_add_explicit(&events->lost, 1, memory_order_relaxed);
        return false;
    }
    if (filler) {
        record_at(events, end)->size = filler;
        record_at(events, end)->kind = FILLER;
    }
    write_record(events, end + filler, size, event);
    atomic_store_explicit(&events->end, end + filler + size, memory_order_release);
    wake_consumer(events);
    return true;
}

/* The consumer. */

/* Give back what the last event lay in. */
static uint64_t give_back(struct events *events)
{
    uint64_t begin = atomic_load_explicit(&events->begin, memory_order_relaxed) + events->lent;
    events->lent = 0;
    atomic_store_explicit(&events->begin, begin, memory_order_release);
    return begin;
}

static bool is_empty(struct events *events, uint64_t begin)
{
    if (atomic_load_explicit(&events->end, memory_order_acquire) != begin)
        return false;
    atomic_exchange_explicit(&events->sleeps, true, memory_order_acq_rel);
    return atomic_load_explicit(&events->end, memory_order_acquire) == begin;
}

bool events_pop(struct events *events, struct event *event)
{
    uint64_t begin = give_back(events);
    if (is_empty(events, begin))
        return false;
    struct record *record = record_at(events, begin);
    if (record->kind == FILLER) {
        /* There is a record behind it: the two were published together. */
        events->lent = record->size;
        record = record_at(events, begin + record->size);
    }
    events->lent += record->size;
    *event = (struct event){.kind = (enum event_kind)record->kind, .peer_id = record->peer_id, .path = record->path};
    if (record->packet_size)
        event->packet = span_of(record->packet, record->packet_size);
    return true;
}

uint64_t events_lost(const struct events *events)
{
    return atomic_load_explicit(&events->lost, memory_order_relaxed);
}
