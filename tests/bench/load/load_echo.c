/* Many clients that each ping through the tunnel, at a steady rate. The time of sending travels in the packet. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "checksum.h"
#include "load_run.h"

#define READY_AT_A_TIME 256
#define ECHO_REQUEST 8
#define ECHO_REPLY 0
#define ICMP_SIZE 8
#define ECHO_SIZE (IPV4_SIZE + ICMP_SIZE + sizeof(uint64_t))
#define STAMP_AT (IPV4_SIZE + ICMP_SIZE)

struct echoing {
    const struct load_echoes *echoes;
    struct load_moved *moved;
    uint32_t *round_trips_us;
    size_t room;
};

static bool send_echo(struct run *run, struct load_client *client, uint32_t destination, uint16_t number)
{
    uint8_t memory[ECHO_SIZE] = {0};
    uint64_t now = now_ns();
    struct span packet = span_of(memory, sizeof memory);
    put_ipv4(packet, IPPROTO_ICMP, client->inside, destination);
    struct span icmp = rest(packet, IPV4_SIZE);
    store8(icmp, 0, ECHO_REQUEST);
    store16(icmp, 6, number);
    put(packet, STAMP_AT, span_of(&now, sizeof now));
    store16(icmp, 2, (uint16_t)~sum_octets(icmp, 0));
    run_turn_to(run, client);
    bool sealed = run_seal(run, client, packet);
    run_send(run);
    return sealed;
}

static void take_reply(void *context, struct load_client *client, struct span payload)
{
    struct echoing *echoing = context;
    bool ours = payload.size == ECHO_SIZE && load8(payload, 9) == IPPROTO_ICMP && load8(payload, IPV4_SIZE) == ECHO_REPLY &&
                load32(payload, 12) == echoing->echoes->destination && load32(payload, 16) == client->inside;
    if (!ours || echoing->moved->packets >= echoing->room)
        return;
    uint64_t sent;
    put(span_of(&sent, sizeof sent), 0, part(payload, STAMP_AT, sizeof sent));
    echoing->round_trips_us[echoing->moved->packets++] = (uint32_t)((now_ns() - sent) / 1000);
    echoing->moved->octets += payload.size;
}

static void take_ready(int watch, int wait, struct udp_receiver *receiver, struct echoing *echoing)
{
    struct epoll_event ready[READY_AT_A_TIME];
    int found = epoll_wait(watch, ready, READY_AT_A_TIME, wait);
    for (int i = 0; i < found; i++)
        receive_payloads(ready[i].data.ptr, receiver, take_reply, echoing);
}

static void echo_all(struct load_client *const *clients, size_t count, struct run *run, struct udp_receiver *receiver, int watch,
                     struct echoing *echoing)
{
    const struct load_echoes *echoes = echoing->echoes;
    uint64_t begin = now_ns(), gap = 1000000000ull / echoes->rate;
    for (uint64_t sent = 0; sent < echoing->room; sent++) {
        do
            take_ready(watch, now_ns() + 1000000 < begin + sent * gap, receiver, echoing);
        while (now_ns() < begin + sent * gap);
        if (!send_echo(run, clients[sent % count], echoes->destination, (uint16_t)(sent / count)))
            echoing->moved->refused++;
    }
    uint64_t end = now_ns() + echoes->patience * 1000000ull;
    while (now_ns() < end && echoing->moved->packets < echoing->room)
        take_ready(watch, 10, receiver, echoing);
    echoing->moved->refused += run->refused;
    echoing->moved->microseconds = (now_ns() - begin) / 1000;
}

int load_echo(struct load_client *const *clients, size_t count, const struct load_echoes *echoes, uint32_t *round_trips_us,
              struct load_moved *moved)
{
    *moved = (struct load_moved){0};
    if (!echoes->rate || !count)
        return -EINVAL;
    struct run run;
    int watch = watch_clients(clients, count);
    if (watch < 0)
        return watch;
    struct udp_receiver *receiver = udp_receiver_new();
    int failure = receiver ? run_new(&run) : -ENOMEM;
    if (!failure) {
        struct echoing echoing = {echoes, moved, round_trips_us, count * echoes->rounds};
        echo_all(clients, count, &run, receiver, watch, &echoing);
        run_free(&run);
    }
    udp_receiver_free(receiver);
    close(watch);
    return failure;
}
