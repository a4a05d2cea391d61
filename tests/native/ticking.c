/* A tick over many peers: `ticking`. Ends with 0 when it takes several turns, each bounded, and reaches every peer once. */
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "driver.h"
#include "worker.h"

#define NETWORK 0x0A500000u
#define PEERS 1000u
#define MOST_IN_A_TURN 256u
#define WORKERS 2u

static struct plane *make_plane(void)
{
    int device[2];
    struct plane *plane;
    struct plane_settings settings = {.workers = WORKERS, .network = NETWORK, .gateway = NETWORK + 1, .prefix = 16, .mtu = 1500};
    must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, device) == 0, "a device");
    struct plane_descriptors descriptors = {.tun = device, .tun_count = 1, .wake = eventfd(0, EFD_NONBLOCK)};
    must(plane_new(&settings, &descriptors, &plane) == 0, "a plane");
    return plane;
}

static void add_peers(struct plane *plane)
{
    struct access_table *access;
    must(access_table_new(&(uint32_t){0}, &(uint8_t){VERDICT_FORWARD}, 1, 0, 0, &access) == 0, "a table");
    for (uint32_t id = 0; id < PEERS; id++) {
        struct peer_settings peer = {.id = id, .inside = NETWORK + 2 + id, .path = {.port = (uint16_t)id}, .access = access};
        must(plane_add_peer(plane, &peer, NULL) == 0, "a peer");
        atomic_store(&peer_by_id(plane->peers, id)->moves, 1);
    }
    plane_release_access(plane, access);
}

/* Peers whose moves in the last second a tick has forgotten. */
static unsigned ticked(struct plane *plane)
{
    unsigned count = 0;
    for (struct peer *peer = peer_from(plane->peers, 0); peer; peer = peer_from(plane->peers, peer->id + 1))
        count += atomic_load(&peer->moves) == 0;
    return count;
}

int main(void)
{
    struct plane *plane = make_plane();
    add_peers(plane);
    for (unsigned i = 0; i < WORKERS; i++) {
        unsigned turns = 1, before = ticked(plane);
        for (; !timers_tick(&plane->workers[i]); turns++) {
            must(ticked(plane) - before <= MOST_IN_A_TURN, "a turn is bounded");
            before = ticked(plane);
        }
        must(turns == PEERS / MOST_IN_A_TURN + 1, "it takes no more turns than it must");
        must(ticked(plane) == (i + 1) * PEERS / WORKERS, "every peer has one worker that keeps its time");
    }
    plane_free(plane);
    return 0;
}
