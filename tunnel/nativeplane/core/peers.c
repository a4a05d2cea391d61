/* Peers, and the three ways to find one. Owns the memory of peers and of the table. Knows no sockets and no packets.
 *
 *     by id         two levels of pointers. Ids are given out from the lowest on, so few blocks are ever made; control makes them,
 *                   and none goes before the table.
 *     by inside     one pointer for each address of the client range. What is not used is memory that nobody has touched, and
 *                   which the kernel therefore has not given us.
 *     by path       a hash table with chains through the peers, under the table's mutex: only clients without DATA_V2 are looked
 *                   up by it, and those that move. Its buckets are fixed in number: 20,000 peers make chains of 1.2 on average, and
 *                   growing would hold up workers. A client is in it once, so nobody can make the chains long by himself.
 *
 * Slots of the first two are published by release and read by acquire: who finds a peer finds it complete. Mutexes are
 * taken in the order: the table's, then a peer's `path_mutex`.
 */
#include "peers.h"

#include <errno.h>
#include <stdlib.h>

#define BLOCK_BITS 12
#define BLOCK_SIZE (1u << BLOCK_BITS)
#define BLOCKS (1u << (24 - BLOCK_BITS))
#define PATH_BUCKETS (1u << 14)

_Static_assert(sizeof(struct peer) == 8 * CACHE_LINE, "a client costs no more than it must");

struct slot {
    _Atomic(struct peer *) peer;
};

struct peer_table {
    _Atomic(struct slot *) blocks[BLOCKS]; /* written by control */
    struct slot *by_inside;                /* written by control */
    uint32_t network, addresses;
    pthread_mutex_t mutex; /* for what follows, and for moving */
    struct peer **by_path;
};

/* Peers. */

struct peer *peer_new(uint32_t id, uint32_t inside)
{
    struct peer *peer = aligned_alloc(CACHE_LINE, sizeof *peer);
    if (!peer)
        return NULL;
    memset(peer, 0, sizeof *peer);
    peer->id = id;
    peer->inside = inside;
    /* Default attributes: this cannot fail. */
    pthread_mutex_init(&peer->path_mutex, NULL);
    pthread_mutex_init(&peer->sending_mutex, NULL);
    return peer;
}

void peer_free(void *object)
{
    struct peer *peer = object;
    for (unsigned i = 0; i < KEY_IDS; i++)
        data_key_free(atomic_load_explicit(&peer->keys[i], memory_order_relaxed));
    pthread_mutex_destroy(&peer->path_mutex);
    pthread_mutex_destroy(&peer->sending_mutex);
    free(peer);
}

/* By path, under the table's mutex. */

static uint32_t hash_of(const struct path *path)
{
    uint64_t words[sizeof *path / sizeof(uint64_t)], hash = 0;
    _Static_assert(sizeof words == sizeof *path, "a path is whole words");
    memcpy(words, path, sizeof words);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        hash = (hash ^ words[i]) * UINT64_C(0x9E3779B97F4A7C15); /* 2^64 divided by the golden ratio */
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

static struct peer **bucket_of(struct peer_table *table, const struct path *path)
{
    return &table->by_path[hash_of(path) % PATH_BUCKETS];
}

static struct peer *find_path(struct peer_table *table, const struct path *path)
{
    struct peer *peer = *bucket_of(table, path);
    while (peer && !same_path(&peer->path, path))
        peer = peer->next_by_path;
    return peer;
}

static void link_path(struct peer_table *table, struct peer *peer)
{
    struct peer **bucket = bucket_of(table, &peer->path);
    peer->next_by_path = *bucket;
    *bucket = peer;
}

/* It may not be there: another peer was given its path. */
static void unlink_path(struct peer_table *table, struct peer *peer)
{
    struct peer **link = bucket_of(table, &peer->path);
    while (*link && *link != peer)
        link = &(*link)->next_by_path;
    if (*link)
        *link = peer->next_by_path;
}

static void take_path(struct peer_table *table, struct peer *peer)
{
    struct peer *before = find_path(table, &peer->path);
    if (before)
        unlink_path(table, before);
    link_path(table, peer);
}

struct peer *peer_by_path(struct peer_table *table, const struct path *path)
{
    pthread_mutex_lock(&table->mutex);
    struct peer *peer = find_path(table, path);
    pthread_mutex_unlock(&table->mutex);
    return peer;
}

static bool move_locked(struct peer_table *table, struct peer *peer, const struct path *path)
{
    struct peer *owner = find_path(table, path);
    if (owner == peer)
        return true;
    if (owner || peer->by_stream || atomic_load_explicit(&peer->removed, memory_order_relaxed))
        return false;
    unlink_path(table, peer);
    pthread_mutex_lock(&peer->path_mutex);
    peer->path = *path;
    pthread_mutex_unlock(&peer->path_mutex);
    link_path(table, peer);
    return true;
}

bool peer_move(struct peer_table *table, struct peer *peer, const struct path *path)
{
    pthread_mutex_lock(&table->mutex);
    bool moved = move_locked(table, peer, path);
    pthread_mutex_unlock(&table->mutex);
    return moved;
}

struct path peer_path(struct peer *peer)
{
    pthread_mutex_lock(&peer->path_mutex);
    struct path path = peer->path;
    pthread_mutex_unlock(&peer->path_mutex);
    return path;
}

/* By id and by inside address. */

static struct slot *id_slot(struct peer_table *table, uint32_t id)
{
    if (id >= NO_PEER_ID)
        return NULL;
    struct slot *block = atomic_load_explicit(&table->blocks[id / BLOCK_SIZE], memory_order_acquire);
    return block ? &block[id % BLOCK_SIZE] : NULL;
}

static struct slot *inside_slot(struct peer_table *table, uint32_t address)
{
    /* An address below the range becomes a large number. */
    uint32_t offset = address - table->network;
    return offset < table->addresses ? &table->by_inside[offset] : NULL;
}

static struct peer *look_into(struct slot *slot)
{
    return slot ? atomic_load_explicit(&slot->peer, memory_order_acquire) : NULL;
}

struct peer *peer_by_id(struct peer_table *table, uint32_t id)
{
    return look_into(id_slot(table, id));
}

struct peer *peer_by_inside(struct peer_table *table, uint32_t address)
{
    return look_into(inside_slot(table, address));
}

struct peer *peer_from(struct peer_table *table, uint32_t id)
{
    while (id < NO_PEER_ID) {
        struct slot *slot = id_slot(table, id);
        struct peer *peer = look_into(slot);
        if (peer)
            return peer;
        /* To the next id, or past the block that does not exist. */
        id = slot ? id + 1 : (id / BLOCK_SIZE + 1) * BLOCK_SIZE;
    }
    return NULL;
}

/* The table. */

struct peer_table *peer_table_new(uint32_t network, unsigned prefix)
{
    bool is_known = prefix >= LEAST_PREFIX && prefix <= MOST_PREFIX;
    struct peer_table *table = is_known ? calloc(1, sizeof *table) : NULL;
    if (!table)
        return NULL;
    table->addresses = 1u << (32 - prefix);
    table->network = network & ~(table->addresses - 1);
    pthread_mutex_init(&table->mutex, NULL);
    table->by_inside = calloc(table->addresses, sizeof *table->by_inside);
    table->by_path = calloc(PATH_BUCKETS, sizeof *table->by_path);
    if (table->by_inside && table->by_path)
        return table;
    peer_table_free(table);
    return NULL;
}

void peer_table_free(struct peer_table *table)
{
    struct peer *next;
    for (struct peer *peer = peer_from(table, 0); peer; peer = next) {
        next = peer_from(table, peer->id + 1);
        peer_free(peer);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        free(atomic_load_explicit(&table->blocks[i], memory_order_relaxed));
    pthread_mutex_destroy(&table->mutex);
    free(table->by_inside);
    free(table->by_path);
    free(table);
}

/* The slot of an id, in a block that is made if need be. NULL for lack of memory. */
static struct slot *make_id_slot(struct peer_table *table, uint32_t id)
{
    struct slot *found = id_slot(table, id);
    if (found)
        return found;
    struct slot *block = calloc(BLOCK_SIZE, sizeof *block);
    if (!block)
        return NULL;
    atomic_store_explicit(&table->blocks[id / BLOCK_SIZE], block, memory_order_release);
    return &block[id % BLOCK_SIZE];
}

int peer_table_add(struct peer_table *table, struct peer *peer)
{
    struct slot *by_inside = inside_slot(table, peer->inside);
    if (peer->id >= NO_PEER_ID || !by_inside)
        return -EINVAL;
    struct slot *by_id = make_id_slot(table, peer->id);
    if (!by_id)
        return -ENOMEM;
    if (look_into(by_id) || look_into(by_inside))
        return -EEXIST;
    if (!peer->by_stream) {
        pthread_mutex_lock(&table->mutex);
        take_path(table, peer);
        pthread_mutex_unlock(&table->mutex);
    }
    atomic_store_explicit(&by_inside->peer, peer, memory_order_release);
    atomic_store_explicit(&by_id->peer, peer, memory_order_release);
    return 0;
}

void peer_table_remove(struct peer_table *table, struct peer *peer)
{
    pthread_mutex_lock(&table->mutex);
    atomic_store_explicit(&peer->removed, true, memory_order_release);
    if (!peer->by_stream)
        unlink_path(table, peer);
    pthread_mutex_unlock(&table->mutex);
    atomic_store_explicit(&inside_slot(table, peer->inside)->peer, NULL, memory_order_release);
    atomic_store_explicit(&id_slot(table, peer->id)->peer, NULL, memory_order_release);
}
