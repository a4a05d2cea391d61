/* One thread of the plane: what it owns, and the steps that its loop is made of.
 *
 *     worker.c    waits, and calls the rest: the socket, the device, streams, the clock
 *     ingress.c   from clients: datagrams and frames, opened, examined, and written to the device
 *     egress.c    to clients: frames of the device, cut, sealed, and sent
 *     timers.c    once a second: pings, idle peers, worn keys, streams whose time is up
 *
 * A worker never waits for another, nor for control. It touches what is shared only between `reclaim_online` and
 * `reclaim_offline`, and gives up every reference at the end of a batch.
 */
#ifndef PORTWAY_WORKER_H
#define PORTWAY_WORKER_H

#include <pthread.h>

#include "drops.h"
#include "events.h"
#include "inbox.h"
#include "peers.h"
#include "plane.h"
#include "reclaim.h"
#include "train.h"
#include "tun.h"
#include "udp.h"

#define MOST_FRAMES 64 /* of the device, or from client to client, in one batch */

/* A stream that this worker reads. */
struct served_stream {
    struct stream *stream;
    bool ended; /* closed here, and control does not know yet */
};

/* A frame on its way to a client. */
struct outgoing {
    struct peer *peer;
    struct span frame;
    bool has_header; /* the device's virtio header is before the packet */
};

#define WORTH_WAITING_FOR 32 /* packets: a pause is as long as they take to come, and who has so many has no need of one */

/* How fast packets come: decides whether to wait a moment for more of them. */
struct pace {
    uint64_t since_ns; /* the window that is being counted began */
    unsigned packets;  /* in this window; a frame of many segments is one */
    uint32_t pause_ns; /* between turns, as the last whole window has it; 0: none */
    bool has_more;     /* this turn left something behind */
};

struct worker {
    struct plane *plane;
    unsigned index;
    pthread_t thread;
    struct udp_socket *udp;  /* NULL without UDP */
    struct tun_queue *tun;   /* where it writes */
    bool reads_tun;          /* nobody else reads that queue */
    int epoll, timer;
    int streams_epoll;       /* of the streams that it reads, and in `epoll` itself: however many talk, they are one among the others */
    uint32_t tick_at;        /* the peer id at which a tick that is not over goes on */
    uint64_t now;            /* ms of CLOCK_MONOTONIC, when the batch began */
    struct pace pace;
    int failed;              /* negative errno of a device that is gone */

    struct udp_receiver *receiver;
    unsigned most_messages;  /* of the next receive: fewer when they are joined ones */
    struct path seen_path;   /* of `seen_peer`, in this batch */
    struct peer *seen_peer;
    struct trains trains;

    struct span frames;      /* what the device gave in this batch: MOST_FRAMES of LARGEST_FRAME */
    struct outgoing outgoing[MOST_FRAMES];
    unsigned outgoing_count;
    struct span sealed;      /* a run of data packets, back to back */
    struct span stream_data; /* what a stream gave */

    struct events *events;
    struct drop_counters drops;
    _Atomic uint64_t batches;

    pthread_mutex_t streams_mutex; /* control adds and forgets; this worker ends, and looks at their clocks */
    struct served_stream *streams; /* in the order of their numbers */
    size_t stream_count, stream_room;
};

/* What all threads of a plane share. */
struct plane {
    struct plane_settings settings;
    pid_t process; /* that made it */
    unsigned tun_count;
    bool has_udp;
    int stop; /* an eventfd that becomes readable when the workers shall stop */
    bool was_started, running;
    struct peer_table *peers;
    struct reclaim *reclaim;
    struct udp_socket udp[MOST_WORKERS];
    struct tun_queue tun[MOST_WORKERS];
    struct worker *workers;
    unsigned next_turn; /* whose event is the next: a worker's, or the inbox's; this and the inbox are control's alone */
    struct inbox inbox;
    struct drop_counters drops; /* what control itself could not send, or take */
};

/* worker.c. `worker_open` makes what the thread needs; 0 or negative errno, and `worker_close` is due all the same. */
int worker_open(struct worker *worker, struct plane *plane, unsigned index, int wake);
void worker_close(struct worker *worker);
void *worker_run(void *worker);
uint64_t clock_ms(void);

/* control.c */
void release_all_access(struct plane *plane);

/* serving.c, by control: the stream of that number, while it is known. */
struct stream *find_stream(struct plane *plane, uint64_t number);

/* ingress.c */
void ingress_datagrams(struct worker *worker);
enum stream_state ingress_stream(struct worker *worker, struct stream *stream);
int write_to_tun(void *worker, struct peer *peer, const struct iovec *pieces, int count, unsigned packets, size_t octets);

/* egress.c. `egress_frames`: 0, or negative errno when the device is gone. */
int egress_frames(struct worker *worker);
/* A sound packet for a client. It must stay where it is until `egress_flush`. */
void egress_take(struct worker *worker, struct peer *peer, struct span frame, bool has_header);
void egress_flush(struct worker *worker);
void egress_ping(struct worker *worker, struct peer *peer);

/* timers.c */
bool timers_tick(struct worker *worker); /* false: there is more to do, in the next turn */
void end_stream(struct worker *worker, struct stream *stream);

static inline void drop_packets(struct worker *worker, struct peer *peer, enum drop cause, unsigned packets)
{
    count_drops(&worker->drops, cause, packets);
    if (peer)
        count_drops(&peer->traffic.drops, cause, packets);
}

#endif
