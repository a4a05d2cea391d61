/* What a peer may reach, as flat memory: sorted intervals, found by bisection. The twin of tunnel/pyplane/access.py.
 *
 * Immutable once made, so any worker may read it; shared by all peers with the same rights; replaced whole.
 */
#ifndef PORTWAY_ACCESS_H
#define PORTWAY_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order of `tunnel.plane.Verdict`. */
enum verdict { VERDICT_NO_ROUTE, VERDICT_NO_RULE, VERDICT_FORWARD, VERDICT_LOCAL, VERDICT_MULTICAST };

struct access_table;

/* `starts`: `count` ascending addresses in host order, the first 0. `verdicts`: one `enum verdict` (of the first four) each.
 * `gateway` (inside address: LOCAL there means FORWARD) and `broadcast` (of the client range) in host order.
 * Made with one reference, the caller's. 0, -EINVAL, -ENOMEM. */
int access_table_new(const uint32_t *starts, const uint8_t *verdicts, size_t count, uint32_t gateway, uint32_t broadcast,
                     struct access_table **table);
void access_table_free(struct access_table *table);

/* VERDICT_MULTICAST for what names no single host: 0/8, 127/8, 224/3, and the broadcast address. */
enum verdict access_verdict(const struct access_table *table, uint32_t destination);

/* References are counted by control alone. Gives the count after; with the last one gone, the table is to be freed. */
unsigned access_table_hold(struct access_table *table);
unsigned access_table_release(struct access_table *table);

#endif
