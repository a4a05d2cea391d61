/* Where a client is: its address, and the address of this host that it sent to. Values only. */
#ifndef PORTWAY_PATH_H
#define PORTWAY_PATH_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* IPv4 addresses are kept as IPv4-mapped IPv6 addresses, whatever the socket's family. Compared octet by octet, so it is
 * made by assignment from `(struct path){0}` and has no padding. */
struct path {
    uint8_t remote[16];
    uint8_t local[16]; /* all 0 when the socket has just one address, and for TCP */
    uint32_t scope;    /* of a link-local remote */
    uint16_t port;     /* host order */
    uint16_t unused;
    uint64_t stream;   /* TCP: its number, from 1 on; UDP: 0 */
};

static inline bool same_path(const struct path *one, const struct path *other)
{
    return memcmp(one, other, sizeof *one) == 0;
}

#endif
