/* The replay window: one ring of bits. Knows no packets and no keys, and is asked only about what proved authentic. */
#include "replay.h"

#define WORD_BITS 64u

_Static_assert((UINT64_C(1) << 32) % REPLAY_WINDOW == 0, "the ring has no seam where ids would wrap");

void replay_init(struct replay_window *window, const struct key_progress *progress)
{
    /* Default attributes: this cannot fail. */
    pthread_mutex_init(&window->mutex, NULL);
    atomic_init(&window->greatest, progress->greatest_opened);
    memcpy(window->bits, progress->window, sizeof window->bits);
}

void replay_destroy(struct replay_window *window)
{
    pthread_mutex_destroy(&window->mutex);
}

static uint64_t *word_of(struct replay_window *window, uint32_t packet_id)
{
    return &window->bits[packet_id % REPLAY_WINDOW / WORD_BITS];
}

static uint64_t bit_of(uint32_t packet_id)
{
    return UINT64_C(1) << packet_id % WORD_BITS;
}

/* Clear the bits of `count` ids from `packet_id` on, word by word. */
static void forget(struct replay_window *window, uint32_t packet_id, uint32_t count)
{
    while (count > 0) {
        uint32_t first = packet_id % WORD_BITS;
        uint32_t run = count < WORD_BITS - first ? count : WORD_BITS - first;
        *word_of(window, packet_id) &= ~(UINT64_MAX >> (WORD_BITS - run) << first);
        packet_id += run;
        count -= run;
    }
}

static bool accept_locked(struct replay_window *window, uint32_t packet_id)
{
    uint32_t greatest = atomic_load_explicit(&window->greatest, memory_order_relaxed);
    if (packet_id > greatest) {
        uint32_t ahead = packet_id - greatest;
        forget(window, greatest + 1, ahead < REPLAY_WINDOW ? ahead : REPLAY_WINDOW);
        atomic_store_explicit(&window->greatest, packet_id, memory_order_relaxed);
    } else if (packet_id == 0 || greatest - packet_id >= REPLAY_WINDOW || *word_of(window, packet_id) & bit_of(packet_id)) {
        return false;
    }
    *word_of(window, packet_id) |= bit_of(packet_id);
    return true;
}

bool replay_accept(struct replay_window *window, uint32_t packet_id)
{
    pthread_mutex_lock(&window->mutex);
    bool accepted = accept_locked(window, packet_id);
    pthread_mutex_unlock(&window->mutex);
    return accepted;
}

void replay_progress(struct replay_window *window, struct key_progress *progress)
{
    pthread_mutex_lock(&window->mutex);
    progress->greatest_opened = atomic_load_explicit(&window->greatest, memory_order_relaxed);
    memcpy(progress->window, window->bits, sizeof window->bits);
    pthread_mutex_unlock(&window->mutex);
}
