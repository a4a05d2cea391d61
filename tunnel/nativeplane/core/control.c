/* What control may ask about peers, keys and access tables.
 *
 * Called by one thread. What workers may be reading is published whole; what they may still hold is handed to `reclaim`.
 */
#include <errno.h>
#include <time.h>

#include "plane.h"
#include "worker.h"

#define QUIET_POLL_NS 50000

/* Access tables. */

static void free_access(void *access)
{
    access_table_free(access);
}

void plane_release_access(struct plane *plane, struct access_table *access)
{
    if (access && access_table_release(access) == 0)
        reclaim_later(plane->reclaim, access, free_access);
}

static void use_access(struct plane *plane, struct peer *peer, struct access_table *access)
{
    access_table_hold(access);
    plane_release_access(plane, atomic_exchange_explicit(&peer->access, access, memory_order_acq_rel));
}

void release_all_access(struct plane *plane)
{
    if (!plane->peers || !plane->reclaim)
        return;
    for (struct peer *peer = peer_from(plane->peers, 0); peer; peer = peer_from(plane->peers, peer->id + 1))
        plane_release_access(plane, atomic_exchange_explicit(&peer->access, NULL, memory_order_acq_rel));
}

/* Traffic. */

static void load_traffic(struct traffic *traffic, struct traffic_totals *totals)
{
    totals->ingress_packets = atomic_load_explicit(&traffic->ingress_packets, memory_order_relaxed);
    totals->ingress_octets = atomic_load_explicit(&traffic->ingress_octets, memory_order_relaxed);
    totals->egress_packets = atomic_load_explicit(&traffic->egress_packets, memory_order_relaxed);
    totals->egress_octets = atomic_load_explicit(&traffic->egress_octets, memory_order_relaxed);
    for (unsigned cause = 0; cause < DROP_CAUSES; cause++)
        totals->drops[cause] = atomic_load_explicit(&traffic->drops.count[cause], memory_order_relaxed);
}

static void store_traffic(struct traffic *traffic, const struct traffic_totals *totals)
{
    atomic_store_explicit(&traffic->ingress_packets, totals->ingress_packets, memory_order_relaxed);
    atomic_store_explicit(&traffic->ingress_octets, totals->ingress_octets, memory_order_relaxed);
    atomic_store_explicit(&traffic->egress_packets, totals->egress_packets, memory_order_relaxed);
    atomic_store_explicit(&traffic->egress_octets, totals->egress_octets, memory_order_relaxed);
    for (unsigned cause = 0; cause < DROP_CAUSES; cause++)
        atomic_store_explicit(&traffic->drops.count[cause], totals->drops[cause], memory_order_relaxed);
}

int plane_traffic(struct plane *plane, uint32_t id, struct traffic_totals *moved)
{
    struct peer *peer = peer_by_id(plane->peers, id);
    if (!peer)
        return -ENOENT;
    load_traffic(&peer->traffic, moved);
    return 0;
}

/* Peers. */

static void settle(struct peer *peer, const struct peer_settings *settings, const struct traffic_totals *moved_before)
{
    uint64_t now = clock_ms();
    peer->mss = settings->mss;
    peer->tag = settings->tag;
    peer->data_v2 = settings->data_v2;
    peer->by_stream = settings->path.stream != 0;
    peer->ping_interval_ms = settings->ping_interval_ms;
    peer->idle_timeout_ms = settings->idle_timeout_ms;
    peer->path = settings->path;
    atomic_store_explicit(&peer->last_heard, now, memory_order_relaxed);
    atomic_store_explicit(&peer->last_sent, now, memory_order_relaxed);
    if (moved_before)
        store_traffic(&peer->traffic, moved_before);
}

/* Who was let in on the stream before has it no longer: a stream and its peer always know each other, so that neither is left with
 * a pointer to the other when that goes. */
static void give_stream(struct stream *stream, struct peer *peer)
{
    struct peer *before = atomic_exchange_explicit(&stream->peer, peer, memory_order_acq_rel);
    if (before)
        atomic_store_explicit(&before->stream, NULL, memory_order_release);
}

int plane_add_peer(struct plane *plane, const struct peer_settings *settings, const struct traffic_totals *moved_before)
{
    struct peer *peer = peer_new(settings->id, settings->inside);
    if (!peer)
        return -ENOMEM;
    settle(peer, settings, moved_before);
    use_access(plane, peer, settings->access);
    struct stream *stream = peer->by_stream ? find_stream(plane, settings->path.stream) : NULL;
    atomic_store_explicit(&peer->stream, stream, memory_order_release);
    int failed = peer_table_add(plane->peers, peer);
    if (failed) {
        plane_release_access(plane, atomic_exchange_explicit(&peer->access, NULL, memory_order_acq_rel));
        peer_free(peer);
        return failed;
    }
    if (stream)
        give_stream(stream, peer);
    return 0;
}

/* Nobody finds the peer any more, and whoever is sending to it has finished. */
static void unlink_peer(struct plane *plane, struct peer *peer)
{
    peer_table_remove(plane->peers, peer);
    struct stream *stream = atomic_exchange_explicit(&peer->stream, NULL, memory_order_acq_rel);
    if (stream)
        atomic_store_explicit(&stream->peer, NULL, memory_order_release);
    pthread_mutex_lock(&peer->sending_mutex);
    pthread_mutex_unlock(&peer->sending_mutex);
}

static void forget_peer(struct plane *plane, struct peer *peer)
{
    /* Workers that still hold the peer look at its table, so that goes when they are done with it. */
    struct access_table *access = atomic_load_explicit(&peer->access, memory_order_acquire);
    reclaim_later(plane->reclaim, peer, peer_free);
    plane_release_access(plane, access);
}

int plane_remove_peer(struct plane *plane, uint32_t id, struct traffic_totals *moved)
{
    struct peer *peer = peer_by_id(plane->peers, id);
    if (!peer)
        return -ENOENT;
    unlink_peer(plane, peer);
    load_traffic(&peer->traffic, moved);
    forget_peer(plane, peer);
    return 0;
}

static void nothing(void *object)
{
    (void)object;
}

/* Until no worker holds anything that was unlinked before: one more object in line says when. */
static void wait_until_quiet(struct plane *plane)
{
    struct timespec pause = {.tv_nsec = QUIET_POLL_NS};
    reclaim_later(plane->reclaim, plane, nothing);
    while (plane->running && reclaim_now(plane->reclaim))
        nanosleep(&pause, NULL);
}

int plane_freeze_peer(struct plane *plane, uint32_t id, struct frozen_peer *frozen)
{
    struct peer *peer = peer_by_id(plane->peers, id);
    if (!peer)
        return -ENOENT;
    unlink_peer(plane, peer);
    wait_until_quiet(plane);
    struct data_key *sending = atomic_load_explicit(&peer->sending, memory_order_acquire);
    *frozen = (struct frozen_peer){.path = peer_path(peer), .sending = sending ? data_key_id(sending) : -1};
    load_traffic(&peer->traffic, &frozen->moved);
    for (unsigned i = 0; i < KEY_IDS; i++) {
        struct data_key *key = atomic_load_explicit(&peer->keys[i], memory_order_acquire);
        if (!key)
            continue;
        frozen->key_ids |= (uint8_t)(1u << i);
        data_key_progress(key, &frozen->progress[i]);
    }
    forget_peer(plane, peer);
    return 0;
}

int plane_set_access(struct plane *plane, uint32_t id, struct access_table *access)
{
    struct peer *peer = peer_by_id(plane->peers, id);
    if (!peer)
        return -ENOENT;
    use_access(plane, peer, access);
    return 0;
}

/* Keys. */

static void free_key(void *key)
{
    data_key_free(key);
}

/* Put a key, or none, in the place of another: of that one, nothing is sent or opened from the next packet on. */
static void replace_key(struct plane *plane, struct peer *peer, uint8_t key_id, struct data_key *key)
{
    struct data_key *old = atomic_exchange_explicit(&peer->keys[key_id], key, memory_order_acq_rel);
    if (!old)
        return;
    if (atomic_load_explicit(&peer->sending, memory_order_relaxed) == old)
        atomic_store_explicit(&peer->sending, NULL, memory_order_release);
    reclaim_later(plane->reclaim, old, free_key);
}

int plane_install_key(struct plane *plane, uint32_t id, struct key_settings *settings)
{
    struct data_key *key;
    struct peer *peer = peer_by_id(plane->peers, id);
    if (!peer)
        return -ENOENT;
    if (settings->key_id >= KEY_IDS)
        return -EINVAL;
    settings->peer_id = peer->id;
    settings->data_v2 = peer->data_v2;
    settings->workers = plane->settings.workers;
    int failed = data_key_new(settings, &key);
    if (failed)
        return failed;
    replace_key(plane, peer, settings->key_id, key);
    return 0;
}

int plane_activate_key(struct plane *plane, uint32_t id, uint8_t key_id)
{
    struct peer *peer = peer_by_id(plane->peers, id);
    struct data_key *key = peer && key_id < KEY_IDS ? atomic_load_explicit(&peer->keys[key_id], memory_order_acquire) : NULL;
    if (!key)
        return -ENOENT;
    atomic_store_explicit(&peer->sending, key, memory_order_release);
    return 0;
}

int plane_drop_key(struct plane *plane, uint32_t id, uint8_t key_id)
{
    struct peer *peer = peer_by_id(plane->peers, id);
    if (!peer || key_id >= KEY_IDS)
        return -ENOENT;
    replace_key(plane, peer, key_id, NULL);
    return 0;
}
