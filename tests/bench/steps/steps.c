/* What each step of a packet's way costs in the native plane: CPU time of the thread, per packet, in nanoseconds.
 *
 * The plane's own functions, on a plane of one worker whose thread does not run: this program is the worker. Sockets are on the
 * loopback device and the TUN device is a real one, in a network namespace of the program's own; what is written to it has no
 * route, so that the host's share of the way, whatever it is, stays out.
 *
 * Output: lines of a name and a number. `steps ROUNDS`.
 */
#define _GNU_SOURCE /* unshare */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "checksum.h"
#include "cut.h"
#include "inner.h"
#include "worker.h"

#define NETWORK 0x0A500000u
#define INSIDE 0x0A500007u
#define OUTSIDE 0xC0000201u
#define BATCH 32
#define SEGMENTS 44
#define TCP_HEADERS 40
#define LARGE 1400
#define SMALL 64
#define RULES 1000

static struct plane *plane;
static struct worker *worker;
static struct peer *peer;
static struct data_key *client_key;
static struct sockaddr_in gateway;
static int client;
static uint8_t packets[BATCH][2048], sealed[BATCH][2048], frame[LARGEST_FRAME];
static uint32_t sequence;
static volatile uint64_t sink; /* so that no result is unused */

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static double thread_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* The rig. */

static void bring_up(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_UP | IFF_RUNNING};
    int control = socket(AF_INET, SOCK_DGRAM, 0);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    must(ioctl(control, SIOCSIFFLAGS, &request) == 0, name);
    close(control);
}

static int open_tun(void)
{
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR, .ifr_name = "steps0"};
    must(fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0, "/dev/net/tun");
    bring_up("steps0");
    return fd;
}

static int bound_socket(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    must(fd >= 0 && bind(fd, (struct sockaddr *)address, size) == 0, "bind");
    must(getsockname(fd, (struct sockaddr *)address, &size) == 0, "getsockname");
    return fd;
}

static struct access_table *many_rules(void)
{
    static uint32_t starts[RULES];
    static uint8_t verdicts[RULES];
    struct access_table *table;
    for (uint32_t i = 0; i < RULES; i++) {
        starts[i] = i * (UINT32_MAX / RULES);
        verdicts[i] = VERDICT_FORWARD;
    }
    must(access_table_new(starts, verdicts, RULES, NETWORK + 1, NETWORK + 255, &table) == 0, "access table");
    return table;
}

static void admit(uint16_t port)
{
    struct peer_settings settings = {.id = 1, .inside = INSIDE, .access = many_rules(), .data_v2 = true, .path.port = port};
    const uint8_t loopback[16] = {[10] = 0xFF, [11] = 0xFF, [12] = 127, [15] = 1};
    memcpy(settings.path.remote, loopback, sizeof loopback);
    must(plane_add_peer(plane, &settings, NULL) == 0, "peer");
    struct key_settings key = {.cipher = AES_256_GCM, .peer_id = 1, .data_v2 = true, .workers = 1};
    memset(&key.send, 1, sizeof key.send);
    memset(&key.receive, 2, sizeof key.receive);
    must(plane_install_key(plane, 1, &key) == 0 && plane_activate_key(plane, 1, 0) == 0, "key");
    struct key_half half = key.send;
    key.send = key.receive;
    key.receive = half;
    must(data_key_new(&key, &client_key) == 0, "client key");
    peer = peer_by_id(plane->peers, 1);
}

static void open_plane(void)
{
    struct sockaddr_in own;
    must(unshare(CLONE_NEWNET) == 0, "a network namespace");
    bring_up("lo");
    int tun = open_tun(), udp = bound_socket(&gateway);
    client = bound_socket(&own);
    struct plane_settings settings = {
        .workers = 1, .network = NETWORK, .gateway = NETWORK + 1, .prefix = 24, .mtu = 1500, .udp_offload = true,
        .tun_offload = true, .streams = {.backlog = 1 << 18, .control_backlog = 1 << 18, .close_timeout_ms = 5000},
    };
    struct plane_descriptors descriptors = {&udp, &tun, 1, 1, eventfd(0, EFD_NONBLOCK)};
    must(plane_new(&settings, &descriptors, &plane) == 0, "plane");
    worker = &plane->workers[0];
    admit(ntohs(own.sin_port));
}

/* The next segment of a TCP stream from the client. */
static struct span next_segment(unsigned i, size_t size)
{
    struct span packet = span_of(packets[i], size);
    memset(packet.at, 0, TCP_HEADERS);
    store8(packet, 0, 0x45);
    store16(packet, 2, (uint16_t)size);
    store16(packet, 6, 0x4000);
    store8(packet, 8, 64);
    store8(packet, 9, 6);
    store32(packet, 12, INSIDE);
    store32(packet, 16, OUTSIDE);
    store32(packet, 24, sequence);
    store8(packet, 32, 0x50);
    store8(packet, 33, 0x10);
    set_ipv4_checksum(packet, IPV4_HEADER_SIZE);
    store16(packet, 36, (uint16_t)~sum_octets(rest(packet, 20), sum_pseudo_header(packet, 6, size - 20)));
    sequence += (uint32_t)(size - TCP_HEADERS);
    return packet;
}

/* A frame of the device with SEGMENTS segments for the client. */
static struct span next_frame(void)
{
    size_t data = LARGE - TCP_HEADERS, size = TCP_HEADERS + SEGMENTS * data;
    struct span whole = span_of(frame, VIRTIO_HEADER_SIZE + size), packet = rest(whole, VIRTIO_HEADER_SIZE);
    struct virtio_header header = {VIRTIO_NEEDS_CSUM, GSO_TCPV4, TCP_HEADERS, (uint16_t)data, 20, 16};
    memset(packet.at, 0, TCP_HEADERS);
    store_virtio_header(whole, &header);
    store8(packet, 0, 0x45);
    store16(packet, 2, (uint16_t)size);
    store16(packet, 6, 0x4000);
    store8(packet, 9, 6);
    store32(packet, 12, OUTSIDE);
    store32(packet, 16, INSIDE);
    store8(packet, 32, 0x50);
    store8(packet, 33, 0x10);
    return whole;
}

static void seal_batch(size_t size, struct span out[BATCH])
{
    for (unsigned i = 0; i < BATCH; i++) {
        out[i] = span_of(sealed[i], sizeof sealed[i]);
        out[i].size = seal(client_key, 0, next_segment(i, size), out[i]);
    }
}

/* Steps. Each does its work for `rounds` batches and gives nanoseconds per packet. */

static double opening(unsigned rounds, size_t size)
{
    struct data_key *key = atomic_load(&peer->keys[0]);
    struct span datagrams[BATCH], payload;
    double spent = 0;
    for (unsigned round = 0; round < rounds; round++) {
        seal_batch(size, datagrams);
        double begun = thread_ns();
        for (unsigned i = 0; i < BATCH; i++)
            must(open_untrusted(key, 0, datagrams[i], &payload) == OPENED, "open");
        spent += thread_ns() - begun;
    }
    return spent / rounds / BATCH;
}

static double sealing(unsigned rounds, size_t size)
{
    struct data_key *key = atomic_load(&peer->sending);
    double begun = thread_ns();
    for (unsigned round = 0; round < rounds * BATCH; round++)
        sink += seal(key, 0, span_of(packets[0], size), span_of(sealed[0], sizeof sealed[0]));
    return (thread_ns() - begun) / rounds / BATCH;
}

static double finding(unsigned rounds)
{
    double begun = thread_ns();
    for (unsigned i = 0; i < rounds * BATCH; i++)
        sink += (uint64_t)(uintptr_t)peer_by_id(plane->peers, 1 + (uint32_t)sink % 2);
    return (thread_ns() - begun) / rounds / BATCH;
}

static double deciding(unsigned rounds)
{
    struct access_table *access = atomic_load(&peer->access);
    uint32_t address = OUTSIDE;
    double begun = thread_ns();
    for (unsigned i = 0; i < rounds * BATCH; i++) {
        address = address * 2654435761u + 12345;
        sink += access_verdict(access, address);
    }
    return (thread_ns() - begun) / rounds / BATCH;
}

static double joining(unsigned rounds)
{
    double spent = 0;
    for (unsigned round = 0; round < rounds; round++) {
        train_take(&worker->trains, peer, next_segment(0, LARGE));
        for (unsigned i = 1; i < BATCH; i++)
            next_segment(i, LARGE);
        double begun = thread_ns();
        for (unsigned i = 1; i < BATCH; i++)
            must(train_extend(&worker->trains, peer, span_of(packets[i], LARGE)), "a segment does not join");
        spent += thread_ns() - begun;
        trains_flush(&worker->trains);
    }
    return spent / rounds / (BATCH - 1);
}

static double cutting(unsigned rounds)
{
    double spent = 0;
    for (unsigned round = 0; round < rounds; round++) {
        struct span whole = next_frame(), packet;
        struct cutter cutter;
        double begun = thread_ns();
        must(cut_begin(&cutter, whole, true), "a frame cannot be cut");
        while (cut_next(&cutter, &packet))
            sink += packet.size;
        spent += thread_ns() - begun;
    }
    return spent / rounds / SEGMENTS;
}

static void send_all(struct span datagrams[BATCH], unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        must(sendto(client, datagrams[i].at, datagrams[i].size, 0, (struct sockaddr *)&gateway, sizeof gateway) >= 0, "send");
}

/* All of a packet's way in, in batches of `count`: from the socket's queue to the device. */
static double way_in(unsigned rounds, size_t size, unsigned count)
{
    struct span datagrams[BATCH];
    double spent = 0;
    for (unsigned round = 0; round < rounds; round++) {
        seal_batch(size, datagrams);
        send_all(datagrams, count);
        double begun = thread_ns();
        worker->now = clock_ms();
        ingress_datagrams(worker);
        spent += thread_ns() - begun;
    }
    return spent / rounds / count;
}

/* All of a packet's way out, from the frame in memory to the client's socket. */
static double way_out(unsigned rounds)
{
    double spent = 0;
    for (unsigned round = 0; round < rounds; round++) {
        struct span whole = next_frame();
        double begun = thread_ns();
        worker->now = clock_ms();
        egress_take(worker, peer, whole, true);
        egress_flush(worker);
        spent += thread_ns() - begun;
        while (recv(client, sealed, sizeof sealed, MSG_DONTWAIT) > 0)
            ;
    }
    return spent / rounds / SEGMENTS;
}

int main(int count, char **arguments)
{
    unsigned rounds = count > 1 ? (unsigned)strtoul(arguments[1], NULL, 10) : 1000;
    open_plane();
    reclaim_online(plane->reclaim, 0);
    printf("find the peer %.1f\n", finding(rounds));
    printf("open 1400 octets %.1f\n", opening(rounds, LARGE));
    printf("open 64 octets %.1f\n", opening(rounds, SMALL));
    printf("decide among 1,000 intervals %.1f\n", deciding(rounds));
    printf("join 1400 octets %.1f\n", joining(rounds));
    printf("way in, 1400 octets, 32 in a batch %.1f\n", way_in(rounds, LARGE, BATCH));
    printf("way in, 1400 octets, alone %.1f\n", way_in(rounds, LARGE, 1));
    printf("way in, 64 octets, 32 in a batch %.1f\n", way_in(rounds, SMALL, BATCH));
    printf("cut 1400 octets %.1f\n", cutting(rounds));
    printf("seal 1400 octets %.1f\n", sealing(rounds, LARGE));
    printf("seal 64 octets %.1f\n", sealing(rounds, SMALL));
    printf("way out, 1400 octets, 44 in a frame %.1f\n", way_out(rounds));
    return 0;
}
