/* What a plane hands up to control: a ring per worker, and one eventfd for all.
 *
 * One producer (the worker) and one consumer (control), no lock. A ring has a fixed size. When it is full, control packets are
 * dropped and counted: their senders repeat them. Every other event is of few octets, and room is kept for them (EVENTS_RESERVE):
 * should even that be used up, `events_push` says so and the worker tries again at its next tick.
 */
#ifndef PORTWAY_EVENTS_H
#define PORTWAY_EVENTS_H

#include "octets.h"
#include "path.h"

#define EVENTS_SIZE (1u << 20) /* octets of a ring; a power of two */
#define EVENTS_RESERVE (1u << 17)

enum event_kind {
    EVENT_CONTROL,  /* path, packet */
    EVENT_FLOATED,  /* peer id, path */
    EVENT_IDLE,     /* peer id */
    EVENT_EXITED,   /* peer id */
    EVENT_WORN,     /* peer id */
    EVENT_STREAM_ENDED, /* path */
    EVENT_FAILED,   /* `peer_id` is the errno: the TUN device is gone, the worker has stopped */
};

struct event {
    enum event_kind kind;
    uint32_t peer_id; /* with its tag (peers.h, `event_name`) */
    struct path path;
    struct span packet; /* EVENT_CONTROL; valid until the next `events_pop` of this ring */
};

struct events;

/* `wake` is an eventfd. It is written with the first event after control has found the ring empty: control reads it, and then
 * pops until there is nothing. NULL for lack of memory. */
struct events *events_new(int wake);
void events_free(struct events *events);

/* By the worker. False when there is no room. */
bool events_push(struct events *events, const struct event *event);
/* By control: the next event, if any; the one before is gone then. Having given false, the ring wakes control again. */
bool events_pop(struct events *events, struct event *event);
/* Control packets that found no room. */
uint64_t events_lost(const struct events *events);

#endif
