/* UDP sockets: many datagrams per system call, both ways. Knows no packets. The C twin of tunnel/udp_offload.py, which has
 * the facts about UDP_SEGMENT and UDP_GRO. */
#ifndef PORTWAY_UDP_H
#define PORTWAY_UDP_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "octets.h"
#include "path.h"
#include "run.h"

#define MOST_MESSAGES 64         /* that one recvmmsg gives */
#define LARGEST_DATAGRAM 65535   /* and largest joined one */

struct udp_socket {
    int fd;
    int family;       /* AF_INET or AF_INET6 */
    bool wants_local; /* it listens on a wildcard: paths, and so answers, name the address that the client sent to */
    _Atomic bool gso; /* UDP_SEGMENT is in use; false for good when a device refuses (EIO), which each socket finds out itself */
    _Atomic uint64_t gso_refusals; /* runs that were refused so */
};

/* Set options of a bound socket: pktinfo where it listens on a wildcard, UDP_GRO and UDP_SEGMENT where `offload` and the kernel
 * (5.12 for GRO) allow, buffers of 7 MB. 0 or negative errno. */
int udp_prepare(struct udp_socket *socket, int fd, bool offload);

/* One message: joined datagrams of `segment` octets each, the last may be shorter. */
struct udp_message {
    struct span data; /* maybe empty: a datagram of nothing */
    size_t segment;   /* `data.size` where nothing was joined */
    struct path from;
};

struct udp_receiver; /* buffers for MOST_MESSAGES joined datagrams: 4 MB, of which the kernel touches what it fills */

/* NULL for lack of memory. */
struct udp_receiver *udp_receiver_new(void);
void udp_receiver_free(struct udp_receiver *receiver);

/* Receive up to `most` messages, never waiting. The number of messages; 0 for none now. Errors of earlier sends are passed over,
 * and datagrams of which a part is missing. What was received before is overwritten. */
int udp_receive(struct udp_receiver *receiver, struct udp_socket *socket, unsigned most);
/* The i-th of them. */
const struct udp_message *udp_message(const struct udp_receiver *receiver, unsigned i);

/* A run of datagrams (run.h) for one address: one UDP_SEGMENT message, or sendmmsg one by one where that is off, refused, or does
 * not fit the path's MTU (EINVAL, EMSGSIZE). Never waits. Returns how many the socket did not take; of what is no run, none are
 * taken. */
unsigned udp_send(struct udp_socket *socket, const struct path *to, struct span datagrams, size_t segment, unsigned count);

#endif
