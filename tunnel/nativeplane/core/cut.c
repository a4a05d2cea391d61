/* Cutting a frame of the TUN device into packets, in place.
 *
 *     1. cut_begin     read the virtio header; is this a packet that can be cut as it says?
 *     2. set_pattern   keep the headers, with the sums of what is the same in all segments
 *     3. cut_next      write the headers before the next piece of data, and what differs: lengths, identification,
 *                      sequence number, flags, checksums
 *
 * The frame is the caller's, and is written to: what was data of one packet becomes the headers of the next. Of what
 * the virtio header says, the size of the headers and the place of the checksum are not needed for segments, and so not
 * believed.
 * Knows nothing of who gets the packets. */
#include "cut.h"

#include "checksum.h"
#include "inner.h"

#define GSO_ECN 0x80 /* the first segment carries CWR */
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define ANY_FRAGMENT 0x3FFF /* more fragments, or an offset */

#define TCP_HEADER_SIZE 20
#define TCP_SEQUENCE_AT 4
#define TCP_FLAGS_AT 13
#define TCP_CHECKSUM_AT 16
#define UDP_HEADER_SIZE 8
#define UDP_LENGTH_AT 4
#define UDP_CHECKSUM_AT 6

#define FLAG_FIN 0x01
#define FLAG_PSH 0x08
#define FLAG_CWR 0x80

struct virtio_header load_virtio_header(struct span frame)
{
    struct virtio_header header = {0};
    take_out(frame, 0, &header, VIRTIO_HEADER_SIZE);
    return header;
}

void store_virtio_header(struct span frame, const struct virtio_header *header)
{
    if (must_hold(frame, 0, VIRTIO_HEADER_SIZE))
        memcpy(frame.at, header, VIRTIO_HEADER_SIZE);
}

_Static_assert(sizeof(struct virtio_header) == VIRTIO_HEADER_SIZE, "it is on the wire as it is in memory");

/* Finish the checksum that the kernel left to the device: its place holds the pseudo-header's sum. */
static bool finish_checksum(struct span packet, const struct virtio_header *header)
{
    size_t start = header->checksum_start, at = start + header->checksum_offset;
    if (start < IPV4_HEADER_SIZE || !holds(packet, at, 2))
        return false;
    uint16_t checksum = (uint16_t)~sum_octets(rest(packet, start), 0);
    /* 0 would mean to UDP that there is none, and means the same as this to everything else. */
    store16(packet, at, checksum ? checksum : 0xFFFF);
    return true;
}

static bool begin_whole(struct cutter *cutter)
{
    if (cutter->header.flags & VIRTIO_NEEDS_CSUM && !finish_checksum(cutter->packet, &cutter->header))
        return false;
    cutter->count = 1;
    cutter->segment = cutter->last = cutter->packet.size;
    return true;
}

/* Octets of the TCP or UDP header, if that is what GSO is about; 0 if it is not, or is not all there. */
static size_t transport_size(const struct cutter *cutter)
{
    struct span transport = rest(cutter->packet, cutter->transport);
    uint8_t protocol = load8(cutter->packet, 9);
    if (cutter->header.gso_type == GSO_UDP_L4)
        return protocol == PROTOCOL_UDP && transport.size >= UDP_HEADER_SIZE ? UDP_HEADER_SIZE : 0;
    if (protocol != PROTOCOL_TCP || transport.size < TCP_HEADER_SIZE)
        return 0;
    size_t size = (load8(transport, 12) >> 4) * 4u;
    return size >= TCP_HEADER_SIZE && size <= transport.size ? size : 0;
}

/* Keep the headers, and sum what does not differ from segment to segment. */
static void set_pattern(struct cutter *cutter)
{
    struct span head = span_of(cutter->head, cutter->headers);
    put(head, 0, part(cutter->packet, 0, cutter->headers));
    struct span transport = rest(head, cutter->transport);
    cutter->identification = load16(head, 4);
    store16(head, 2, 0);
    store16(head, 4, 0);
    store16(head, 10, 0);
    if (cutter->header.gso_type == GSO_UDP_L4) {
        store16(transport, UDP_LENGTH_AT, 0);
        store16(transport, UDP_CHECKSUM_AT, 0);
    } else {
        cutter->sequence = load32(transport, TCP_SEQUENCE_AT);
        cutter->flags = load8(transport, TCP_FLAGS_AT);
        store32(transport, TCP_SEQUENCE_AT, 0);
        store8(transport, TCP_FLAGS_AT, 0);
        store16(transport, TCP_CHECKSUM_AT, 0);
    }
    cutter->ipv4_sum = sum_octets(part(head, 0, cutter->transport), 0);
    cutter->transport_sum = sum_octets(transport, sum_pseudo_header(head, load8(head, 9), 0));
}

static bool begin_segments(struct cutter *cutter)
{
    struct span packet = cutter->packet;
    if (find_fault(packet) != DROP_NONE || load16(packet, 6) & ANY_FRAGMENT || !cutter->header.segment_size)
        return false;
    cutter->transport = ipv4_header_size(packet);
    size_t size = transport_size(cutter);
    cutter->headers = cutter->transport + size;
    if (!size || cutter->headers >= packet.size)
        return false;
    size_t data = packet.size - cutter->headers;
    cutter->step = cutter->header.segment_size < data ? cutter->header.segment_size : data;
    cutter->count = (data + cutter->step - 1) / cutter->step;
    cutter->segment = cutter->headers + cutter->step;
    cutter->last = cutter->headers + data - (cutter->count - 1) * cutter->step;
    set_pattern(cutter);
    return true;
}

bool cut_begin(struct cutter *cutter, struct span frame, bool has_header)
{
    cutter->header = (struct virtio_header){0};
    cutter->packet = frame;
    cutter->count = cutter->given = 0;
    if (has_header) {
        if (frame.size < VIRTIO_HEADER_SIZE)
            return false;
        cutter->header = load_virtio_header(frame);
        cutter->packet = rest(frame, VIRTIO_HEADER_SIZE);
    }
    switch (cutter->header.gso_type) {
    case GSO_NONE:
        return begin_whole(cutter);
    case GSO_TCPV4:
    case GSO_TCPV4 | GSO_ECN:
    case GSO_UDP_L4:
        return begin_segments(cutter);
    default:
        return false;
    }
}

/* The two halves of a 32-bit number, for a sum of 16-bit words. */
static uint32_t words_of(uint32_t number)
{
    return (number >> 16) + (number & 0xFFFF);
}

static void finish_tcp(const struct cutter *cutter, struct span segment, uint32_t sum)
{
    size_t size = cutter->headers - cutter->transport;
    uint32_t sequence = cutter->sequence + (uint32_t)(cutter->given * cutter->step);
    uint8_t flags = cutter->flags;
    if (cutter->given > 0)
        flags &= (uint8_t)~FLAG_CWR;
    if (cutter->given + 1 < cutter->count)
        flags &= (uint8_t)~(FLAG_FIN | FLAG_PSH);
    sum += words_of(sequence) + flags;
    store32(segment, TCP_SEQUENCE_AT, sequence);
    store8(segment, TCP_FLAGS_AT, flags);
    store16(segment, TCP_CHECKSUM_AT, (uint16_t)~sum_octets(rest(segment, size), sum));
}

static void finish_udp(struct span datagram, uint32_t sum)
{
    store16(datagram, UDP_LENGTH_AT, (uint16_t)datagram.size);
    uint16_t checksum = (uint16_t)~sum_octets(rest(datagram, UDP_HEADER_SIZE), sum + (uint32_t)datagram.size);
    store16(datagram, UDP_CHECKSUM_AT, checksum ? checksum : 0xFFFF);
}

static void finish_segment(struct cutter *cutter, struct span packet)
{
    put(packet, 0, span_of(cutter->head, cutter->headers));
    uint16_t size = (uint16_t)packet.size, identification = (uint16_t)(cutter->identification + cutter->given);
    store16(packet, 2, size);
    store16(packet, 4, identification);
    store16(packet, 10, (uint16_t)~fold_sum((uint64_t)cutter->ipv4_sum + size + identification));
    struct span transport = rest(packet, cutter->transport);
    uint32_t sum = cutter->transport_sum + (uint32_t)transport.size;
    if (cutter->header.gso_type == GSO_UDP_L4)
        finish_udp(transport, sum);
    else
        finish_tcp(cutter, transport, sum);
}

bool cut_next(struct cutter *cutter, struct span *packet)
{
    if (cutter->given == cutter->count)
        return false;
    if (cutter->header.gso_type == GSO_NONE) {
        *packet = cutter->packet;
    } else {
        bool is_last = cutter->given + 1 == cutter->count;
        *packet = part(cutter->packet, cutter->given * cutter->step, is_last ? cutter->last : cutter->segment);
        finish_segment(cutter, *packet);
    }
    cutter->given++;
    return true;
}
