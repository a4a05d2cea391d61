/* Clients for load: the far side of data packets, for what a stock client cannot drive. Built on the core's own files.
 *
 * Connecting is Python's work (connector.py); here begins what happens with the keys. One thread, no control channel: whoever
 * uses this ends before a key is renegotiated. Times in milliseconds unless the name says otherwise; addresses and ports in
 * host order. Functions that can fail give 0 or a negative errno.
 */
#ifndef PORTWAY_LOAD_CLIENT_H
#define PORTWAY_LOAD_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct load_client;

struct load_settings {
    int fd;       /* a UDP socket, non-blocking, from which it has connected; stays the caller's */
    bool offload; /* many datagrams per system call, where the kernel can */
    uint32_t server;
    uint16_t server_port;
    uint32_t inside;
    uint32_t peer_id;
    uint8_t key_id;
    uint8_t cipher; /* enum cipher */
    uint8_t send[128], receive[128]; /* a struct key_half each */
};

int load_client_new(const struct load_settings *settings, struct load_client **client);
void load_client_free(struct load_client *client);

/* What was moved: packets inside the tunnel, their octets, and the time from the first to the last. */
struct load_moved {
    uint64_t packets, octets, refused, microseconds;
};

/* UDP packets inside: `size_count` sizes in turn, `burst` of them for one client before the next has its turn. */
struct load_traffic {
    uint32_t destination; /* of flood */
    uint16_t port;
    const uint16_t *sizes; /* IP header included, 28 to 1500 */
    size_t size_count;
    unsigned burst;
    uint32_t duration;
};

/* A TUN device on the one side, the tunnel on the other: until the device is gone. */
int load_tunnel(struct load_client *client, int tun);

/* From the clients, as fast as it goes; `refused` is what the socket did not take. */
int load_flood(struct load_client *const *clients, size_t count, const struct load_traffic *traffic, struct load_moved *moved);

/* To the clients: count what can be opened, until nothing has come for `quiet` after the first, or nothing at all for `patience`.
 * Each client says `hello` first, so that gateways that let in only answers take what follows for one. */
int load_collect(struct load_client *const *clients, size_t count, const struct load_traffic *hello, uint32_t quiet,
                 uint32_t patience, struct load_moved *moved);

/* Outside the tunnel: datagrams from a plain socket to each address in turn, and their receiver. */
int load_source(int fd, const uint32_t *addresses, size_t count, const struct load_traffic *traffic, struct load_moved *moved);
int load_sink(int fd, uint32_t quiet, uint32_t patience, struct load_moved *moved);

/* Each client pings `destination` once a round, all rounds together at `rate` packets a second; what has not come back `patience`
 * after the last is lost. `round_trips_us` has room for count * rounds; `moved->packets` says how many of them there are. */
struct load_echoes {
    uint32_t destination;
    uint32_t rounds, rate, patience;
};
int load_echo(struct load_client *const *clients, size_t count, const struct load_echoes *echoes, uint32_t *round_trips_us,
              struct load_moved *moved);

#endif
