/* What the load client's files share: a client, a run of datagrams on its way out, and taking what has come in. */
#ifndef PORTWAY_LOAD_RUN_H
#define PORTWAY_LOAD_RUN_H

#include "data_key.h"
#include "load_client.h"
#include "udp.h"

#define LARGEST_INNER 1500
#define IPV4_SIZE 20
#define UDP_SIZE 8

struct load_client {
    struct udp_socket socket;
    struct path server;
    uint32_t inside;
    struct data_key *key;
};

/* Datagrams of one length to one place, back to back, and perhaps a shorter last one: what one UDP_SEGMENT send carries. */
struct run {
    struct udp_socket *socket;
    struct path to;
    struct span memory; /* GOOD_GSO_OCTETS */
    size_t segment, octets;
    unsigned count;
    bool ended; /* the last one is shorter */
    uint64_t refused;
};

/* 0 or -ENOMEM. */
int run_new(struct run *run);
void run_free(struct run *run);
/* Room for a datagram of that size; what is there leaves first when the new one cannot go with it. */
struct span run_room(struct run *run, size_t size);
/* The room that was given last holds a datagram now. */
void run_add(struct run *run, size_t size);
void run_send(struct run *run);
/* Send what is there, and go on with another client. */
void run_turn_to(struct run *run, struct load_client *client);

/* Seal a packet into the run of its client; false when the key is used up. */
bool run_seal(struct run *run, struct load_client *client, struct span packet);

typedef void (*take_payload)(void *context, struct load_client *client, struct span payload);

/* Receive one batch, open it, and hand on what is not OpenVPN's own. The payloads are valid until the next batch. */
void receive_payloads(struct load_client *client, struct udp_receiver *receiver, take_payload take, void *context);

struct path path_to(uint32_t address, uint16_t port);
/* An IPv4 header for all of `packet`, whose data stands already. */
void put_ipv4(struct span packet, uint8_t protocol, uint32_t source, uint32_t destination);

uint64_t now_ns(void);

/* An epoll for all clients' sockets, each with its client as data. Negative errno. */
int watch_clients(struct load_client *const *clients, size_t count);

#endif
