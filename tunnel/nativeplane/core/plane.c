/* Making and ending a plane and its threads, and what it says about itself. Peers are control.c's, streams serving.c's. */
#include "plane.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "aead.h"
#include "steering.h"
#include "worker.h"

static int prepare_udp(struct plane *plane, const struct plane_descriptors *descriptors)
{
    const struct plane_settings *settings = &plane->settings;
    int failed = 0;
    for (unsigned i = 0; !failed && plane->has_udp && i < settings->workers; i++)
        failed = udp_prepare(&plane->udp[i], descriptors->udp[i], settings->udp_offload);
    if (failed || descriptors->udp_count <= settings->workers)
        return failed;
    failed = inbox_open(&plane->inbox, descriptors->udp[settings->workers]);
    return failed ? failed : steer_datagrams(descriptors->udp[0], settings->workers);
}

static int prepare_tun(struct plane *plane, const int *tun)
{
    int failed = 0;
    for (unsigned i = 0; !failed && i < plane->tun_count; i++)
        failed = tun_prepare(&plane->tun[i], tun[i], plane->settings.tun_offload);
    /* Where that is not allowed, a flow that the kernel moves to another queue overtakes itself for a moment. */
    if (!failed && plane->tun_count > 1)
        tun_steer_by_destination(tun[0]);
    return failed;
}

static int open_all(struct plane *plane, const struct plane_descriptors *descriptors)
{
    const struct plane_settings *settings = &plane->settings;
    int failed = prepare_udp(plane, descriptors);
    if (!failed)
        failed = prepare_tun(plane, descriptors->tun);
    if (failed)
        return failed;
    plane->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    plane->peers = peer_table_new(settings->network, settings->prefix);
    plane->reclaim = reclaim_new(settings->workers);
    if (plane->stop < 0 || !plane->peers || !plane->reclaim)
        return plane->stop < 0 ? -errno : -ENOMEM;
    /* All of them, so that plane_free may close all of them, opened or not. */
    for (unsigned i = 0; i < settings->workers; i++) {
        int opened = worker_open(&plane->workers[i], plane, i, descriptors->wake);
        failed = failed ? failed : opened;
        reclaim_offline(plane->reclaim, i);
    }
    return failed;
}

static bool are_enough(const struct plane_descriptors *descriptors, unsigned workers)
{
    unsigned udp = descriptors->udp_count, tun = descriptors->tun_count;
    return (udp == 0 || udp == workers + CONTROL_SOCKETS || (udp == 1 && workers == 1)) && tun >= 1 && tun <= workers;
}

int plane_new(const struct plane_settings *settings, const struct plane_descriptors *descriptors, struct plane **made)
{
    if (settings->workers < 1 || settings->workers > MOST_WORKERS || !are_enough(descriptors, settings->workers))
        return -EINVAL;
    struct plane *plane = calloc(1, sizeof *plane);
    if (!plane)
        return -ENOMEM;
    plane->process = getpid();
    plane->settings = *settings;
    plane->tun_count = descriptors->tun_count;
    plane->has_udp = descriptors->udp_count > 0;
    plane->stop = -1;
    plane->workers = calloc(settings->workers, sizeof *plane->workers);
    int failed = plane->workers ? open_all(plane, descriptors) : -ENOMEM;
    if (failed) {
        plane_free(plane);
        return failed;
    }
    *made = plane;
    return 0;
}

static void join_workers(struct plane *plane, unsigned count)
{
    uint64_t one = 1;
    if (write(plane->stop, &one, sizeof one) != sizeof one)
        return; /* cannot be: a fresh eventfd takes any value but the largest */
    for (unsigned i = 0; i < count; i++)
        pthread_join(plane->workers[i].thread, NULL);
}

int plane_start(struct plane *plane)
{
    if (plane->was_started)
        return -EALREADY;
    plane->was_started = true;
    sigset_t all, before;
    int failed = 0;
    unsigned started = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    while (!failed && started < plane->settings.workers) {
        struct worker *worker = &plane->workers[started];
        failed = pthread_create(&worker->thread, NULL, worker_run, worker);
        started += !failed;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        join_workers(plane, started);
    plane->running = !failed;
    return -failed;
}

/* A forked child has a copy without threads, of descriptors that are shared: whatever it did, it would do to its parent. */
static bool is_copy(const struct plane *plane)
{
    return plane->process != getpid();
}

void plane_stop(struct plane *plane)
{
    if (is_copy(plane))
        return;
    if (plane->running)
        join_workers(plane, plane->settings.workers);
    plane->running = false;
}

void plane_free(struct plane *plane)
{
    if (!plane || is_copy(plane))
        return;
    plane_stop(plane);
    release_all_access(plane);
    for (unsigned i = 0; plane->workers && i < plane->settings.workers; i++)
        if (plane->workers[i].plane)
            worker_close(&plane->workers[i]);
    free(plane->workers);
    inbox_close(&plane->inbox);
    if (plane->reclaim)
        reclaim_free(plane->reclaim);
    if (plane->peers)
        peer_table_free(plane->peers);
    if (plane->stop >= 0)
        close(plane->stop);
    free(plane);
}

void plane_drops(struct plane *plane, uint64_t drops[DROP_CAUSES])
{
    for (unsigned cause = 0; cause < DROP_CAUSES; cause++) {
        drops[cause] = atomic_load_explicit(&plane->drops.count[cause], memory_order_relaxed);
        for (unsigned i = 0; i < plane->settings.workers; i++)
            drops[cause] += atomic_load_explicit(&plane->workers[i].drops.count[cause], memory_order_relaxed);
    }
}

static bool take_turn(struct plane *plane, unsigned turn, struct event *event)
{
    if (turn < plane->settings.workers)
        return events_pop(plane->workers[turn].events, event);
    /* A plane that does not run receives nothing. */
    return plane->running && inbox_pop(&plane->inbox, &plane->drops, event);
}

/* Each worker in its turn, and control's own socket, so that a flood of one holds up what the others have to say by no more than
 * its share. */
bool plane_next_event(struct plane *plane, struct event *event)
{
    unsigned sources = plane->settings.workers + 1;
    for (unsigned i = 0; i < sources; i++) {
        unsigned turn = plane->next_turn;
        plane->next_turn = (turn + 1) % sources;
        if (take_turn(plane, turn, event))
            return true;
    }
    return false;
}

static uint64_t cpu_time_ns(pthread_t thread)
{
    clockid_t clock;
    struct timespec time;
    if (pthread_getcpuclockid(thread, &clock) || clock_gettime(clock, &time))
        return 0;
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

void plane_facts(struct plane *plane, struct plane_facts *facts)
{
    *facts = (struct plane_facts){.workers = plane->settings.workers, .tun_queues = plane->tun_count};
    facts->aead = aead_backend();
    facts->udp_gso = plane->has_udp;
    facts->lost_control_packets = inbox_lost(&plane->inbox);
    facts->tun_tso = plane->tun[0].tso;
    facts->tun_uso = plane->tun[0].uso;
    for (unsigned i = 0; i < plane->settings.workers; i++) {
        struct worker *worker = &plane->workers[i];
        facts->udp_gso = facts->udp_gso && atomic_load_explicit(&plane->udp[i].gso, memory_order_relaxed);
        facts->gso_refusals += atomic_load_explicit(&plane->udp[i].gso_refusals, memory_order_relaxed);
        facts->lost_control_packets += events_lost(worker->events);
        facts->batches[i] = atomic_load_explicit(&worker->batches, memory_order_relaxed);
        if (plane->running)
            facts->cpu_ns[i] = cpu_time_ns(worker->thread);
    }
}
