/* Joining consecutive packets of a flow into one write to the TUN device, as the kernel's GRO would.
 *
 * The rules are those of tunnel/pyplane/joining.py for TCP; UDP (USO) the same way: equal lengths, the last may be shorter.
 * Every packet's checksums are verified when it joins; what is damaged is never joined and goes through as it came, alone,
 * so that the receiver drops it. Order within a flow is kept always: a packet that cannot join makes the train of its flow
 * leave first, and one whose flow cannot be told makes all leave.
 *
 * Owns nothing but references: a packet given to `train_take` must stay where it is until it was written, at the latest in
 * `trains_flush`. Knows no device: `write` is whoever does that.
 */
#ifndef PORTWAY_TRAIN_H
#define PORTWAY_TRAIN_H

#include <sys/uio.h>

#include "octets.h"

#define MOST_SEGMENTS 64
#define MOST_TRAINS 64

struct peer;

/* What leaves, in at most MOST_SEGMENTS + 1 pieces: first a virtio header, and for joined packets their common headers (for
 * a device without virtio headers: an empty piece); then a single packet as it came, or the data of all. `packets` and
 * `octets` are what it is made of. Returns 0, or a negative errno when the device took nothing.
 *
 * It counts what was taken, and as dropped a single packet that was refused. Joined packets that were refused do not count:
 * they are given again one by one. After -EINVAL for joined packets no more of that protocol are joined. */
typedef int (*train_write)(void *context, struct peer *peer, const struct iovec *pieces, int count, unsigned packets,
                           size_t octets);

struct train; /* a flow's packets so far */

struct trains {
    train_write write;
    void *context;
    bool has_header; /* the device wants virtio headers; without them nothing is joined */
    bool joins_tcp, joins_udp;
    unsigned used; /* how many of `train` are in use */
    uint64_t flows[MOST_TRAINS]; /* destination and ports of each */
    struct train *train; /* MOST_TRAINS of them */
};

/* 0 or -ENOMEM. */
int trains_new(struct trains *trains, train_write write, void *context, bool has_header, bool joins_tcp, bool joins_udp);
void trains_free(struct trains *trains);

/* Take a sound IPv4 packet of `peer` for the device: it leaves now, or with what follows. */
void train_take(struct trains *trains, struct peer *peer, struct span packet);

/* Whether `packet` of `peer` simply continues a train: then it was taken, and nothing that is decided by addresses, ports
 * and headers need be decided again. It may be anything, unsound too; false then. */
bool train_extend(struct trains *trains, struct peer *peer, struct span packet);

/* Let everything leave. */
void trains_flush(struct trains *trains);

#endif
