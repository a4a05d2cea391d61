/* Cutting what the TUN device gives into packets: TSO and USO segments, and checksums that were left to us.
 *
 * Each read of a device with IFF_VNET_HDR begins with a virtio_net_hdr (Virtual I/O Device 1.2, 5.1.6), fields in the
 * host's order. The kernel is trusted no more than a stranger: whatever does not add up is refused.
 *
 * Cutting works in place and gives one packet after the other: the headers of each are written just before its data,
 * over the end of the packet before. So a packet is valid until the next is asked for, and nothing is copied but headers.
 */
#ifndef PORTWAY_CUT_H
#define PORTWAY_CUT_H

#include "octets.h"

#define VIRTIO_HEADER_SIZE 10

enum virtio_gso { GSO_NONE = 0, GSO_TCPV4 = 1, GSO_UDP = 3, GSO_TCPV6 = 4, GSO_UDP_L4 = 5 };
#define VIRTIO_NEEDS_CSUM 1

struct virtio_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t header_size;
    uint16_t segment_size;
    uint16_t checksum_start;
    uint16_t checksum_offset;
};

struct virtio_header load_virtio_header(struct span frame);
void store_virtio_header(struct span frame, const struct virtio_header *header);

#define MOST_HEADERS 120 /* of IPv4 and TCP, options included */

/* One frame that is being cut. Its fields are cut.c's own, but for `count`, `segment` and `last`. */
struct cutter {
    size_t count;   /* packets that it gives */
    size_t segment; /* octets of each but the last, headers included */
    size_t last;    /* octets of the last */
    struct span packet;
    struct virtio_header header;
    size_t transport, headers; /* where the TCP or UDP header begins, and where the data */
    size_t step;               /* octets of data in each segment but the last */
    size_t given;              /* packets so far */
    uint32_t sequence;
    uint16_t identification;
    uint8_t flags;
    uint16_t ipv4_sum, transport_sum; /* of `head`, the latter with the addresses and the protocol */
    uint8_t head[MOST_HEADERS];       /* the headers, without what differs from segment to segment */
};

/* Begin with a frame, virtio header included (`has_header` false: a bare packet, as from a device without them). False when
 * it cannot be cut as its header says: not IPv4 with TCP or UDP where GSO is, headers longer than the packet, a length that
 * is not the packet's, segments of nothing, a checksum outside. A packet that needs no cutting passes whatever it is, IPv6
 * too, its checksum finished if that was left to us: what may go on is decided elsewhere. */
bool cut_begin(struct cutter *cutter, struct span frame, bool has_header);

/* The next packet, complete: IPv4 length, identification and checksum, TCP sequence and flags (FIN and PSH on the last
 * only, CWR on the first only) or UDP length, and the transport's checksum. False when there is none. */
bool cut_next(struct cutter *cutter, struct span *packet);

#endif
