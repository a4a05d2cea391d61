/* Which socket of a reuseport group gets a datagram. */
#ifndef PORTWAY_STEERING_H
#define PORTWAY_STEERING_H

/* DATA_V2 goes to socket `peer id % workers`, in the order in which they were bound; control packets to socket `workers`, the last,
 * which control reads itself. Everything else goes by the hash of its flow, if the network card has made one, or to the first.
 * SO_ATTACH_REUSEPORT_CBPF on one socket of the group, for all. 0 or negative errno. */
int steer_datagrams(int fd, unsigned workers);

#endif
