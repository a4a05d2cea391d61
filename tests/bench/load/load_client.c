/* A client's keys and socket, and a whole client with a TUN device.
 *
 * From the device: read a frame, cut it, seal each packet into a run, send the run. To the device: receive a batch, open it,
 * join what belongs together, write it. Packets lie in the receiver's buffers until the trains have left, which is before the
 * next batch; the run's memory is free again once it was sent.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "checksum.h"
#include "cut.h"
#include "inner.h"
#include "load_run.h"
#include "train.h"
#include "tun.h"

#define FRAMES_AT_A_TIME 64
#define DONT_FRAGMENT 0x4000
#define TIME_TO_LIVE 64

uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct path path_to(uint32_t address, uint16_t port)
{
    struct path path = {0};
    struct span remote = span_of(path.remote, sizeof path.remote);
    store16(remote, 10, 0xFFFF);
    store32(remote, 12, address);
    path.port = port;
    return path;
}

void put_ipv4(struct span packet, uint8_t protocol, uint32_t source, uint32_t destination)
{
    store16(packet, 0, 0x4500);
    store16(packet, 2, (uint16_t)packet.size);
    store16(packet, 4, 0);
    store16(packet, 6, DONT_FRAGMENT);
    store8(packet, 8, TIME_TO_LIVE);
    store8(packet, 9, protocol);
    store32(packet, 12, source);
    store32(packet, 16, destination);
    set_ipv4_checksum(packet, IPV4_SIZE);
}

static int make_key(struct load_client *client, const struct load_settings *settings)
{
    struct key_settings about = {
        .cipher = (enum cipher)settings->cipher,
        .key_id = settings->key_id,
        .data_v2 = true,
        .peer_id = settings->peer_id,
        .workers = 1,
    };
    memcpy(&about.send, settings->send, sizeof about.send);
    memcpy(&about.receive, settings->receive, sizeof about.receive);
    int failure = data_key_new(&about, &client->key);
    explicit_bzero(&about, sizeof about);
    return failure;
}

int load_client_new(const struct load_settings *settings, struct load_client **client)
{
    struct load_client *made = calloc(1, sizeof *made);
    if (!made)
        return -ENOMEM;
    made->server = path_to(settings->server, settings->server_port);
    made->inside = settings->inside;
    int failure = udp_prepare(&made->socket, settings->fd, settings->offload);
    if (!failure)
        failure = make_key(made, settings);
    if (failure) {
        load_client_free(made);
        return failure;
    }
    *client = made;
    return 0;
}

void load_client_free(struct load_client *client)
{
    if (!client)
        return;
    data_key_free(client->key);
    free(client);
}

int run_new(struct run *run)
{
    *run = (struct run){0};
    uint8_t *memory = malloc(GOOD_GSO_OCTETS);
    if (!memory)
        return -ENOMEM;
    run->memory = span_of(memory, GOOD_GSO_OCTETS);
    return 0;
}

void run_free(struct run *run)
{
    free(run->memory.at);
}

void run_send(struct run *run)
{
    if (run->count)
        run->refused += udp_send(run->socket, &run->to, part(run->memory, 0, run->octets), run->segment, run->count);
    run->count = 0;
    run->octets = run->segment = 0;
    run->ended = false;
}

struct span run_room(struct run *run, size_t size)
{
    bool fits = !run->ended && size <= run->segment && run->count < MOST_GSO_SEGMENTS && holds(run->memory, run->octets, size);
    if (run->count && !fits)
        run_send(run);
    return part(run->memory, run->octets, size);
}

void run_add(struct run *run, size_t size)
{
    if (!run->count)
        run->segment = size;
    run->ended = size < run->segment;
    run->octets += size;
    run->count++;
}

void run_turn_to(struct run *run, struct load_client *client)
{
    run_send(run);
    run->socket = &client->socket;
    run->to = client->server;
}

bool run_seal(struct run *run, struct load_client *client, struct span packet)
{
    size_t size = sealed_size(client->key, packet.size);
    if (!seal(client->key, 0, packet, run_room(run, size)))
        return false;
    run_add(run, size);
    return true;
}

static void open_message(struct load_client *client, const struct udp_message *message, take_payload take, void *context)
{
    for (size_t at = 0; at < message->data.size; at += message->segment) {
        size_t left = message->data.size - at;
        struct span payload, packet = part(message->data, at, left < message->segment ? left : message->segment);
        if (open_untrusted(client->key, 0, packet, &payload) == OPENED && own_message(payload) == NOT_OWN)
            take(context, client, payload);
    }
}

void receive_payloads(struct load_client *client, struct udp_receiver *receiver, take_payload take, void *context)
{
    int count = udp_receive(receiver, &client->socket, MOST_MESSAGES);
    for (int i = 0; i < count; i++)
        open_message(client, udp_message(receiver, (unsigned)i), take, context);
}

int watch_clients(struct load_client *const *clients, size_t count)
{
    int watch = epoll_create1(EPOLL_CLOEXEC);
    if (watch < 0)
        return -errno;
    for (size_t i = 0; i < count; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = clients[i]};
        if (epoll_ctl(watch, EPOLL_CTL_ADD, clients[i]->socket.fd, &wanted)) {
            int failure = -errno;
            close(watch);
            return failure;
        }
    }
    return watch;
}

struct tunnel {
    struct load_client *client;
    struct tun_queue tun;
    struct udp_receiver *receiver;
    struct trains trains;
    struct run run;
    struct span frame; /* LARGEST_FRAME */
};

static int write_train(void *context, struct peer *peer, const struct iovec *pieces, int count, unsigned packets, size_t octets)
{
    (void)peer, (void)packets, (void)octets;
    struct tunnel *tunnel = context;
    return tun_write(&tunnel->tun, pieces, count);
}

static void take_for_tun(void *context, struct load_client *client, struct span payload)
{
    (void)client;
    struct tunnel *tunnel = context;
    if (!train_extend(&tunnel->trains, NULL, payload) && find_fault(payload) == DROP_NONE)
        train_take(&tunnel->trains, NULL, payload);
}

static void send_frame(struct tunnel *tunnel, struct span frame)
{
    struct cutter cutter;
    struct span packet;
    if (!cut_begin(&cutter, frame, tunnel->tun.has_header))
        return;
    while (cut_next(&cutter, &packet))
        if (find_fault(packet) == DROP_NONE && !run_seal(&tunnel->run, tunnel->client, packet))
            return;
}

/* Negative errno when the device is gone. */
static int send_frames(struct tunnel *tunnel)
{
    ssize_t size = 0;
    for (int i = 0; i < FRAMES_AT_A_TIME && (size = tun_read(&tunnel->tun, tunnel->frame)) > 0; i++)
        send_frame(tunnel, part(tunnel->frame, 0, (size_t)size));
    run_send(&tunnel->run);
    return size < 0 ? (int)size : 0;
}

static int carry(struct tunnel *tunnel)
{
    struct pollfd ready[] = {{.fd = tunnel->tun.fd, .events = POLLIN}, {.fd = tunnel->client->socket.fd, .events = POLLIN}};
    int failure = 0;
    while (!failure) {
        if (poll(ready, 2, -1) < 0 && errno != EINTR)
            return -errno;
        if (ready[0].revents & (POLLERR | POLLHUP | POLLNVAL))
            return -ENODEV;
        if (ready[1].revents) {
            receive_payloads(tunnel->client, tunnel->receiver, take_for_tun, tunnel);
            trains_flush(&tunnel->trains);
        }
        if (ready[0].revents)
            failure = send_frames(tunnel);
    }
    return failure;
}

int load_tunnel(struct load_client *client, int tun)
{
    struct tunnel tunnel = {.client = client, .receiver = udp_receiver_new(), .frame = span_of(malloc(LARGEST_FRAME), LARGEST_FRAME)};
    int failure = tunnel.receiver && tunnel.frame.at ? run_new(&tunnel.run) : -ENOMEM;
    if (!failure)
        failure = tun_prepare(&tunnel.tun, tun, true);
    if (!failure) {
        const struct tun_queue *device = &tunnel.tun;
        failure = trains_new(&tunnel.trains, write_train, &tunnel, device->has_header, device->tso, device->uso);
    }
    if (!failure) {
        run_turn_to(&tunnel.run, client);
        failure = carry(&tunnel);
        trains_free(&tunnel.trains);
    }
    run_free(&tunnel.run);
    free(tunnel.frame.at);
    udp_receiver_free(tunnel.receiver);
    return failure;
}
