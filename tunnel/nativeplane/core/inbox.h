/* The socket that control reads itself: the kernel gives it what clients say to control over UDP (steering.h), so that a handshake
 * wakes no worker. By control's thread alone. */
#ifndef PORTWAY_INBOX_H
#define PORTWAY_INBOX_H

#include "drops.h"
#include "events.h"
#include "udp.h"

struct inbox {
    struct udp_socket udp;
    struct udp_receiver *receiver; /* NULL: there is no such socket */
    unsigned count, next;          /* messages of the last receive, and the one that is due */
};

/* Takes a descriptor that stays the caller's. 0 or negative errno; `inbox_close` is due all the same. */
int inbox_open(struct inbox *inbox, int fd);
void inbox_close(struct inbox *inbox);

/* The next packet, as EVENT_CONTROL, valid until the next call; false when there is none now. What is not a control packet has come
 * before the kernel knew what goes where: it is dropped, a batch of it at most in one call. */
bool inbox_pop(struct inbox *inbox, struct drop_counters *drops, struct event *event);
/* Datagrams that found no room in the socket's buffer. */
uint64_t inbox_lost(const struct inbox *inbox);

#endif
