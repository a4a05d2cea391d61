/* A plane with all its threads, while control changes everything that it may change: for ThreadSanitizer and valgrind.
 *
 * Clients (a thread each) send data over UDP and TCP and take what comes back; the device (a thread) answers each packet with one
 * the other way. Meanwhile control adds and removes peers, renews keys, swaps tables, freezes peers and lets them go on, opens and
 * closes streams. `whole_plane SECONDS`. Ends with 0 when everything that must have moved has.
 */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "inner.h"
#include "worker.h"

#define WORKERS 2
#define CLIENTS 6 /* the last two by TCP */
#define BY_UDP 4
#define NETWORK 0x0A500000u
#define OUTSIDE 0xC0000201u
#define PACKET 600

struct client {
    uint32_t id, inside;
    int fd;
    pthread_mutex_t mutex; /* for the keys, which control renews */
    struct data_key *key;
    uint8_t key_id;
    struct path path;
    uint64_t received;
    pthread_t thread;
};

static struct client clients[CLIENTS];
static struct plane *plane;
static struct sockaddr_in gateway;
static int device[WORKERS][2];
static _Atomic bool ending;
static uint64_t next_stream = 1;

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    perror(what);
    exit(2);
}

static void build_packet(struct span packet, uint32_t from, uint32_t to)
{
    memset(packet.at, 0, packet.size);
    store8(packet, 0, 0x45);
    store16(packet, 2, (uint16_t)packet.size);
    store8(packet, 8, 64);
    store8(packet, 9, 17);
    store32(packet, 12, from);
    store32(packet, 16, to);
}

static uint32_t target_of(const struct client *client, unsigned number)
{
    return number % 3 ? OUTSIDE : NETWORK + 2 + (client->id - 1 + 1) % CLIENTS;
}

static const uint8_t CONTROL_PACKET[] = {0x28, 1, 2, 3};

/* A sealed packet, behind a length for a stream. */
static size_t seal_one(struct client *client, unsigned number, struct span out)
{
    uint8_t inner[PACKET];
    build_packet(span_of(inner, sizeof inner), client->inside, target_of(client, number));
    pthread_mutex_lock(&client->mutex);
    size_t size = client->key ? seal(client->key, 0, span_of(inner, sizeof inner), rest(out, 2)) : 0;
    pthread_mutex_unlock(&client->mutex);
    store16(out, 0, (uint16_t)size);
    return size;
}

static void *run_client(void *argument)
{
    struct client *client = argument;
    uint8_t room[4096];
    bool by_udp = client->id <= BY_UDP;
    for (unsigned number = 0; !atomic_load(&ending); number++) {
        size_t size = seal_one(client, number, span_of(room, sizeof room));
        if (size && by_udp)
            sendto(client->fd, room + 2, size, MSG_DONTWAIT, (struct sockaddr *)&gateway, sizeof gateway);
        else if (size && send(client->fd, room, size + 2, MSG_NOSIGNAL) < 0)
            break;
        while (recv(client->fd, room, sizeof room, MSG_DONTWAIT) > 0)
            client->received++;
        if (number % 16)
            continue;
        if (by_udp)
            sendto(client->fd, CONTROL_PACKET, sizeof CONTROL_PACKET, MSG_DONTWAIT, (struct sockaddr *)&gateway, sizeof gateway);
        usleep(500);
    }
    return NULL;
}

/* What the network would do: each packet comes back. */
static void *run_device(void *argument)
{
    int fd = *(int *)argument;
    uint8_t room[4096];
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (!atomic_load(&ending)) {
        poll(&ready, 1, 10);
        ssize_t size = recv(fd, room, sizeof room, MSG_DONTWAIT);
        if (size < IPV4_HEADER_SIZE)
            continue;
        struct span packet = span_of(room, (size_t)size);
        uint32_t from = source_of(packet), to = destination_of(packet);
        store32(packet, 12, to);
        store32(packet, 16, from);
        send(fd, room, (size_t)size, MSG_DONTWAIT);
    }
    return NULL;
}

static struct access_table *make_access(unsigned number)
{
    struct access_table *table;
    const uint32_t starts[] = {0, NETWORK, NETWORK + 256 + number};
    const uint8_t verdicts[] = {VERDICT_FORWARD, VERDICT_LOCAL, number % 2 ? VERDICT_FORWARD : VERDICT_NO_RULE};
    must(access_table_new(starts, verdicts, 3, NETWORK + 1, NETWORK + 255, &table) == 0, "access");
    return table;
}

static void renew_key(struct client *client, uint8_t key_id)
{
    struct key_settings settings = {.cipher = key_id % 2 ? CHACHA20_POLY1305 : AES_256_GCM, .key_id = key_id, .workers = 1};
    struct data_key *key;
    memset(&settings.send, key_id + 1, sizeof settings.send);
    memset(&settings.receive, key_id + 101, sizeof settings.receive);
    must(plane_install_key(plane, client->id, &settings) == 0, "install");
    settings.peer_id = client->id;
    settings.data_v2 = true;
    settings.workers = 1;
    struct key_half half = settings.send;
    settings.send = settings.receive;
    settings.receive = half;
    must(data_key_new(&settings, &key) == 0, "key");
    pthread_mutex_lock(&client->mutex);
    data_key_free(client->key);
    client->key = key;
    client->key_id = key_id;
    pthread_mutex_unlock(&client->mutex);
    must(plane_activate_key(plane, client->id, key_id) == 0, "activate");
}

static void admit(struct client *client, const struct traffic_totals *moved)
{
    struct access_table *access = make_access(client->id);
    struct peer_settings settings = {
        .id = client->id, .inside = client->inside, .path = client->path, .access = access, .ping_interval_ms = 1000,
        .idle_timeout_ms = 1000, .data_v2 = true, .mss = 1300,
    };
    must(plane_add_peer(plane, &settings, moved) == 0, "peer");
    plane_release_access(plane, access);
}

static void connect_stream(struct client *client)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    must(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0, "listen");
    must(getsockname(listener, (struct sockaddr *)&address, &size) == 0, "name");
    must(connect(client->fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    close(listener);
    client->path = (struct path){.stream = next_stream++, .port = 1};
    must(plane_add_stream(plane, accepted, &client->path) == 0, "stream");
}

static void open_client(struct client *client, uint32_t id)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    *client = (struct client){.id = id, .inside = NETWORK + 1 + id};
    pthread_mutex_init(&client->mutex, NULL);
    client->fd = socket(AF_INET, id <= BY_UDP ? SOCK_DGRAM : SOCK_STREAM, 0);
    if (id <= BY_UDP) {
        must(bind(client->fd, (struct sockaddr *)&address, size) == 0, "bind");
        getsockname(client->fd, (struct sockaddr *)&address, &size);
        /* Somewhere else at first: it floats with its first packet. */
        client->path = (struct path){.port = 9, .remote = {[10] = 0xFF, [11] = 0xFF, [12] = 127, [15] = (uint8_t)(id + 1)}};
    } else {
        connect_stream(client);
    }
    admit(client, NULL);
    renew_key(client, 0);
}

/* How many control packets came by UDP. */
static unsigned take_events(void)
{
    struct event event;
    unsigned datagrams = 0;
    while (plane_next_event(plane, &event)) {
        datagrams += event.kind == EVENT_CONTROL && !event.path.stream;
        if (event.kind == EVENT_FLOATED)
            clients[event.peer_id - 1].path = event.path;
        if (event.kind == EVENT_STREAM_ENDED)
            plane_forget_stream(plane, event.path.stream);
    }
    return datagrams;
}

/* Out of the plane, and in again with what it had moved, under a new key. */
static void freeze_and_thaw(struct client *client, unsigned number)
{
    struct frozen_peer frozen;
    must(plane_freeze_peer(plane, client->id, &frozen) == 0, "freeze");
    client->path = frozen.path;
    admit(client, &frozen.moved);
    renew_key(client, (uint8_t)(number % KEY_IDS));
}

static void change_something(unsigned number)
{
    struct client *client = &clients[number % CLIENTS];
    struct access_table *access;
    struct plane_facts facts;
    uint64_t drops[DROP_CAUSES];
    switch (number / CLIENTS % 5) {
    case 0:
        renew_key(client, (uint8_t)(number % KEY_IDS));
        break;
    case 1:
        access = make_access(number);
        must(plane_set_access(plane, client->id, access) == 0, "access");
        plane_release_access(plane, access);
        break;
    case 2:
        plane_drop_key(plane, client->id, (uint8_t)((client->key_id + 3) % KEY_IDS));
        break;
    case 3:
        freeze_and_thaw(client, number);
        break;
    default:
        plane_facts(plane, &facts);
        plane_drops(plane, drops);
        plane_send_control(plane, &client->path, span_of((uint8_t[]){0x28, 1, 2, 3}, 4));
    }
}

static int open_udp(bool reuse, const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), one = 1;
    if (reuse)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    must(bind(fd, (const struct sockaddr *)address, sizeof *address) == 0, "bind");
    return fd;
}

int main(int count, char **arguments)
{
    int udp[WORKERS + 1], ends[WORKERS];
    socklen_t size = sizeof gateway;
    pthread_t devices[WORKERS];
    double seconds = count > 1 ? strtod(arguments[1], NULL) : 2;
    gateway = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i <= WORKERS; i++) {
        udp[i] = open_udp(true, &gateway);
        getsockname(udp[i], (struct sockaddr *)&gateway, &size);
    }
    for (int i = 0; i < WORKERS; i++) {
        must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, device[i]) == 0, "device");
        ends[i] = device[i][0];
    }
    struct plane_settings settings = {
        .workers = WORKERS, .network = NETWORK, .gateway = NETWORK + 1, .prefix = 24, .mtu = 1500, .udp_offload = true,
        .tun_offload = true, .streams = {.backlog = 1 << 16, .control_backlog = 1 << 16, .close_timeout_ms = 500},
    };
    struct plane_descriptors descriptors = {udp, ends, WORKERS + 1, WORKERS, eventfd(0, EFD_NONBLOCK)};
    must(plane_new(&settings, &descriptors, &plane) == 0, "plane");
    must(plane_start(plane) == 0, "start");
    for (uint32_t i = 0; i < CLIENTS; i++)
        open_client(&clients[i], i + 1);
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&devices[i], NULL, run_device, &device[i][1]);
    for (int i = 0; i < CLIENTS; i++)
        pthread_create(&clients[i].thread, NULL, run_client, &clients[i]);
    unsigned datagrams = 0;
    uint64_t end = clock_ms() + (uint64_t)(seconds * 1000);
    for (unsigned number = 0; clock_ms() < end; number++) {
        change_something(number);
        datagrams += take_events();
        usleep(2000);
    }
    atomic_store(&ending, true);
    plane_stop(plane);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(devices[i], NULL);
    bool all_moved = datagrams > 0;
    for (int i = 0; i < CLIENTS; i++) {
        struct traffic_totals moved;
        shutdown(clients[i].fd, SHUT_RDWR);
        pthread_join(clients[i].thread, NULL);
        must(plane_traffic(plane, clients[i].id, &moved) == 0, "traffic");
        printf("client %d: in %llu, out %llu, received %llu\n", i + 1, (unsigned long long)moved.ingress_packets,
               (unsigned long long)moved.egress_packets, (unsigned long long)clients[i].received);
        all_moved = all_moved && moved.ingress_packets && moved.egress_packets && clients[i].received;
        data_key_free(clients[i].key);
    }
    plane_free(plane);
    return all_moved ? 0 : 1;
}
