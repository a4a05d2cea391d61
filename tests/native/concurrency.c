/* What threads share in the core, in use by all of them at once: `concurrency SECONDS SEED`.
 *
 * Workers find peers in every way, read their tables and keys, seal, move them, and tell control what they did. Control adds
 * and removes peers, replaces tables and keys, frees what nobody holds any more, and hears what it is told. The threads check what
 * each may rely on; races, memory used after its end and leaks are for a sanitizer or valgrind to see, under which this runs.
 */
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "driver.h"
#include "events.h"
#include "peers.h"
#include "reclaim.h"

#define WORKERS 3
#define PEERS 48
#define PLACES 64        /* few enough that peers come into each other's way */
#define ID_STEP 4096     /* ids wander, so that the table has to grow while it is read */
#define GENERATIONS 5
#define BATCH 32
#define LEAST_TURNS 20 /* of a worker, however slow the machine */
#define MOST_PACKET 3000
#define NETWORK 0x0A500000u

struct worker {
    pthread_t thread;
    unsigned index;
    uint64_t random;
    struct events *events;
    uint64_t found, moved, sealed, told, lost; /* its own; read by control when it has ended */
    uint64_t heard;                            /* control's: what it was told by this worker */
    uint8_t packet[MOST_PACKET];
};

/* What control knows. */
struct member {
    struct peer *peer; /* NULL while it is away */
    unsigned generation;
};

static struct peer_table *peers;
static struct reclaim *reclaim;
static struct worker workers[WORKERS];
static struct member members[PEERS];
static uint64_t handed_over, destroyed; /* objects, by control */
static _Atomic bool stop;

static void pause_ns(long ns)
{
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

static struct path place(uint64_t number)
{
    return (struct path){.remote = {[10] = 0xFF, [11] = 0xFF, [12] = 192, [14] = 2, [15] = (uint8_t)(number % PLACES)}, .port = 1};
}

static uint32_t id_of(unsigned member, unsigned generation)
{
    return member + generation % GENERATIONS * ID_STEP;
}

/* Workers. */

static void read_access(struct peer *peer)
{
    struct access_table *access = atomic_load_explicit(&peer->access, memory_order_acquire);
    must(access_verdict(access, peer->inside) == VERDICT_LOCAL, "a peer's table is its own");
    must(access_verdict(access, peer->inside + 1) == VERDICT_NO_RULE, "a peer's table is whole");
}

static void read_key(struct worker *worker, struct peer *peer)
{
    unsigned key_id = (unsigned)(draw(&worker->random) % KEY_IDS);
    struct data_key *key = atomic_load_explicit(&peer->keys[key_id], memory_order_acquire);
    must(!key || data_key_id(key) == key_id, "a key is found by its id");
}

static void seal_one(struct worker *worker, struct peer *peer)
{
    uint8_t payload[8] = {1}, room[sizeof payload + MOST_OVERHEAD];
    struct span packet = span_of(room, sizeof room);
    pthread_mutex_lock(&peer->sending_mutex);
    bool removed = atomic_load_explicit(&peer->removed, memory_order_acquire);
    struct data_key *key = removed ? NULL : atomic_load_explicit(&peer->sending, memory_order_acquire);
    if (key) {
        must(seal(key, worker->index, span_of(payload, sizeof payload), packet) > 0, "a fresh key seals");
        must((load32(packet, 0) & NO_PEER_ID) == peer->id, "a key is its peer's");
        worker->sealed++;
    }
    pthread_mutex_unlock(&peer->sending_mutex);
}

static void move(struct worker *worker, struct peer *peer)
{
    struct path old = peer_path(peer);
    struct event event = {.kind = EVENT_FLOATED, .peer_id = peer->id, .path = place(draw(&worker->random))};
    if (!peer_move(peers, peer, &event.path))
        return;
    worker->moved++;
    if (!events_push(worker->events, &event))
        peer_move(peers, peer, &old); /* control has not run for long */
}

/* A control packet begins with its number, and ends with the same octets. */
static void tell(struct worker *worker)
{
    size_t size = sizeof worker->told + draw(&worker->random) % (MOST_PACKET - sizeof worker->told);
    struct event event = {.kind = EVENT_CONTROL, .packet = span_of(worker->packet, size)};
    memset(worker->packet, (int)worker->told & 0xFF, size);
    memcpy(worker->packet, &worker->told, sizeof worker->told);
    if (events_push(worker->events, &event))
        worker->told++;
    else
        worker->lost++;
}

static struct peer *find(struct worker *worker)
{
    unsigned member = (unsigned)(draw(&worker->random) % PEERS);
    uint32_t id = id_of(member, (unsigned)(draw(&worker->random) % GENERATIONS)), inside = NETWORK + 1 + member;
    struct path path = place(draw(&worker->random));
    struct peer *peer;
    switch (draw(&worker->random) % 4) {
    case 0:
        peer = peer_by_id(peers, id);
        must(!peer || peer->id == id, "a peer is found by its id");
        return peer;
    case 1:
        peer = peer_by_inside(peers, inside);
        must(!peer || peer->inside == inside, "a peer is found by its inside address");
        return peer;
    case 2:
        peer = peer_by_path(peers, &path);
        must(!peer || !peer->by_stream, "streams are no paths");
        return peer;
    default:
        peer = peer_from(peers, id);
        must(!peer || peer->id >= id, "a walk goes upwards");
        return peer;
    }
}

static void work(struct worker *worker)
{
    struct peer *peer = find(worker);
    if (!peer)
        return;
    worker->found++;
    read_access(peer);
    read_key(worker, peer);
    count_drops(&peer->traffic.drops, DROP_REPLAY, 1);
    uint64_t choice = draw(&worker->random) % 16;
    if (choice < 4)
        seal_one(worker, peer);
    else if (choice < 6)
        move(worker, peer);
    else if (choice < 8)
        tell(worker);
    else
        must(peer_path(peer).port == 1, "a path is whole");
}

static void work_for_a_batch(struct worker *worker)
{
    for (int i = 0; i < BATCH; i++)
        work(worker);
}

static void *run_worker(void *argument)
{
    struct worker *worker = argument;
    for (unsigned turns = 0; turns < LEAST_TURNS || !atomic_load_explicit(&stop, memory_order_relaxed); turns++) {
        reclaim_online(reclaim, worker->index);
        for (uint64_t batches = draw(&worker->random) % 8; batches > 0; batches--) {
            work_for_a_batch(worker);
            reclaim_quiet(reclaim, worker->index);
        }
        work_for_a_batch(worker);
        reclaim_offline(reclaim, worker->index);
        pause_ns((long)(draw(&worker->random) % 200000));
    }
    return NULL;
}

/* Control. */

static void destroy_peer(void *object)
{
    destroyed++;
    peer_free(object);
}

static void destroy_access(void *object)
{
    destroyed++;
    access_table_free(object);
}

static void destroy_key(void *object)
{
    destroyed++;
    data_key_free(object);
}

static void hand_over(void *object, void (*destroy)(void *object))
{
    handed_over += object != NULL;
    if (object)
        reclaim_later(reclaim, object, destroy);
}

static void replace_access(struct peer *peer)
{
    const uint32_t starts[] = {0, peer->inside, peer->inside + 1};
    const uint8_t verdicts[] = {VERDICT_NO_ROUTE, VERDICT_LOCAL, VERDICT_NO_RULE};
    struct access_table *table;
    must(access_table_new(starts, verdicts, 3, 0, 0, &table) == 0, "memory for a table");
    hand_over(atomic_exchange_explicit(&peer->access, table, memory_order_acq_rel), destroy_access);
}

static void replace_key(struct peer *peer, uint8_t key_id)
{
    struct key_settings settings = {
        .cipher = CHACHA20_POLY1305, .key_id = key_id, .data_v2 = true, .peer_id = peer->id, .workers = WORKERS,
    };
    struct data_key *key;
    must(data_key_new(&settings, &key) == 0, "memory for a key");
    struct data_key *old = atomic_exchange_explicit(&peer->keys[key_id], key, memory_order_acq_rel);
    atomic_store_explicit(&peer->sending, key, memory_order_release);
    hand_over(old, destroy_key);
}

static void add(unsigned number, uint64_t chance)
{
    struct member *member = &members[number];
    struct peer *peer = peer_new(id_of(number, ++member->generation), NETWORK + 1 + number);
    must(peer != NULL, "memory for a peer");
    peer->by_stream = number % 8 == 0;
    peer->path = place(chance);
    replace_access(peer);
    replace_key(peer, (uint8_t)(chance % KEY_IDS));
    must(peer_table_add(peers, peer) == 0, "who is away can come");
    member->peer = peer;
}

static void retire(struct member *member)
{
    struct peer *peer = member->peer;
    member->peer = NULL;
    peer_table_remove(peers, peer);
    hand_over(atomic_load_explicit(&peer->access, memory_order_relaxed), destroy_access);
    hand_over(peer, destroy_peer);
}

static void change_something(uint64_t chance)
{
    unsigned number = (unsigned)(chance % PEERS);
    struct member *member = &members[number];
    chance /= PEERS;
    if (!member->peer)
        add(number, chance / 8);
    else if (chance % 8 < 3)
        retire(member);
    else if (chance % 8 < 6)
        replace_access(member->peer);
    else
        replace_key(member->peer, (uint8_t)(chance / 8 % KEY_IDS));
}

static void check_packet(struct worker *worker, struct span packet)
{
    uint64_t number;
    must(take_out(packet, 0, &number, sizeof number), "a packet is whole");
    must(number == worker->heard++, "packets come in order, and none is missing");
    for (size_t i = sizeof number; i < packet.size; i++)
        must(load8(packet, i) == (number & 0xFF), "a packet is as it was told");
}

static void hear(struct worker *worker)
{
    struct event event;
    while (events_pop(worker->events, &event)) {
        if (event.kind == EVENT_CONTROL)
            check_packet(worker, event.packet);
        else
            must(event.kind == EVENT_FLOATED && event.path.port == 1, "an event is as it was told");
    }
}

static void check_tables(void)
{
    for (unsigned i = 0; i < PEERS; i++) {
        struct peer *peer = members[i].peer;
        must(peer_by_inside(peers, NETWORK + 1 + i) == peer, "in the end, an address is its owner's");
        must(!peer || peer_by_id(peers, peer->id) == peer, "in the end, an id is its owner's");
    }
    for (unsigned i = 0; i < PLACES; i++) {
        struct path path = place(i);
        struct peer *peer = peer_by_path(peers, &path);
        struct path known = peer ? peer_path(peer) : path;
        must(same_path(&known, &path), "in the end, who is found at a path is there");
    }
}

static void run_control(uint64_t until, uint64_t random)
{
    while (clock_ns() < until) {
        for (int i = 0; i < 4; i++)
            change_something(draw(&random) >> 8);
        for (unsigned i = 0; i < WORKERS; i++)
            hear(&workers[i]);
        reclaim_now(reclaim);
        pause_ns(20000);
    }
    atomic_store_explicit(&stop, true, memory_order_relaxed);
}

static void use_everything(uint64_t seconds, uint64_t seed)
{
    int wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    peers = peer_table_new(NETWORK, 24);
    reclaim = reclaim_new(WORKERS);
    for (unsigned i = 0; i < PEERS; i++)
        add(i, i);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.index = i, .random = seed + 1000 * (i + 1), .events = events_new(wake)};
        must(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]) == 0, "a thread");
    }
    run_control(clock_ns() + seconds * 1000000000, seed);
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *worker = &workers[i];
        pthread_join(worker->thread, NULL);
        hear(worker);
        must(worker->heard == worker->told && events_lost(worker->events) == worker->lost, "everything told is heard or counted");
        must(worker->found && worker->moved && worker->sealed && worker->told, "every worker has done everything");
        events_free(worker->events);
    }
    check_tables();
    must(reclaim_now(reclaim) == 0 && handed_over == destroyed && destroyed > 0, "without workers nothing has to wait");
    for (unsigned i = 0; i < PEERS; i++)
        if (members[i].peer)
            hand_over(atomic_load_explicit(&members[i].peer->access, memory_order_relaxed), destroy_access);
    peer_table_free(peers);
    reclaim_free(reclaim);
    close(wake);
}

int main(int count, char **arguments)
{
    must(count == 3, "concurrency SECONDS SEED");
    uint64_t seconds = strtoull(arguments[1], NULL, 10), seed = strtoull(arguments[2], NULL, 10) + 1;
    use_everything(seconds, seed);
    return 0;
}
