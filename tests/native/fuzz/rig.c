#define _GNU_SOURCE /* accept4 */
#include "rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cut.h"
#include "inner.h"

#define NETWORK 0x0A500000u
#define GATEWAY 0x0A500001u
#define LOOPBACK 0x7F000001u
#define MTU 1500

static uint8_t received[LARGEST_FRAME];
static uint8_t sealed[LARGEST_FRAME + MOST_OVERHEAD];

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "the rig cannot go on: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int bound_socket(int kind)
{
    int fd = socket(AF_INET, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(LOOPBACK)};
    must(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0, "a socket");
    return fd;
}

static struct sockaddr_in name_of(int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    must(getsockname(fd, (struct sockaddr *)&address, &size) == 0, "getsockname");
    return address;
}

static struct path path_to(int fd, uint64_t stream)
{
    struct path path = {.port = ntohs(name_of(fd).sin_port), .stream = stream};
    const uint8_t mapped[16] = {[10] = 0xFF, [11] = 0xFF, [12] = 127, [15] = 1};
    memcpy(path.remote, mapped, sizeof mapped);
    return path;
}

static struct access_table *everything(void)
{
    struct access_table *table;
    const uint32_t starts[] = {0, NETWORK, NETWORK + 256, 0xC6336400u};
    const uint8_t verdicts[] = {VERDICT_FORWARD, VERDICT_LOCAL, VERDICT_FORWARD, VERDICT_NO_RULE};
    must(access_table_new(starts, verdicts, 4, GATEWAY, NETWORK + 255, &table) == 0, "an access table");
    return table;
}

static struct data_key *admit(struct rig *rig, uint32_t id, uint32_t inside, struct path path)
{
    struct access_table *access = everything();
    struct peer_settings peer = {
        .id = id, .inside = inside, .path = path, .access = access, .ping_interval_ms = 10000, .idle_timeout_ms = 60000,
        .data_v2 = true, .mss = 1360,
    };
    must(plane_add_peer(rig->plane, &peer, NULL) == 0, "a peer");
    plane_release_access(rig->plane, access);
    struct key_settings key = {.cipher = AES_256_GCM, .peer_id = id, .data_v2 = true, .workers = 1};
    memset(&key.send, 1, sizeof key.send);
    memset(&key.receive, 2, sizeof key.receive);
    must(plane_install_key(rig->plane, id, &key) == 0 && plane_activate_key(rig->plane, id, 0) == 0, "a key");
    struct key_half half = key.send;
    key.send = key.receive;
    key.receive = half;
    struct data_key *client;
    must(data_key_new(&key, &client) == 0, "the client's key");
    return client;
}

struct rig *rig_new(void)
{
    struct rig *rig = calloc(1, sizeof *rig);
    int device[2];
    must(rig != NULL, "memory");
    rig->udp = bound_socket(SOCK_DGRAM);
    rig->client = bound_socket(SOCK_DGRAM);
    rig->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    rig->stream = -1;
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, device) == 0, "a device");
    rig->device = device[1];
    struct plane_settings settings = {
        .workers = 1, .network = NETWORK, .gateway = GATEWAY, .prefix = 24, .mtu = MTU, .udp_offload = true, .tun_offload = true,
        .streams = {.backlog = 1 << 18, .control_backlog = 1 << 18, .close_timeout_ms = 5000},
    };
    struct plane_descriptors descriptors = {&rig->udp, &device[0], 1, 1, rig->wake};
    must(plane_new(&settings, &descriptors, &rig->plane) == 0, "a plane");
    rig->worker = &rig->plane->workers[0];
    /* A socket has no virtio headers; the worker shall take its frames for those of a device that has. */
    rig->plane->tun[0].has_header = true;
    rig->worker->trains.has_header = rig->worker->trains.joins_tcp = rig->worker->trains.joins_udp = true;
    rig->client_key = admit(rig, PEER_ID, INSIDE, path_to(rig->client, 0));
    return rig;
}

void rig_connect(struct rig *rig)
{
    int listener = bound_socket(SOCK_STREAM);
    struct sockaddr_in address = name_of(listener);
    must(listen(listener, 1) == 0, "listen");
    if (rig->stream >= 0)
        close(rig->stream);
    rig->stream = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(connect(rig->stream, (struct sockaddr *)&address, sizeof address) == 0, "connect");
    int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    must(accepted >= 0, "accept");
    close(listener);
    struct path path = path_to(rig->stream, ++rig->streams);
    must(plane_add_stream(rig->plane, accepted, &path) == 0, "a stream");
    struct traffic_totals moved;
    data_key_free(rig->client_key);
    plane_remove_peer(rig->plane, OTHER_PEER_ID, &moved);
    rig->client_key = admit(rig, OTHER_PEER_ID, OTHER_INSIDE, path);
}

struct span rig_seal(struct rig *rig, struct span payload)
{
    size_t size = payload.size ? seal(rig->client_key, 0, payload, span_of(sealed, sizeof sealed)) : 0;
    return span_of(sealed, size);
}

void rig_datagram(struct rig *rig, struct span datagram)
{
    struct sockaddr_in address = name_of(rig->udp);
    reclaim_online(rig->plane->reclaim, 0);
    rig->worker->now = clock_ms();
    if (sendto(rig->client, datagram.at, datagram.size, 0, (struct sockaddr *)&address, sizeof address) >= 0)
        ingress_datagrams(rig->worker);
    reclaim_offline(rig->plane->reclaim, 0);
}

void rig_frame(struct rig *rig, struct span frame)
{
    reclaim_online(rig->plane->reclaim, 0);
    rig->worker->now = clock_ms();
    if (frame.size && send(rig->device, frame.at, frame.size, 0) >= 0)
        must(egress_frames(rig->worker) == 0, "the device");
    reclaim_offline(rig->plane->reclaim, 0);
}

void rig_stream(struct rig *rig, struct span octets)
{
    struct stream *stream = find_stream(rig->plane, rig->streams);
    if (!stream || send(rig->stream, octets.at, octets.size, MSG_NOSIGNAL) < 0)
        return;
    struct pollfd arrived = {.fd = stream->fd, .events = POLLIN};
    reclaim_online(rig->plane->reclaim, 0);
    rig->worker->now = clock_ms();
    if (poll(&arrived, 1, 1000) == 1 && ingress_stream(rig->worker, stream) == STREAM_ENDED)
        end_stream(rig->worker, stream);
    reclaim_offline(rig->plane->reclaim, 0);
}

/* What the plane writes to the device is a sound packet of a client, behind a header that fits it. */
static void check_written(struct span frame)
{
    struct virtio_header header = load_virtio_header(frame);
    struct span packet = rest(frame, VIRTIO_HEADER_SIZE);
    must(find_fault(packet) == DROP_NONE, "an unsound packet was written");
    must(source_of(packet) == INSIDE || source_of(packet) == OTHER_INSIDE, "a spoofed packet was written");
    must(header.gso_type != GSO_NONE || packet.size <= MTU, "an oversized packet was written");
    must(header.gso_type == GSO_NONE || header.segment_size > 0, "a train without segments was written");
}

void rig_settle(struct rig *rig)
{
    struct event event;
    ssize_t size;
    while (recv(rig->client, received, sizeof received, 0) >= 0)
        ;
    while (rig->stream >= 0 && recv(rig->stream, received, sizeof received, MSG_DONTWAIT) > 0)
        ;
    while ((size = recv(rig->device, received, sizeof received, 0)) > 0)
        check_written(span_of(received, (size_t)size));
    while (plane_next_event(rig->plane, &event))
        if (event.kind == EVENT_STREAM_ENDED)
            plane_forget_stream(rig->plane, event.path.stream);
    reclaim_now(rig->plane->reclaim);
}
