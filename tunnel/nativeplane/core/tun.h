/* A TUN queue: frames in and out, with or without virtio headers. Knows no packets. */
#ifndef PORTWAY_TUN_H
#define PORTWAY_TUN_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "octets.h"

#define LARGEST_FRAME (65535 + 10)

struct tun_queue {
    int fd;          /* non-blocking */
    bool has_header; /* opened with IFF_VNET_HDR */
    bool tso, uso;   /* what TUNSETOFFLOAD took */
};

/* Make it non-blocking, learn from the device whether there are headers, and let the kernel hand us segments that are not cut yet
 * (checksums, TSO of IPv4, and USO since Linux 6.2), where there are headers and `offload` is asked for; else switch that off. The
 * setting is the whole device's. A descriptor that is no TUN device (a socket in tests) has no headers. 0 or negative errno. */
int tun_prepare(struct tun_queue *queue, int fd, bool offload);

/* Let the kernel choose the queue of a packet by its destination: what one client gets then comes by one queue, in order. Left to
 * itself, it gives a flow to the queue that the other direction was last written to, past what still waits in the one before. By any
 * queue, for the whole device. 0 or negative errno; -EPERM without CAP_BPF. */
int tun_steer_by_destination(int fd);

/* One frame into `buffer`. Its size; 0 when there is none now; negative errno when the device is gone. */
ssize_t tun_read(const struct tun_queue *queue, struct span buffer);
/* One frame. 0, or negative errno: nothing was written. */
int tun_write(const struct tun_queue *queue, const struct iovec *pieces, int count);

#endif
