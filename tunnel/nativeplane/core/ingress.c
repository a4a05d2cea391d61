/* From a client: to the TUN device, or to another client.
 *
 * The steps, in the order in which a packet meets the functions:
 *
 *     1. take_datagram, take_frame   whose is it? (control packets go up)
 *     2. take_data                   which key? authentic, and not a replay?
 *     3. follow                      a datagram from elsewhere: the client has floated
 *     4. forward                     pings and exit notices are swallowed; IPv4? its own source? may it go there?
 *     5. trains                      joined with its flow's packets, and written at the end of the batch
 *
 * Buffers: a datagram lies in the receiver's memory, a frame in the worker's; both are opened in place. Trains and egress
 * refer to what is there until the end of the batch, when all of it leaves.
 */
#include "inner.h"
#include "opcodes.h"
#include "worker.h"

#define PROTOCOL_TCP 6
#define PLAIN_IPV4 0x45
#define MOST_MOVES 3 /* changes of address per second that a client is followed */

/* Joined messages are long: a batch of fewer keeps the other direction's wait, and the memory in use, short. */
#define FEW_MESSAGES 8
#define LONG_BATCH (128u << 10)

/* Step 4. */

static bool is_swallowed(struct worker *worker, struct peer *peer, struct span payload)
{
    enum own_message own = own_message(payload);
    if (own == OWN_EXIT) {
        /* Should the ring be full, the idle timeout says it later. */
        struct event event = {.kind = EVENT_EXITED, .peer_id = event_name(peer)};
        events_push(worker->events, &event);
    }
    if (own != NOT_OWN)
        return true;
    enum drop fault = find_fault(payload);
    if (fault == DROP_NONE)
        return false;
    drop_packets(worker, peer, fault, 1);
    return true;
}

static void to_other_client(struct worker *worker, struct peer *peer, struct span packet)
{
    struct peer *receiver = peer_by_inside(worker->plane->peers, destination_of(packet));
    if (!receiver) {
        drop_packets(worker, peer, DROP_NO_PEER, 1);
        return;
    }
    atomic_fetch_add_explicit(&peer->traffic.ingress_packets, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&peer->traffic.ingress_octets, packet.size, memory_order_relaxed);
    egress_take(worker, receiver, packet, false);
}

static void forward(struct worker *worker, struct peer *peer, struct span packet)
{
    /* Like the packets before it in everything that is looked at below. */
    if (train_extend(&worker->trains, peer, packet))
        return;
    bool is_plain = packet.size >= IPV4_HEADER_SIZE && load8(packet, 0) == PLAIN_IPV4 && load16(packet, 2) == packet.size;
    if (!is_plain && is_swallowed(worker, peer, packet))
        return;
    if (source_of(packet) != peer->inside) {
        drop_packets(worker, peer, DROP_SPOOFED_SOURCE, 1);
        return;
    }
    if (packet.size > worker->plane->settings.mtu) {
        drop_packets(worker, peer, DROP_OVERSIZE, 1);
        return;
    }
    if (peer->mss && load8(packet, 9) == PROTOCOL_TCP)
        clamp_mss(packet, peer->mss);
    struct access_table *access = atomic_load_explicit(&peer->access, memory_order_acquire);
    switch (access_verdict(access, destination_of(packet))) {
    case VERDICT_FORWARD:
        train_take(&worker->trains, peer, packet);
        break;
    case VERDICT_LOCAL:
        to_other_client(worker, peer, packet);
        break;
    case VERDICT_NO_RULE:
        drop_packets(worker, peer, DROP_NO_RULE, 1);
        break;
    case VERDICT_MULTICAST:
        drop_packets(worker, peer, DROP_MULTICAST, 1);
        break;
    case VERDICT_NO_ROUTE:
        drop_packets(worker, peer, DROP_NO_ROUTE, 1);
        break;
    }
}

/* Step 5: what `trains` calls. */
int write_to_tun(void *context, struct peer *peer, const struct iovec *pieces, int count, unsigned packets, size_t octets)
{
    struct worker *worker = context;
    int error = tun_write(worker->tun, pieces, count);
    if (error < 0) {
        if (packets == 1)
            drop_packets(worker, peer, DROP_TUN_REFUSED, 1);
        return error;
    }
    atomic_fetch_add_explicit(&peer->traffic.ingress_packets, packets, memory_order_relaxed);
    atomic_fetch_add_explicit(&peer->traffic.ingress_octets, octets, memory_order_relaxed);
    return 0;
}

/* Step 3. */

static bool move_peer(struct worker *worker, struct peer *peer, const struct path *old, const struct path *new)
{
    uint32_t moves = atomic_load_explicit(&peer->moves, memory_order_relaxed);
    if (moves >= MOST_MOVES || !peer_move(worker->plane->peers, peer, new))
        return false;
    atomic_fetch_add_explicit(&peer->moves, 1, memory_order_relaxed);
    struct event event = {.kind = EVENT_FLOATED, .peer_id = event_name(peer), .path = *new};
    if (events_push(worker->events, &event))
        return true;
    /* Control would go on writing to the old place, so the client shall be there until control can be told. */
    peer_move(worker->plane->peers, peer, old);
    return false;
}

/* Whether a client that sent something authentic from `from` is there, or is followed there. */
static bool follow(struct worker *worker, struct peer *peer, const struct path *from)
{
    if (worker->seen_peer == peer && same_path(&worker->seen_path, from))
        return true;
    struct path known = peer_path(peer);
    if (!same_path(&known, from) && !move_peer(worker, peer, &known, from)) {
        drop_packets(worker, peer, DROP_FLOAT_REFUSED, 1);
        return false;
    }
    worker->seen_peer = peer;
    worker->seen_path = *from;
    return true;
}

/* Step 2. */

static bool open_data(struct worker *worker, struct peer *peer, struct span packet, struct span *payload)
{
    struct data_key *key = atomic_load_explicit(&peer->keys[load8(packet, 0) & 7], memory_order_acquire);
    if (!key) {
        drop_packets(worker, peer, DROP_UNKNOWN_KEY, 1);
        return false;
    }
    enum opened opened = open_untrusted(key, worker->index, packet, payload);
    if (opened != OPENED)
        drop_packets(worker, peer, opened == REPLAYED ? DROP_REPLAY : DROP_AUTHENTICATION, 1);
    return opened == OPENED;
}

static void take_data(struct worker *worker, struct peer *peer, struct span packet, const struct path *from)
{
    struct span payload;
    if (!open_data(worker, peer, packet, &payload) || (from && !follow(worker, peer, from)))
        return;
    if (atomic_load_explicit(&peer->last_heard, memory_order_relaxed) != worker->now)
        atomic_store_explicit(&peer->last_heard, worker->now, memory_order_relaxed);
    forward(worker, peer, payload);
}

/* Step 1. */

static void hand_up(struct worker *worker, const struct path *from, struct span packet)
{
    struct event event = {.kind = EVENT_CONTROL, .path = *from, .packet = packet};
    events_push(worker->events, &event); /* a full ring counts what it loses */
}

/* The peer id that a DATA_V2 packet names, or NO_PEER_ID: then the peer is known by where it is, as with DATA_V1. */
static uint32_t named_peer(struct span packet)
{
    return load8(packet, 0) >> 3 == OPCODE_DATA_V2 ? load32(packet, 0) & NO_PEER_ID : NO_PEER_ID;
}

/* A packet that is not data: it goes up, or no further. */
static void set_aside(struct worker *worker, const struct path *from, struct span packet)
{
    if (is_control(packet))
        hand_up(worker, from, packet);
    else
        drop_packets(worker, NULL, DROP_NOT_OPENVPN, 1);
}

static void take_datagram(struct worker *worker, struct span packet, const struct path *from)
{
    if (!is_data(packet)) {
        set_aside(worker, from, packet);
        return;
    }
    uint32_t id = named_peer(packet);
    struct peer_table *peers = worker->plane->peers;
    struct peer *peer = id == NO_PEER_ID ? peer_by_path(peers, from) : peer_by_id(peers, id);
    /* A client that came by TCP is valid on its own stream only. */
    if (!peer || peer->by_stream)
        drop_packets(worker, NULL, DROP_UNKNOWN_PEER, 1);
    else
        take_data(worker, peer, packet, from);
}

static void take_frame(void *context, struct stream *stream, struct span packet)
{
    struct worker *worker = context;
    worker->pace.packets++;
    if (!is_data(packet)) {
        set_aside(worker, &stream->path, packet);
        return;
    }
    uint32_t id = named_peer(packet);
    struct peer *peer = atomic_load_explicit(&stream->peer, memory_order_acquire);
    if (!peer || (id != NO_PEER_ID && id != peer->id)) {
        drop_packets(worker, NULL, DROP_UNKNOWN_PEER, 1);
        return;
    }
    take_data(worker, peer, packet, NULL);
}

/* Batches. */

void ingress_datagrams(struct worker *worker)
{
    size_t octets = 0;
    int count = udp_receive(worker->receiver, worker->udp, worker->most_messages);
    for (int i = 0; i < count; i++) {
        const struct udp_message *message = udp_message(worker->receiver, (unsigned)i);
        size_t at = 0, size;
        do {
            size = message->data.size - at;
            size = message->segment && message->segment < size ? message->segment : size;
            take_datagram(worker, part(message->data, at, size), &message->from);
            at += size;
        } while (at < message->data.size);
        octets += message->data.size;
    }
    worker->pace.packets += (unsigned)count;
    worker->pace.has_more |= (unsigned)count == worker->most_messages;
    worker->most_messages = octets > LONG_BATCH ? FEW_MESSAGES : MOST_MESSAGES;
    trains_flush(&worker->trains);
    egress_flush(worker);
    worker->seen_peer = NULL;
}

enum stream_state ingress_stream(struct worker *worker, struct stream *stream)
{
    unsigned before = worker->pace.packets;
    enum stream_state state = stream_read(stream, worker->stream_data, take_frame, worker);
    worker->pace.has_more |= worker->pace.packets - before >= WORTH_WAITING_FOR;
    trains_flush(&worker->trains);
    egress_flush(worker);
    return state;
}
