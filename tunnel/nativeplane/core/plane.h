/* One endpoint's native data plane: what control may ask of it. Knows no Python; binding/ puts it into Python's terms.
 *
 * Control is one thread: nothing here may be called by two threads at once. No call waits, but for plane_stop, which waits for
 * the workers' last batch. Workers are threads of our own; they block all signals.
 */
#ifndef PORTWAY_PLANE_H
#define PORTWAY_PLANE_H

#include "access.h"
#include "data_key.h"
#include "drops.h"
#include "events.h"
#include "path.h"
#include "peers.h"
#include "stream.h"

#define MOST_WORKERS 64
#define CONTROL_SOCKETS 1 /* behind those of the workers */

struct plane_settings {
    unsigned workers;          /* 1 to MOST_WORKERS */
    uint32_t network, gateway; /* host order */
    unsigned prefix;
    size_t mtu;
    bool udp_offload, tun_offload;
    struct wear_limits wear;
    struct stream_limits streams;
};

struct plane;

/* Takes descriptors that stay the caller's. `udp`: one per worker and one more for control, all in one reuseport group; or, of a plane
 * with one worker, that one's alone; or none, without UDP. `tun`: one queue per worker, or fewer: then the workers without one write
 * to the first. */
struct plane_descriptors {
    const int *udp, *tun;
    unsigned udp_count, tun_count;
    int wake; /* an eventfd: there are events of workers. Those of control's own socket, that tells itself. */
};

/* 0 or negative errno. */
int plane_new(const struct plane_settings *settings, const struct plane_descriptors *descriptors, struct plane **plane);
/* Start the workers, once. 0 or negative errno: then none runs that did not run before. */
int plane_start(struct plane *plane);
/* Stop and join the workers. Idempotent. Nothing is sent or received any more; control may still ask and export. */
void plane_stop(struct plane *plane);
/* Streams still open are closed. In a forked child, this and the former do nothing. */
void plane_free(struct plane *plane);

struct peer_settings {
    uint32_t id, inside;
    struct path path;
    struct access_table *access; /* held by the plane until replaced or the peer is removed */
    uint32_t ping_interval_ms, idle_timeout_ms;
    bool data_v2;
    uint16_t mss;
    uint8_t tag; /* comes back in events, above the peer id: so they are told from those of an earlier peer of that id */
};

struct traffic_totals {
    uint64_t ingress_packets, ingress_octets, egress_packets, egress_octets;
    uint64_t drops[DROP_CAUSES];
};

/* 0; -EEXIST: id or inside address in use; -EINVAL: out of range; -ENOMEM. A TCP peer's stream may be gone already: it
 * is let in all the same. One that is another peer's becomes its own. */
int plane_add_peer(struct plane *plane, const struct peer_settings *settings, const struct traffic_totals *moved_before);
/* These give -ENOENT for a peer, or key, that is not there. */
int plane_remove_peer(struct plane *plane, uint32_t id, struct traffic_totals *moved);
int plane_install_key(struct plane *plane, uint32_t id, struct key_settings *settings); /* sets peer id, format, workers */
int plane_activate_key(struct plane *plane, uint32_t id, uint8_t key_id);
int plane_drop_key(struct plane *plane, uint32_t id, uint8_t key_id);
int plane_set_access(struct plane *plane, uint32_t id, struct access_table *access);
int plane_traffic(struct plane *plane, uint32_t id, struct traffic_totals *moved);
void plane_drops(struct plane *plane, uint64_t drops[DROP_CAUSES]);
/* A peer as another plane may go on with it: exact, since nobody uses it any more. */
struct frozen_peer {
    struct path path;
    uint8_t key_ids; /* a bit for each that it has */
    int sending;     /* the key id under which it was sent to; -1: none */
    struct traffic_totals moved;
    struct key_progress progress[KEY_IDS];
};
/* Take a peer out, like plane_remove_peer, and say where it and its keys stand. Waits until the workers' current batches have
 * ended: a packet id that is used after this would be used twice. */
int plane_freeze_peer(struct plane *plane, uint32_t id, struct frozen_peer *frozen);

/* An access table that control has released for the last time goes when no worker reads it any more. */
void plane_release_access(struct plane *plane, struct access_table *access);

/* A control packet to a path, UDP or TCP. A path that is gone is ignored; what a socket refuses is counted. */
void plane_send_control(struct plane *plane, const struct path *path, struct span packet);
/* Takes over an accepted, connected, non-blocking socket. 0 or negative errno: then it stays the caller's. */
int plane_add_stream(struct plane *plane, int fd, const struct path *path);
void plane_close_stream(struct plane *plane, uint64_t stream);
void plane_abort_stream(struct plane *plane, uint64_t stream);
/* After EVENT_STREAM_ENDED: forget it. */
void plane_forget_stream(struct plane *plane, uint64_t stream);

/* The next event of any worker, or of control's own socket. Its packet is valid until the next call. */
bool plane_next_event(struct plane *plane, struct event *event);

struct plane_facts {
    unsigned workers, tun_queues;
    bool udp_gso, tun_tso, tun_uso;
    const char *aead; /* `aead_backend` */
    uint64_t gso_refusals, lost_control_packets;
    uint64_t batches[MOST_WORKERS]; /* wake-ups of each worker */
    uint64_t cpu_ns[MOST_WORKERS];  /* CPU time of each worker thread */
};
void plane_facts(struct plane *plane, struct plane_facts *facts);

#endif
