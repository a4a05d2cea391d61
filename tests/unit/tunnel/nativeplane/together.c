/* Threads that use one key at once, as workers do: all begin together, and each has a worker's number of its own. */
#include <pthread.h>

#include "data_key.h"

#define MOST_THREADS 16
#define MOST_PACKET 256

struct task {
    struct data_key *key;
    pthread_barrier_t *begin;
    unsigned worker;
    struct span packets; /* each `size` octets */
    size_t size;
    size_t done;
};

static void *seal_all(void *context)
{
    struct task *task = context;
    uint8_t payload = 1;
    pthread_barrier_wait(task->begin);
    for (size_t at = 0; at < task->packets.size; at += task->size)
        task->done += seal(task->key, task->worker, span_of(&payload, 1), part(task->packets, at, task->size)) != 0;
    return NULL;
}

static void *open_all(void *context)
{
    struct task *task = context;
    pthread_barrier_wait(task->begin);
    for (size_t at = 0; at < task->packets.size; at += task->size) {
        uint8_t copy[MOST_PACKET];
        struct span packet = span_of(copy, task->size), payload;
        put(packet, 0, part(task->packets, at, task->size));
        task->done += open_untrusted(task->key, task->worker, packet, &payload) == OPENED;
    }
    return NULL;
}

static size_t run(struct task *tasks, unsigned threads, void *(*work)(void *))
{
    pthread_t ids[MOST_THREADS];
    pthread_barrier_t begin;
    size_t done = 0;
    pthread_barrier_init(&begin, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        tasks[i].begin = &begin;
        tasks[i].worker = i;
        if (pthread_create(&ids[i], NULL, work, &tasks[i]))
            __builtin_trap();
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        done += tasks[i].done;
    }
    pthread_barrier_destroy(&begin);
    return done;
}

/* Each thread fills its share of `packets`. The number that was sealed; what was not stays as it is. */
size_t seal_together(struct data_key *key, unsigned threads, struct span packets, size_t size);
size_t seal_together(struct data_key *key, unsigned threads, struct span packets, size_t size)
{
    struct task tasks[MOST_THREADS] = {0};
    size_t share = packets.size / threads;
    for (unsigned i = 0; i < threads; i++)
        tasks[i] = (struct task){.key = key, .packets = part(packets, i * share, share), .size = size};
    return run(tasks, threads, seal_all);
}

/* Each thread opens a copy of every packet. How often that succeeded, in all. */
size_t open_together(struct data_key *key, unsigned threads, struct span packets, size_t size);
size_t open_together(struct data_key *key, unsigned threads, struct span packets, size_t size)
{
    struct task tasks[MOST_THREADS] = {0};
    for (unsigned i = 0; i < threads; i++)
        tasks[i] = (struct task){.key = key, .packets = packets, .size = size};
    return run(tasks, threads, open_all);
}
