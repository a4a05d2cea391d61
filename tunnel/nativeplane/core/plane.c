/* Making and ending a plane and its threads, and what it says about itself. Peers are control.c's, streams serving.c's. */
#include "plane.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "aead.h"
#include "worker.h"

static int prepare(struct plane *plane, const int *udp, const int *tun)
{
    const struct plane_settings *settings = &plane->settings;
    int failed = 0;
    for (unsigned i = 0; !failed && plane->has_udp && i < settings->workers; i++)
        failed = udp_prepare(&plane->udp[i], udp[i], settings->udp_offload);
    if (!failed && plane->has_udp && settings->workers > 1)
        failed = udp_steer_by_peer(udp[0], settings->workers);
    for (unsigned i = 0; !failed && i < plane->tun_count; i++)
        failed = tun_prepare(&plane->tun[i], tun[i], settings->tun_offload);
    /* Where that is not allowed, a flow that the kernel moves to another queue overtakes itself for a moment. */
    if (!failed && plane->tun_count > 1)
        tun_steer_by_destination(tun[0]);
    return failed;
}

static int open_all(struct plane *plane, const int *udp, const int *tun, int wake)
{
    const struct plane_settings *settings = &plane->settings;
    int failed = prepare(plane, udp, tun);
    if (failed)
        return failed;
    plane->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    plane->peers = peer_table_new(settings->network, settings->prefix);
    plane->reclaim = reclaim_new(settings->workers);
    if (plane->stop < 0 || !plane->peers || !plane->reclaim)
        return plane->stop < 0 ? -errno : -ENOMEM;
    /* All of them, so that plane_free may close all of them, opened or not. */
    for (unsigned i = 0; i < settings->workers; i++) {
        int opened = worker_open(&plane->workers[i], plane, i, wake);
        failed = failed ? failed : opened;
        reclaim_offline(plane->reclaim, i);
    }
    return failed;
}

int plane_new(const struct plane_settings *settings, const int *udp, const int *tun, unsigned tun_count, int wake,
              struct plane **made)
{
    if (settings->workers < 1 || settings->workers > MOST_WORKERS || tun_count < 1 || tun_count > settings->workers)
        return -EINVAL;
    struct plane *plane = calloc(1, sizeof *plane);
    if (!plane)
        return -ENOMEM;
    plane->process = getpid();
    plane->settings = *settings;
    plane->tun_count = tun_count;
    plane->has_udp = udp != NULL;
    plane->stop = -1;
    plane->workers = calloc(settings->workers, sizeof *plane->workers);
    int failed = plane->workers ? open_all(plane, udp, tun, wake) : -ENOMEM;
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

/* Each worker in its turn, so that a flood of one holds up what the others have to say by no more than its share. */
bool plane_next_event(struct plane *plane, struct event *event)
{
    for (unsigned i = 0; i < plane->settings.workers; i++) {
        struct worker *worker = &plane->workers[plane->next_told];
        plane->next_told = (plane->next_told + 1) % plane->settings.workers;
        if (events_pop(worker->events, event))
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
