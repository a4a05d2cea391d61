/* Waking control: `waking SECONDS SEED`.
 *
 * Control sleeps whenever it has heard everything, and a worker says no more until all was heard: one wake-up lost is the end
 * of both, and of this program, after LOST_WAKE_MS.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "driver.h"
#include "events.h"

#define LOST_WAKE_MS 20000

struct conversation {
    struct events *events;
    uint64_t random, until;
    _Atomic uint64_t heard;
    _Atomic bool over;
};

static void *speak(void *argument)
{
    struct conversation *conversation = argument;
    struct event event = {.kind = EVENT_IDLE};
    uint64_t told = 0;
    while (clock_ns() < conversation->until) {
        for (uint64_t more = 1 + draw(&conversation->random) % 3; more > 0; more--) {
            for (uint64_t delay = draw(&conversation->random) % 300; delay > 0; delay--)
                __asm__ volatile("");
            must(events_push(conversation->events, &event), "there is room for one at a time");
            told++;
        }
        while (atomic_load_explicit(&conversation->heard, memory_order_relaxed) != told)
            sched_yield();
    }
    atomic_store_explicit(&conversation->over, true, memory_order_relaxed);
    must(events_push(conversation->events, &event), "there is room for the last");
    return NULL;
}

static void wake_and_sleep(uint64_t seconds, uint64_t seed)
{
    int wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct conversation conversation = {events_new(wake), seed, clock_ns() + seconds * 1000000000, 0, false};
    struct event event;
    pthread_t thread;
    must(pthread_create(&thread, NULL, speak, &conversation) == 0, "a thread");
    while (!atomic_load_explicit(&conversation.over, memory_order_relaxed)) {
        uint64_t ignored;
        struct pollfd ready = {.fd = wake, .events = POLLIN};
        must(poll(&ready, 1, LOST_WAKE_MS) == 1, "no event waits without waking control");
        must(read(wake, &ignored, sizeof ignored) == sizeof ignored, "an eventfd that is readable");
        while (events_pop(conversation.events, &event))
            atomic_fetch_add_explicit(&conversation.heard, 1, memory_order_relaxed);
    }
    pthread_join(thread, NULL);
    must(atomic_load_explicit(&conversation.heard, memory_order_relaxed) > 10, "they have spoken");
    events_free(conversation.events);
    close(wake);
}

int main(int count, char **arguments)
{
    must(count == 3, "waking SECONDS SEED");
    wake_and_sleep(strtoull(arguments[1], NULL, 10), strtoull(arguments[2], NULL, 10) + 1);
    return 0;
}
