/* To a client: from the TUN device, or from another client.
 *
 * The steps, in the order in which a packet meets the functions:
 *
 *     1. egress_frames   read a batch of frames; who owns the destination?
 *     2. egress_take     remember the frame, by reference
 *     3. egress_flush    client by client: cut its frames into packets, clamp the MSS, seal them into a run of datagrams,
 *                        and send that in one call
 *
 * Buffers: a frame lies where it was received, and is cut and sealed from there; the run of sealed packets is the worker's,
 * and is sent before the next one begins. The order in which a client's packets are sealed is that in which they leave: its
 * `sending_mutex` is held for both.
 */
#include "cut.h"
#include "inner.h"
#include "worker.h"

#define FRAME_BUDGET (128u << 10) /* octets of a batch, after which the other direction has its turn */

/* Data packets of one length, back to back, and perhaps a shorter last one: what one UDP_SEGMENT send carries. */
struct run {
    struct worker *worker;
    struct peer *peer;
    struct data_key *key;
    struct stream *stream; /* TCP */
    size_t segment, octets;
    unsigned count;
    bool ended; /* its last packet is a shorter one */
    uint64_t traffic_packets, traffic_octets; /* what of it counts: inner packets, not pings */
    struct path path; /* UDP; a client that floats meanwhile gets the rest of this batch at its old address */
};

/* Before it is sent: who has a packet may look whether it was counted. */
static void count_traffic(struct run *run)
{
    struct traffic *traffic = &run->peer->traffic;
    atomic_fetch_add_explicit(&traffic->egress_packets, run->traffic_packets, memory_order_relaxed);
    atomic_fetch_add_explicit(&traffic->egress_octets, run->traffic_octets, memory_order_relaxed);
    run->traffic_packets = run->traffic_octets = 0;
}

static bool is_full(struct stream *stream)
{
    return stream && atomic_load_explicit(&stream->is_full, memory_order_relaxed);
}

static void run_send(struct run *run)
{
    if (!run->count)
        return;
    count_traffic(run);
    struct span packets = part(run->worker->sealed, 0, run->octets);
    if (run->peer->by_stream) {
        unsigned refused = run->count;
        if (run->stream)
            refused = stream_send_data(run->stream, packets, run->segment, run->count);
        if (refused)
            drop_packets(run->worker, run->peer, is_full(run->stream) ? DROP_BACKLOG : DROP_SEND_FAILED, refused);
    } else {
        unsigned refused = run->count;
        if (run->worker->udp)
            refused = udp_send(run->worker->udp, &run->path, packets, run->segment, run->count);
        if (refused)
            drop_packets(run->worker, run->peer, DROP_SEND_FAILED, refused);
    }
    run->count = 0;
    run->octets = run->segment = 0;
    run->ended = false;
}

/* Seal one payload into the run, behind what is there. False when the key is used up. */
static bool run_add(struct run *run, struct span payload)
{
    size_t size = sealed_size(run->key, payload.size);
    bool fits = !run->ended && size <= run->segment && run->count < MOST_GSO_SEGMENTS && run->octets + size <= GOOD_GSO_OCTETS;
    if (run->count && !fits)
        run_send(run);
    if (!holds(run->worker->sealed, run->octets, size) ||
        !seal(run->key, run->worker->index, payload, part(run->worker->sealed, run->octets, size)))
        return false;
    if (!run->count)
        run->segment = size;
    run->ended = size < run->segment;
    run->octets += size;
    run->count++;
    return true;
}

/* Cut a frame, and add its packets. */
static void send_frame(struct run *run, const struct outgoing *outgoing)
{
    struct cutter cutter;
    struct span packet;
    if (!cut_begin(&cutter, outgoing->frame, outgoing->has_header)) {
        drop_packets(run->worker, run->peer, DROP_BAD_HEADER, 1);
        return;
    }
    while (cut_next(&cutter, &packet)) {
        if (is_full(run->stream)) {
            drop_packets(run->worker, run->peer, DROP_BACKLOG, 1);
            continue;
        }
        if (run->peer->mss && cutter.count == 1)
            clamp_mss(packet, run->peer->mss);
        if (!run->key || !run_add(run, packet)) {
            drop_packets(run->worker, run->peer, DROP_NO_KEY, 1);
            continue;
        }
        run->traffic_packets++;
        run->traffic_octets += packet.size;
    }
}

/* By whoever holds the peer's `sending_mutex`. */
static struct run run_begin(struct worker *worker, struct peer *peer)
{
    struct run run = {.worker = worker, .peer = peer};
    if (!atomic_load_explicit(&peer->removed, memory_order_acquire))
        run.key = atomic_load_explicit(&peer->sending, memory_order_acquire);
    if (peer->by_stream)
        run.stream = atomic_load_explicit(&peer->stream, memory_order_acquire);
    else
        run.path = peer_path(peer);
    return run;
}

static void run_end(struct run *run)
{
    run_send(run);
    atomic_store_explicit(&run->peer->last_sent, run->worker->now, memory_order_relaxed);
}

/* Everything of this batch for the peer of `outgoing[first]`; its entries are empty afterwards. */
static void send_to_peer(struct worker *worker, unsigned first)
{
    struct peer *peer = worker->outgoing[first].peer;
    pthread_mutex_lock(&peer->sending_mutex);
    struct run run = run_begin(worker, peer);
    for (unsigned i = first; i < worker->outgoing_count; i++) {
        if (worker->outgoing[i].peer != peer)
            continue;
        send_frame(&run, &worker->outgoing[i]);
        worker->outgoing[i].peer = NULL;
    }
    run_end(&run);
    pthread_mutex_unlock(&peer->sending_mutex);
}

void egress_flush(struct worker *worker)
{
    for (unsigned i = 0; i < worker->outgoing_count; i++)
        if (worker->outgoing[i].peer)
            send_to_peer(worker, i);
    worker->outgoing_count = 0;
}

void egress_take(struct worker *worker, struct peer *peer, struct span frame, bool has_header)
{
    if (worker->outgoing_count == MOST_FRAMES)
        egress_flush(worker);
    worker->outgoing[worker->outgoing_count++] = (struct outgoing){peer, frame, has_header};
}

void egress_ping(struct worker *worker, struct peer *peer)
{
    uint8_t ping[PING_SIZE];
    memcpy(ping, PING, sizeof ping);
    pthread_mutex_lock(&peer->sending_mutex);
    struct run run = run_begin(worker, peer);
    if (run.key && !is_full(run.stream) && run_add(&run, span_of(ping, sizeof ping)))
        run_end(&run);
    pthread_mutex_unlock(&peer->sending_mutex);
}

/* Remember a frame of the device for whoever owns its destination. */
static void route_frame(struct worker *worker, struct span frame, bool has_header)
{
    struct span packet = rest(frame, has_header ? VIRTIO_HEADER_SIZE : 0);
    enum drop fault = find_fault(packet);
    if (fault != DROP_NONE) {
        /* Mostly IPv6 router solicitations, which the kernel sends into every device. */
        drop_packets(worker, NULL, fault, 1);
        return;
    }
    struct peer *peer = peer_by_inside(worker->plane->peers, destination_of(packet));
    if (peer)
        egress_take(worker, peer, frame, has_header);
    else
        drop_packets(worker, NULL, DROP_NO_PEER, 1);
}

int egress_frames(struct worker *worker)
{
    size_t octets = 0;
    unsigned count = 0;
    for (; count < MOST_FRAMES && octets < FRAME_BUDGET; count++) {
        struct span room = part(worker->frames, count * LARGEST_FRAME, LARGEST_FRAME);
        ssize_t size = tun_read(worker->tun, room);
        if (size < 0)
            return (int)size;
        if (size == 0)
            break;
        route_frame(worker, part(room, 0, (size_t)size), worker->tun->has_header);
        octets += (size_t)size;
    }
    egress_flush(worker);
    worker->pace.packets += count;
    worker->pace.has_more |= count == MOST_FRAMES || octets >= FRAME_BUDGET;
    return 0;
}
