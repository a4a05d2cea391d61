/* What travels inside a data packet: an IPv4 packet, a ping, or an OCC message. The C twin of tunnel/inner_packet.py. */
#ifndef PORTWAY_INNER_H
#define PORTWAY_INNER_H

#include "drops.h"
#include "octets.h"

#define IPV4_HEADER_SIZE 20
#define PING_SIZE 16
extern const uint8_t PING[PING_SIZE];

enum own_message { NOT_OWN, OWN_PING, OWN_OCC, OWN_EXIT };

/* Which of OpenVPN's own messages a decrypted payload is. */
enum own_message own_message(struct span payload);

/* DROP_NOT_IPV4, DROP_BAD_HEADER, or DROP_NONE for a sound IPv4 header whose length is the packet's. */
enum drop find_fault(struct span packet);

/* Lower the MSS that a TCP SYN announces to `limit`, in place, and correct its checksum. The packet is sound. */
void clamp_mss(struct span packet, uint16_t limit);

static inline size_t ipv4_header_size(struct span packet) { return (load8(packet, 0) & 0x0F) * 4u; }

/* Of a sound packet, in host order. */
static inline uint32_t source_of(struct span packet) { return load32(packet, 12); }
static inline uint32_t destination_of(struct span packet) { return load32(packet, 16); }

#endif
