/* When memory that workers may still be reading can be freed: quiescent-state-based reclamation.
 *
 * Workers read shared objects without locks. Control unlinks an object first, so that nobody finds it any more, and then
 * hands it to `reclaim_later`; it is freed when every worker has since said that it holds nothing (`reclaim_quiet`), or is
 * waiting (`reclaim_offline`). Workers never wait for control, nor control for workers.
 */
#ifndef PORTWAY_RECLAIM_H
#define PORTWAY_RECLAIM_H

#include <stdint.h>

struct reclaim;

/* NULL for lack of memory. */
struct reclaim *reclaim_new(unsigned workers);
/* Frees everything that waits: no worker may run any more. */
void reclaim_free(struct reclaim *reclaim);

/* By a worker: before it looks at anything shared, when it holds nothing, and before it waits. */
void reclaim_online(struct reclaim *reclaim, unsigned worker);
void reclaim_quiet(struct reclaim *reclaim, unsigned worker);
void reclaim_offline(struct reclaim *reclaim, unsigned worker);

/* By control: call `destroy(object)` when no worker can hold it any more. For lack of memory it waits for that, 1 ms at a
 * time. Also frees what has become free. */
void reclaim_later(struct reclaim *reclaim, void *object, void (*destroy)(void *object));
/* By control: free what has become free; returns how many objects still wait. */
unsigned reclaim_now(struct reclaim *reclaim);

#endif
