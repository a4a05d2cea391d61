/* Why packets went no further: the causes of `tunnel.plane.Drop`, in its order, and their counters. */
#ifndef PORTWAY_DROPS_H
#define PORTWAY_DROPS_H

#include <stdatomic.h>
#include <stdint.h>

enum drop {
    DROP_NOT_OPENVPN,
    DROP_UNKNOWN_PEER,
    DROP_UNKNOWN_KEY,
    DROP_AUTHENTICATION,
    DROP_REPLAY,
    DROP_FLOAT_REFUSED,
    DROP_NOT_IPV4,
    DROP_BAD_HEADER,
    DROP_SPOOFED_SOURCE,
    DROP_MULTICAST,
    DROP_OVERSIZE,
    DROP_NO_ROUTE,
    DROP_NO_RULE,
    DROP_NO_PEER,
    DROP_NO_KEY,
    DROP_TUN_REFUSED,
    DROP_SEND_FAILED,
    DROP_BACKLOG,
    DROP_CAUSES, /* how many there are */
    DROP_NONE = DROP_CAUSES,
};

/* Written by any worker, read by control. */
struct drop_counters {
    _Atomic uint64_t count[DROP_CAUSES];
};

static inline void count_drops(struct drop_counters *counters, enum drop cause, uint64_t packets)
{
    atomic_fetch_add_explicit(&counters->count[cause], packets, memory_order_relaxed);
}

#endif
