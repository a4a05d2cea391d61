/* Joining packets of a flow. Owns the rules and the new headers; knows no device, and of peers only whether two are the
 * same.
 *
 *     1. train_extend   does the packet continue a train? its headers are compared, its checksums verified
 *     2. train_take     it does not: its flow's train leaves, and it begins another one, or leaves alone
 *     3. write_train    a train leaves: new headers, and the data from where it lies
 *
 * What may be joined is what the kernel, cutting the train up again by the first header and the size of its segments,
 * makes the same packets of:
 *
 *     never in a train   IP options, fragments, packets without DF, no data, wrong checksums; TCP flags other than ACK
 *                        and PSH; UDP without a checksum
 *     same in a train    peer, addresses, ports, TTL, TOS; TCP's acknowledgement, window, options and urgent pointer
 *     counts on          TCP's sequence number, by the data before it
 *     ends a train       PSH, data that is shorter than the first packet's, 64 packets, 65,535 octets
 *
 * Only DF packets, because their identification means nothing (RFC 6864, 4.1) and is not kept. A train that can take no
 * more leaves at once.
 *
 * Packets stay where they are: a train has spans of them, and its new headers live on the stack for the time of a
 * write. The first packet's checksums are verified when a second one comes: most of those that stay alone need none.
 *
 * https://docs.kernel.org/networking/segmentation-offloads.html; what the kernel asks of a write is in its
 * include/linux/virtio_net.h, how it cuts in net/ipv4/tcp_offload.c and udp_offload.c
 */
#include "train.h"

#include <errno.h>
#include <stdlib.h>

#include "checksum.h"
#include "cut.h"
#include "inner.h"

#define MOST_OCTETS 65535
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PLAIN_IPV4 0x45
#define DONT_FRAGMENT 0x4000
#define ADDRESSES_AT 12
#define FLOW_AT 16

/* In a packet with a plain IPv4 header. */
#define SEQUENCE_AT 24
#define TCP_DATA_OFFSET_AT 32
#define TCP_FLAGS_AT 33
#define TCP_CHECKSUM_AT 36
#define TCP_URGENT_AT 38
#define SHORTEST_TCP 40
#define UDP_LENGTH_AT 24
#define UDP_CHECKSUM_AT 26
#define UDP_HEADERS 28
#define TCP_RESERVED 0x0F /* beside the data offset */
#define FLAG_PSH 0x08
#define FLAG_ACK 0x10

/* The shortest TCP packet that begins a train: longer than any bare acknowledgement. */
#define WORTH_IT 128

/* Headers are compared in words of 8 octets, without what may differ, or is compared otherwise. */
#define SAME_AT_0 0xFFFF00000000FFFF /* version, TOS, fragment; not length and identification */
#define SAME_AT_8 0xFFFF0000FFFFFFFF /* TTL, protocol, source; not the checksum */
#define CONTROL_AT 28                /* of TCP: acknowledgement, data offset, flags, window; PSH may differ */
#define CONTROL_PSH UINT64_C(0x80000)

struct train {
    struct peer *peer;
    uint64_t at_0, at_8, control; /* of the first packet, masked */
    uint32_t next;                /* TCP: the sequence number that continues it */
    uint16_t urgent;
    uint8_t protocol;
    size_t headers, data; /* octets of each packet but the last */
    size_t most;          /* packets */
    size_t count, octets;
    struct span packets[MOST_SEGMENTS];
};

/* What a packet is made of. */

static bool joins(const struct trains *trains, uint8_t protocol)
{
    return trains->has_header &&
           ((protocol == PROTOCOL_TCP && trains->joins_tcp) || (protocol == PROTOCOL_UDP && trains->joins_udp));
}

/* Whether the ports are where FLOW_AT looks for them: no IP options, no fragment. */
static bool is_whole(struct span packet)
{
    return packet.size >= UDP_HEADERS && load8(packet, 0) == PLAIN_IPV4 && !(load16(packet, 6) & ~DONT_FRAGMENT);
}

/* Whether the checksums of a packet with a plain header are right. The addresses stand just before the segment, and are
 * most of the pseudo-header (RFC 9293 3.1, RFC 768): so all is summed at once. */
static bool is_intact(struct span packet)
{
    uint32_t protocol_and_length = load8(packet, 9) + (uint32_t)packet.size - IPV4_HEADER_SIZE;
    return is_ipv4_checksum_right(packet, IPV4_HEADER_SIZE) &&
           sum_octets(rest(packet, ADDRESSES_AT), protocol_and_length) == 0xFFFF;
}

static size_t tcp_headers(struct span packet)
{
    return IPV4_HEADER_SIZE + (load8(packet, TCP_DATA_OFFSET_AT) >> 4) * 4u;
}

static bool tcp_may_begin(struct span packet)
{
    return packet.size >= WORTH_IT && load8(packet, TCP_FLAGS_AT) == FLAG_ACK &&
           !(load8(packet, TCP_DATA_OFFSET_AT) & TCP_RESERVED) && tcp_headers(packet) >= SHORTEST_TCP &&
           tcp_headers(packet) < packet.size;
}

static bool is_sound_udp(struct span packet)
{
    return packet.size > UDP_HEADERS && load16(packet, UDP_LENGTH_AT) == packet.size - IPV4_HEADER_SIZE &&
           load16(packet, UDP_CHECKSUM_AT);
}

/* Whether a whole packet may begin a train. */
static bool may_begin(struct span packet)
{
    if (load16(packet, 6) != DONT_FRAGMENT)
        return false;
    return load8(packet, 9) == PROTOCOL_TCP ? tcp_may_begin(packet) : is_sound_udp(packet);
}

/* Writing. */

static void write_alone(struct trains *trains, struct peer *peer, struct span packet)
{
    uint8_t plain[VIRTIO_HEADER_SIZE] = {0};
    struct iovec pieces[] = {{plain, trains->has_header ? sizeof plain : 0}, {packet.at, packet.size}};
    trains->write(trains->context, peer, pieces, 2, 1, packet.size);
}

/* The headers for all of a train, and the device's before them. The transport's checksum is left to the kernel, which
 * wants to find the pseudo-header's sum in its place. */
static void make_head(const struct train *train, struct span head)
{
    bool is_tcp = train->protocol == PROTOCOL_TCP;
    struct virtio_header header = {
        .flags = VIRTIO_NEEDS_CSUM,
        .gso_type = is_tcp ? GSO_TCPV4 : GSO_UDP_L4,
        .header_size = (uint16_t)train->headers,
        .segment_size = (uint16_t)train->data,
        .checksum_start = IPV4_HEADER_SIZE,
        .checksum_offset = is_tcp ? TCP_CHECKSUM_AT - IPV4_HEADER_SIZE : UDP_CHECKSUM_AT - IPV4_HEADER_SIZE,
    };
    store_virtio_header(head, &header);
    struct span packet = rest(head, VIRTIO_HEADER_SIZE);
    size_t size = train->octets - (train->count - 1) * train->headers, segment = size - IPV4_HEADER_SIZE;
    put(packet, 0, part(train->packets[0], 0, train->headers));
    store16(packet, 2, (uint16_t)size);
    set_ipv4_checksum(packet, IPV4_HEADER_SIZE);
    if (is_tcp)
        store8(packet, TCP_FLAGS_AT, load8(train->packets[train->count - 1], TCP_FLAGS_AT));
    else
        store16(packet, UDP_LENGTH_AT, (uint16_t)segment);
    store16(packet, is_tcp ? TCP_CHECKSUM_AT : UDP_CHECKSUM_AT, sum_pseudo_header(packet, train->protocol, segment));
}

/* False when the device refused it. */
static bool write_joined(struct trains *trains, const struct train *train)
{
    uint8_t memory[VIRTIO_HEADER_SIZE + MOST_HEADERS];
    struct span head = span_of(memory, VIRTIO_HEADER_SIZE + train->headers);
    struct iovec pieces[1 + MOST_SEGMENTS];
    make_head(train, head);
    pieces[0] = (struct iovec){head.at, head.size};
    for (size_t i = 0; i < train->count; i++) {
        struct span data = rest(train->packets[i], train->headers);
        pieces[i + 1] = (struct iovec){data.at, data.size};
    }
    unsigned packets = (unsigned)train->count;
    int error = trains->write(trains->context, train->peer, pieces, (int)packets + 1, packets, train->octets);
    if (error == -EINVAL && train->protocol == PROTOCOL_TCP)
        trains->joins_tcp = false;
    else if (error == -EINVAL)
        trains->joins_udp = false;
    return error == 0;
}

static void write_train(struct trains *trains, const struct train *train)
{
    if (train->count > 1 && write_joined(trains, train))
        return;
    for (size_t i = 0; i < train->count; i++)
        write_alone(trains, train->peer, train->packets[i]);
}

static void remove_train(struct trains *trains, unsigned index)
{
    unsigned last = --trains->used;
    if (index == last)
        return;
    trains->flows[index] = trains->flows[last];
    trains->train[index] = trains->train[last];
}

static void send_off(struct trains *trains, unsigned index)
{
    write_train(trains, &trains->train[index]);
    remove_train(trains, index);
}

/* Trains. */

/* The train of this packet's flow; `trains->used` when there is none. */
static unsigned find_train(const struct trains *trains, struct span packet)
{
    uint64_t flow = load64(packet, FLOW_AT);
    for (unsigned i = 0; i < trains->used; i++) {
        if (trains->flows[i] != flow)
            continue;
        const struct train *train = &trains->train[i];
        if (source_of(train->packets[0]) == source_of(packet) && train->protocol == load8(packet, 9))
            return i;
    }
    return trains->used;
}

static void begin_train(struct trains *trains, struct peer *peer, struct span packet)
{
    if (trains->used == MOST_TRAINS)
        trains_flush(trains);
    struct train *train = &trains->train[trains->used];
    trains->flows[trains->used++] = load64(packet, FLOW_AT);
    train->peer = peer;
    train->at_0 = load64(packet, 0) & SAME_AT_0;
    train->at_8 = load64(packet, 8) & SAME_AT_8;
    train->protocol = load8(packet, 9);
    bool is_tcp = train->protocol == PROTOCOL_TCP;
    train->headers = is_tcp ? tcp_headers(packet) : UDP_HEADERS;
    train->data = packet.size - train->headers;
    if (is_tcp) {
        train->control = load64(packet, CONTROL_AT);
        train->urgent = load16(packet, TCP_URGENT_AT);
        train->next = load32(packet, SEQUENCE_AT) + (uint32_t)train->data;
    }
    size_t most = (MOST_OCTETS - train->headers) / train->data;
    train->most = most < MOST_SEGMENTS ? most : MOST_SEGMENTS;
    train->packets[0] = packet;
    train->count = 1;
    train->octets = packet.size;
}

static bool tcp_continues(const struct train *train, struct span packet)
{
    size_t options = train->headers - SHORTEST_TCP;
    return load32(packet, SEQUENCE_AT) == train->next &&
           (load64(packet, CONTROL_AT) & ~CONTROL_PSH) == train->control &&
           load16(packet, TCP_URGENT_AT) == train->urgent &&
           same(part(packet, SHORTEST_TCP, options), part(train->packets[0], SHORTEST_TCP, options));
}

/* Whether the headers of a packet of the train's flow are such that it is the next of the train. */
static bool continues(const struct train *train, struct span packet)
{
    return packet.size > train->headers && packet.size <= train->headers + train->data &&
           load16(packet, 2) == packet.size && (load64(packet, 0) & SAME_AT_0) == train->at_0 &&
           (load64(packet, 8) & SAME_AT_8) == train->at_8 &&
           (train->protocol == PROTOCOL_TCP ? tcp_continues(train, packet) : is_sound_udp(packet));
}

/* Whether it can take no more. */
static bool is_complete(const struct train *train, struct span last)
{
    return train->count == train->most || last.size < train->headers + train->data ||
           (train->protocol == PROTOCOL_TCP && load8(last, TCP_FLAGS_AT) & FLAG_PSH);
}

bool train_extend(struct trains *trains, struct peer *peer, struct span packet)
{
    if (packet.size < UDP_HEADERS)
        return false;
    unsigned index = find_train(trains, packet);
    if (index == trains->used)
        return false;
    struct train *train = &trains->train[index];
    if (train->peer != peer || !continues(train, packet) || !is_intact(packet) ||
        (train->count == 1 && !is_intact(train->packets[0])))
        return false;
    train->packets[train->count++] = packet;
    train->octets += packet.size;
    train->next += (uint32_t)train->data;
    if (is_complete(train, packet))
        send_off(trains, index);
    return true;
}

/* Let what came before this packet leave first: its flow's train, or all when its flow cannot be told. */
static void make_way(struct trains *trains, struct span packet)
{
    if (!is_whole(packet)) {
        trains_flush(trains);
        return;
    }
    unsigned index = find_train(trains, packet);
    if (index < trains->used)
        send_off(trains, index);
}

void train_take(struct trains *trains, struct peer *peer, struct span packet)
{
    uint8_t protocol = load8(packet, 9);
    if (trains->used && (protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP))
        make_way(trains, packet);
    if (joins(trains, protocol) && is_whole(packet) && may_begin(packet))
        begin_train(trains, peer, packet);
    else
        write_alone(trains, peer, packet);
}

void trains_flush(struct trains *trains)
{
    for (unsigned i = 0; i < trains->used; i++)
        write_train(trains, &trains->train[i]);
    trains->used = 0;
}

int trains_new(struct trains *trains, train_write write, void *context, bool has_header, bool joins_tcp, bool joins_udp)
{
    struct train *train = calloc(MOST_TRAINS, sizeof *train);
    *trains = (struct trains){write, context, has_header, joins_tcp, joins_udp, 0, {0}, train};
    return train ? 0 : -ENOMEM;
}

void trains_free(struct trains *trains)
{
    free(trains->train);
    trains->train = NULL;
    trains->used = 0;
}
