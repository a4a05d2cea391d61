/* The peers of a plane, and finding them: by id, by inside address, by where they are.
 *
 * Control (one thread) adds, changes and removes; workers find and read. By id and by inside address they do so without a
 * lock; a peer that they found stays valid until they are quiet (reclaim.h). What a worker changes in a peer is atomic, or
 * under one of its two mutexes.
 */
#ifndef PORTWAY_PEERS_H
#define PORTWAY_PEERS_H

#include <pthread.h>
#include <stdatomic.h>

#include "access.h"
#include "data_key.h"
#include "drops.h"
#include "opcodes.h"
#include "path.h"

#define KEY_IDS 8
#define CACHE_LINE 64
#define LEAST_PREFIX 8 /* of the client range */
#define MOST_PREFIX 30

struct stream;

/* What a peer has moved: inner packets and their octets (`tunnel.plane.Traffic`). Written by any worker. The two directions, which
 * two workers may be busy with at once, are apart. */
struct traffic {
    _Atomic uint64_t ingress_packets, ingress_octets;
    struct drop_counters drops;
    _Atomic uint64_t egress_packets, egress_octets;
};

/* Ordered by who touches what: a line of the cache that every packet reads is written by none. */
struct peer {
    /* Fixed when made. */
    _Alignas(CACHE_LINE) uint32_t id;
    uint32_t inside; /* host order */
    uint32_t ping_interval_ms, idle_timeout_ms;
    uint16_t mss;   /* 0 leaves SYNs alone */
    bool data_v2;
    bool by_stream; /* it came by TCP: valid on its own stream only */
    uint8_t tag;    /* tells it, in events, from an earlier peer of the same id */

    /* Written by control, read by workers: release and acquire. */
    _Atomic bool removed;                     /* control has unlinked it: whoever still holds it sends nothing more */
    _Atomic(struct access_table *) access;
    _Atomic(struct data_key *) sending;       /* one of the keys, or NULL */
    _Atomic(struct stream *) stream;          /* TCP, while it lasts */
    _Atomic(struct data_key *) keys[KEY_IDS]; /* for opening, by key id */

    /* Of the table's, under its mutex. */
    struct peer *next_by_path;

    /* Where it is. Written under `path_mutex` and the table's, so read under either; held for a copy of it. */
    _Alignas(CACHE_LINE) pthread_mutex_t path_mutex;
    struct path path;

    /* Written by workers. Times in ms of CLOCK_MONOTONIC. */
    _Atomic uint64_t last_heard;
    _Atomic uint32_t moves;        /* changes of address since the last tick */
    bool idle_reported;            /* of the worker that keeps this peer's time, alone */
    struct traffic traffic;
    _Atomic uint64_t last_sent;

    /* Held while packets are sealed and sent, so that they leave in the order of their ids, whichever worker sends: clients
     * accept few that are late (64 by default). By workers, for one batch; by control, to wait for the last one that sends to a
     * peer which it has removed. */
    pthread_mutex_t sending_mutex;
};

/* How events name a peer: its id, and above that its tag. */
static inline uint32_t event_name(const struct peer *peer)
{
    return peer->id | (uint32_t)peer->tag << 24;
}

/* Just allocated, in no table. Access, keys and path are set by whoever makes it. NULL for lack of memory. */
struct peer *peer_new(uint32_t id, uint32_t inside);
/* Frees the peer, its keys included, not its access table. For `reclaim_later`. */
void peer_free(void *peer);

struct peer_table;

/* For a client range: `network` in host order, `prefix` 8 to 30. NULL for any other, and for lack of memory. */
struct peer_table *peer_table_new(uint32_t network, unsigned prefix);
/* Frees the peers in it as well: no worker may run any more. */
void peer_table_free(struct peer_table *table);

/* By control. 0, -EEXIST (id or inside address in use), -EINVAL (an id or address out of range), -ENOMEM. The path of a UDP peer
 * becomes its own: another peer that had it is found by it no longer. */
int peer_table_add(struct peer_table *table, struct peer *peer);
/* By control: nobody finds it any more; sets `removed`. */
void peer_table_remove(struct peer_table *table, struct peer *peer);

/* By any thread. */
struct peer *peer_by_id(struct peer_table *table, uint32_t id);
struct peer *peer_by_inside(struct peer_table *table, uint32_t address);
/* UDP peers only. Takes the table's mutex. */
struct peer *peer_by_path(struct peer_table *table, const struct path *path);
/* Move a UDP peer to another path; false when that is another peer's, or this one was removed. Takes both mutexes. */
bool peer_move(struct peer_table *table, struct peer *peer, const struct path *path);
/* A copy of where it is. */
struct path peer_path(struct peer *peer);

/* Every peer from `id` on: the first one found, or NULL. To walk over all without holding them up. */
struct peer *peer_from(struct peer_table *table, uint32_t id);

#endif
