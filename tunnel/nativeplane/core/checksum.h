/* The Internet checksum (RFC 1071), fast. Knows sums of 16-bit words, and what TCP and UDP sum over. */
#ifndef PORTWAY_CHECKSUM_H
#define PORTWAY_CHECKSUM_H

#include "octets.h"

/* A sum of 16-bit or 32-bit words as a one's-complement sum of 16-bit words. */
static inline uint16_t fold_sum(uint64_t sum)
{
    sum = (sum >> 32) + (sum & 0xFFFFFFFF);
    sum = (sum >> 32) + (sum & 0xFFFFFFFF);
    sum = (sum >> 16) + (sum & 0xFFFF);
    return (uint16_t)((sum >> 16) + (sum & 0xFFFF));
}

/* The one's-complement sum, folded to 16 bits and not complemented, of `octets` added to `initial`. An odd last octet
 * counts as the high half of a word, so only the last of several calls may be odd. */
uint16_t sum_octets(struct span octets, uint32_t initial);

/* The sum of the pseudo-header (RFC 9293 3.1) of a sound IPv4 packet for a segment of `size` octets. */
uint16_t sum_pseudo_header(struct span ipv4, uint8_t protocol, size_t size);

/* Put the checksum of the IPv4 header, `header_size` long, into its place. */
void set_ipv4_checksum(struct span ipv4, size_t header_size);
bool is_ipv4_checksum_right(struct span ipv4, size_t header_size);

/* The checksum after 16-bit words of what it covers changed (RFC 1624, equation 3). */
uint16_t update_checksum(uint16_t checksum, uint16_t old, uint16_t new);

#endif
