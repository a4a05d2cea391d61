/* A worker's thread: it waits for its socket, its queue of the device, its streams and the clock, and takes turns.
 *
 * Each turn is a batch, bounded in packets and octets, after which everything that was received has left. Between turns it
 * says that it holds nothing that is shared; while it waits, that nobody need reckon with it.
 *
 * Where packets come fast, one by one, it pauses between turns, as network cards do before they interrupt: what is handled
 * together costs a fraction in system calls, and goes to the device joined. Where they come slowly, nothing waits.
 */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MOST_READY 5      /* what a worker waits for */
#define MOST_STREAMS 8    /* of those that are ready, in one turn: at worst 2 ms, of frames of one octet */
#define TICK_S 1
#define RETRY_MS 10
#define WINDOW_NS 1000000u
/* No longer than a bulk transfer's latency can bear. */
#define LONGEST_PAUSE_NS 250000u
#define FAST_PACKETS 16 /* in a window: four in the longest pause */
#define STREAM_READ_SIZE (64u << 10) /* then it is the next stream's turn */
#define SEALED_SIZE (MOST_GSO_OCTETS + MOST_OVERHEAD)

static uint64_t clock_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

uint64_t clock_ms(void)
{
    return clock_ns() / 1000000;
}

/* Pages that are not touched cost nothing. */
static struct span map_memory(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return at == MAP_FAILED ? span_of(NULL, 0) : span_of(at, size);
}

static void unmap_memory(struct span memory)
{
    if (memory.at)
        munmap(memory.at, memory.size);
}

static int watch(struct worker *worker, int fd, void *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    return epoll_ctl(worker->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int open_timer(void)
{
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct itimerspec every = {.it_interval.tv_sec = TICK_S, .it_value.tv_sec = TICK_S};
    if (timer >= 0)
        timerfd_settime(timer, 0, &every, NULL);
    return timer;
}

static int allocate(struct worker *worker, int wake)
{
    struct plane *plane = worker->plane;
    worker->events = events_new(wake);
    worker->receiver = worker->udp ? udp_receiver_new() : NULL;
    worker->frames = map_memory((size_t)MOST_FRAMES * LARGEST_FRAME);
    worker->sealed = map_memory(SEALED_SIZE);
    worker->stream_data = map_memory(STREAM_READ_SIZE);
    if (!worker->events || (worker->udp && !worker->receiver) || !worker->frames.at || !worker->sealed.at ||
        !worker->stream_data.at)
        return -ENOMEM;
    bool joins = worker->tun->has_header && plane->settings.tun_offload;
    return trains_new(&worker->trains, write_to_tun, worker, worker->tun->has_header, joins, joins && worker->tun->uso);
}

static int watch_all(struct worker *worker)
{
    int failed = 0;
    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    worker->streams_epoll = epoll_create1(EPOLL_CLOEXEC);
    worker->timer = open_timer();
    if (worker->epoll < 0 || worker->streams_epoll < 0 || worker->timer < 0)
        return -errno;
    if (!failed)
        failed = watch(worker, worker->plane->stop, &worker->plane->stop);
    if (!failed)
        failed = watch(worker, worker->timer, &worker->timer);
    if (!failed)
        failed = watch(worker, worker->streams_epoll, &worker->streams_epoll);
    if (!failed && worker->udp)
        failed = watch(worker, worker->udp->fd, worker->udp);
    if (!failed && worker->reads_tun)
        failed = watch(worker, worker->tun->fd, worker->tun);
    return failed;
}

int worker_open(struct worker *worker, struct plane *plane, unsigned index, int wake)
{
    *worker = (struct worker){.plane = plane, .index = index, .epoll = -1, .streams_epoll = -1, .timer = -1};
    pthread_mutex_init(&worker->streams_mutex, NULL);
    worker->udp = plane->has_udp ? &plane->udp[index] : NULL;
    worker->reads_tun = index < plane->tun_count;
    worker->tun = &plane->tun[worker->reads_tun ? index : 0];
    worker->most_messages = MOST_MESSAGES;
    int failed = allocate(worker, wake);
    return failed ? failed : watch_all(worker);
}

void worker_close(struct worker *worker)
{
    for (size_t i = 0; i < worker->stream_count; i++)
        stream_free(worker->streams[i].stream);
    free(worker->streams);
    if (worker->epoll >= 0)
        close(worker->epoll);
    if (worker->streams_epoll >= 0)
        close(worker->streams_epoll);
    if (worker->timer >= 0)
        close(worker->timer);
    trains_free(&worker->trains);
    udp_receiver_free(worker->receiver);
    events_free(worker->events);
    unmap_memory(worker->frames);
    unmap_memory(worker->sealed);
    unmap_memory(worker->stream_data);
    pthread_mutex_destroy(&worker->streams_mutex);
}

/* What epoll says of a stream. */
static void serve_stream(struct worker *worker, struct stream *stream, uint32_t ready)
{
    enum stream_state state = STREAM_OPEN;
    if (ready & EPOLLOUT)
        state = stream_write(stream);
    if (state == STREAM_OPEN && ready & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        state = ingress_stream(worker, stream);
    if (state == STREAM_ENDED)
        end_stream(worker, stream);
}

/* Those that are ready take turns: the kernel puts who had one to the end of its list. */
static void serve_streams(struct worker *worker)
{
    struct epoll_event ready[MOST_STREAMS];
    int count = epoll_wait(worker->streams_epoll, ready, MOST_STREAMS, 0);
    for (int i = 0; i < count; i++)
        serve_stream(worker, ready[i].data.ptr, ready[i].events);
    worker->pace.has_more |= count == MOST_STREAMS;
}

/* Until a tick is over, which may take several turns, the timer stays readable. */
static void tick(struct worker *worker)
{
    uint64_t ticks;
    if (!timers_tick(worker))
        worker->pace.has_more = true;
    else if (read(worker->timer, &ticks, sizeof ticks) < 0)
        return; /* cannot be: it was readable, and nobody else reads it */
}

/* False when the thread shall end. */
static bool serve(struct worker *worker, const struct epoll_event *ready)
{
    void *what = ready->data.ptr;
    if (what == &worker->plane->stop)
        return false;
    if (what == &worker->timer) {
        tick(worker);
    } else if (what == worker->udp) {
        ingress_datagrams(worker);
    } else if (what == worker->tun) {
        worker->failed = egress_frames(worker);
    } else {
        serve_streams(worker);
    }
    return !worker->failed;
}

/* By a worker that holds nothing any more: while the ring is full, control may be waiting for that. */
static void tell_failed(struct worker *worker)
{
    struct event event = {.kind = EVENT_FAILED, .peer_id = (uint32_t)-worker->failed};
    struct pollfd stop = {.fd = worker->plane->stop, .events = POLLIN};
    while (!events_push(worker->events, &event) && poll(&stop, 1, RETRY_MS) == 0)
        continue;
}

static void measure_pace(struct pace *pace, uint64_t now_ns)
{
    uint64_t passed = now_ns - pace->since_ns;
    if (passed < WINDOW_NS)
        return;
    bool is_fast = pace->packets * (uint64_t)WINDOW_NS >= passed * FAST_PACKETS;
    uint64_t pause = is_fast ? passed * WORTH_WAITING_FOR / pace->packets : 0;
    pace->pause_ns = pause < LONGEST_PAUSE_NS ? (uint32_t)pause : LONGEST_PAUSE_NS;
    pace->packets = 0;
    pace->since_ns = now_ns;
}

static void pause_between_turns(struct pace *pace)
{
    if (pace->pause_ns && !pace->has_more)
        nanosleep(&(struct timespec){.tv_nsec = pace->pause_ns}, NULL);
    pace->has_more = false;
}

void *worker_run(void *argument)
{
    struct worker *worker = argument;
    struct epoll_event ready[MOST_READY];
    prctl(PR_SET_TIMERSLACK, 1000uL); /* ns; else a pause takes half as long again */
    for (bool goes_on = true; goes_on;) {
        int count = epoll_wait(worker->epoll, ready, MOST_READY, -1);
        reclaim_online(worker->plane->reclaim, worker->index);
        uint64_t now = clock_ns();
        worker->now = now / 1000000;
        for (int i = 0; goes_on && i < count; i++)
            goes_on = serve(worker, &ready[i]);
        atomic_fetch_add_explicit(&worker->batches, 1, memory_order_relaxed);
        reclaim_offline(worker->plane->reclaim, worker->index);
        measure_pace(&worker->pace, now);
        pause_between_turns(&worker->pace);
    }
    if (worker->failed)
        tell_failed(worker);
    return NULL;
}
