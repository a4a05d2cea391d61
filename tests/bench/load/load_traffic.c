/* UDP packets in bulk: from clients, to clients, and their other ends outside the tunnel.
 *
 * All data is zeros, so that a checksum is the sum of the headers alone, and a packet costs little beside its encryption.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "checksum.h"
#include "load_run.h"

#define READY_AT_A_TIME 64

/* A UDP packet from the client to the traffic's destination, in `memory`, whose data is zeros already. */
static struct span build_udp(struct span memory, const struct load_client *client, const struct load_traffic *traffic, size_t size)
{
    struct span packet = part(memory, 0, size);
    put_ipv4(packet, IPPROTO_UDP, client->inside, traffic->destination);
    struct span udp = part(packet, IPV4_SIZE, UDP_SIZE);
    size_t length = size - IPV4_SIZE;
    store16(udp, 0, traffic->port);
    store16(udp, 2, traffic->port);
    store16(udp, 4, (uint16_t)length);
    store16(udp, 6, 0);
    uint16_t sum = (uint16_t)~sum_octets(udp, sum_pseudo_header(packet, IPPROTO_UDP, length));
    store16(udp, 6, sum ? sum : 0xFFFF);
    return packet;
}

static bool are_sizes_sound(const struct load_traffic *traffic)
{
    for (size_t i = 0; i < traffic->size_count; i++)
        if (traffic->sizes[i] < IPV4_SIZE + UDP_SIZE || traffic->sizes[i] > LARGEST_INNER)
            return false;
    return traffic->size_count && traffic->burst;
}

/* One burst of one client; gives where in the sizes it has arrived. */
static size_t send_burst(struct run *run, struct load_client *client, const struct load_traffic *traffic, size_t turn,
                         struct load_moved *moved)
{
    uint8_t zeros[LARGEST_INNER] = {0};
    run_turn_to(run, client);
    for (unsigned i = 0; i < traffic->burst; i++, turn++) {
        size_t size = traffic->sizes[turn % traffic->size_count];
        if (!run_seal(run, client, build_udp(span_of(zeros, sizeof zeros), client, traffic, size)))
            break;
        moved->packets++;
        moved->octets += size;
    }
    return turn;
}

int load_flood(struct load_client *const *clients, size_t count, const struct load_traffic *traffic, struct load_moved *moved)
{
    struct run run;
    *moved = (struct load_moved){0};
    int failure = are_sizes_sound(traffic) ? run_new(&run) : -EINVAL;
    if (failure)
        return failure;
    uint64_t begin = now_ns(), end = begin + traffic->duration * 1000000ull;
    size_t turn = 0;
    while (now_ns() < end)
        for (size_t i = 0, from = turn; i < count; i++)
            turn = send_burst(&run, clients[i], traffic, from, moved);
    run_send(&run);
    moved->refused = run.refused;
    moved->microseconds = (now_ns() - begin) / 1000;
    run_free(&run);
    return 0;
}

/* When things came, and when to stop waiting for more. */
struct tally {
    struct load_moved *moved;
    uint64_t first, last, quiet, patience;
};

static struct tally tally_from(struct load_moved *moved, uint32_t quiet, uint32_t patience)
{
    *moved = (struct load_moved){0};
    return (struct tally){.moved = moved, .last = now_ns(), .quiet = quiet * 1000000ull, .patience = patience * 1000000ull};
}

static void tally_add(struct tally *tally, uint64_t packets, uint64_t octets)
{
    tally->last = now_ns();
    if (!tally->first)
        tally->first = tally->last;
    tally->moved->packets += packets;
    tally->moved->octets += octets;
    tally->moved->microseconds = (tally->last - tally->first) / 1000;
}

static bool is_over(const struct tally *tally)
{
    return now_ns() - tally->last > (tally->first ? tally->quiet : tally->patience);
}

struct collecting {
    struct tally tally;
    uint16_t port;
};

/* Answers to the hello, not what the host may have to say about earlier traffic. */
static void count_payload(void *context, struct load_client *client, struct span payload)
{
    struct collecting *collecting = context;
    bool ours = holds(payload, 0, IPV4_SIZE + UDP_SIZE) && load8(payload, 9) == IPPROTO_UDP &&
                load32(payload, 16) == client->inside && load16(payload, IPV4_SIZE + 2) == collecting->port;
    if (ours)
        tally_add(&collecting->tally, 1, payload.size);
}

/* A first packet to the traffic's destination, so that what comes back belongs to a connection that the client began. */
static int say_hello(struct load_client *const *clients, size_t count, const struct load_traffic *traffic)
{
    struct run run;
    struct load_moved ignored;
    int failure = run_new(&run);
    if (failure)
        return failure;
    struct load_traffic hello = *traffic;
    hello.burst = 1;
    for (size_t i = 0; i < count; i++)
        send_burst(&run, clients[i], &hello, 0, &ignored);
    run_send(&run);
    run_free(&run);
    return 0;
}

int load_collect(struct load_client *const *clients, size_t count, const struct load_traffic *hello, uint32_t quiet,
                 uint32_t patience, struct load_moved *moved)
{
    struct collecting collecting = {tally_from(moved, quiet, patience), hello->port};
    int failure = are_sizes_sound(hello) ? say_hello(clients, count, hello) : -EINVAL;
    int watch = failure ? failure : watch_clients(clients, count);
    if (watch < 0)
        return watch;
    struct udp_receiver *receiver = udp_receiver_new();
    while (receiver && !is_over(&collecting.tally)) {
        struct epoll_event ready[READY_AT_A_TIME];
        int found = epoll_wait(watch, ready, READY_AT_A_TIME, (int)quiet / 2);
        for (int i = 0; i < found; i++)
            receive_payloads(ready[i].data.ptr, receiver, count_payload, &collecting);
    }
    close(watch);
    udp_receiver_free(receiver);
    return receiver ? 0 : -ENOMEM;
}

int load_source(int fd, const uint32_t *addresses, size_t count, const struct load_traffic *traffic, struct load_moved *moved)
{
    struct udp_socket from = {0};
    struct run run;
    *moved = (struct load_moved){0};
    int failure = are_sizes_sound(traffic) ? udp_prepare(&from, fd, true) : -EINVAL;
    if (!failure)
        failure = run_new(&run);
    if (failure)
        return failure;
    memset(run.memory.at, 0, run.memory.size);
    run.socket = &from;
    uint64_t begin = now_ns(), end = begin + traffic->duration * 1000000ull;
    for (size_t i = 0, turn = 0; now_ns() < end; i++) {
        run_send(&run);
        run.to = path_to(addresses[i % count], traffic->port);
        for (unsigned n = 0; n < traffic->burst; n++, turn++) {
            size_t size = traffic->sizes[turn % traffic->size_count];
            run_room(&run, size - IPV4_SIZE - UDP_SIZE);
            run_add(&run, size - IPV4_SIZE - UDP_SIZE);
            moved->packets++;
            moved->octets += size;
        }
    }
    run_send(&run);
    moved->refused = run.refused;
    moved->microseconds = (now_ns() - begin) / 1000;
    run_free(&run);
    return 0;
}

static void count_messages(struct tally *tally, struct udp_receiver *receiver, int count)
{
    for (int i = 0; i < count; i++) {
        const struct udp_message *message = udp_message(receiver, (unsigned)i);
        uint64_t packets = (message->data.size + message->segment - 1) / message->segment;
        tally_add(tally, packets, message->data.size + packets * (IPV4_SIZE + UDP_SIZE));
    }
}

int load_sink(int fd, uint32_t quiet, uint32_t patience, struct load_moved *moved)
{
    struct tally tally = tally_from(moved, quiet, patience);
    struct udp_socket at = {0};
    int failure = udp_prepare(&at, fd, true);
    struct udp_receiver *receiver = failure ? NULL : udp_receiver_new();
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (receiver && !is_over(&tally))
        if (poll(&ready, 1, (int)quiet / 2) > 0)
            count_messages(&tally, receiver, udp_receive(receiver, &at, MOST_MESSAGES));
    udp_receiver_free(receiver);
    if (!failure && !receiver)
        return -ENOMEM;
    return failure;
}
