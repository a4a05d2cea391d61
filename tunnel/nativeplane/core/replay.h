/* Which packet ids of a key may still come. The twin of `ReplayWindow` in tunnel/data_channel.py, of REPLAY_WINDOW ids.
 *
 * One bit per id, as in RFC 6479: the ring stands still and the window moves over it. Bit `id % REPLAY_WINDOW` belongs to
 * the one id of that residue within the window; what the window leaves behind is cleared when it moves.
 */
#ifndef PORTWAY_REPLAY_H
#define PORTWAY_REPLAY_H

#include <pthread.h>
#include <stdatomic.h>

#include "data_key.h"

struct replay_window {
    pthread_mutex_t mutex;         /* over both fields; any worker takes it, for nanoseconds */
    _Atomic uint32_t greatest;     /* id accepted so far, 0 before the first; read without the mutex, too */
    uint64_t bits[REPLAY_WORDS];
};

/* Continue where `progress` stands. */
void replay_init(struct replay_window *window, const struct key_progress *progress);
void replay_destroy(struct replay_window *window);

/* Take the id of an authentic packet; false when it was seen before, is 0, or is older than the window. */
bool replay_accept(struct replay_window *window, uint32_t packet_id);

/* Fill in where the window stands. */
void replay_progress(struct replay_window *window, struct key_progress *progress);

#endif
