/* Access tables: one piece of memory each, and the bisection in it. Owns the layout. Knows no peers, packets or routes. */
#include "access.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOOPBACK_NETWORK 127u
#define FIRST_MULTICAST 224u /* and everything above: reserved, and the limited broadcast */

struct access_table {
    unsigned references; /* of control, alone */
    uint32_t gateway, broadcast;
    size_t count;
    const uint8_t *verdicts; /* one for each start; behind the starts */
    uint32_t starts[];
};

static bool is_valid(const uint32_t *starts, const uint8_t *verdicts, size_t count)
{
    if (count == 0 || starts[0] != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (verdicts[i] > VERDICT_LOCAL || (i > 0 && starts[i] <= starts[i - 1]))
            return false;
    return true;
}

int access_table_new(const uint32_t *starts, const uint8_t *verdicts, size_t count, uint32_t gateway, uint32_t broadcast,
                     struct access_table **made)
{
    if (!is_valid(starts, verdicts, count))
        return -EINVAL;
    /* Ascending starts are at most 2^32, so this does not overflow. */
    struct access_table *table = malloc(sizeof *table + count * (sizeof *starts + sizeof *verdicts));
    if (!table)
        return -ENOMEM;
    uint8_t *own_verdicts = (uint8_t *)&table->starts[count];
    memcpy(table->starts, starts, count * sizeof *starts);
    memcpy(own_verdicts, verdicts, count * sizeof *verdicts);
    table->references = 1;
    table->gateway = gateway;
    table->broadcast = broadcast;
    table->count = count;
    table->verdicts = own_verdicts;
    *made = table;
    return 0;
}

void access_table_free(struct access_table *table)
{
    free(table);
}

/* RFC 1122 3.2.1.3 and RFC 6890, as `is_unicast` in tunnel/inner_packet.py. */
static bool is_unicast(uint32_t address)
{
    uint32_t first = address >> 24;
    return first != 0 && first < FIRST_MULTICAST && first != LOOPBACK_NETWORK;
}

/* The interval that has the destination. Always as many steps as the table is deep, and none of them a jump that the processor
 * could guess wrong: whether the upper half is taken becomes a mask, not a branch. */
static size_t find(const struct access_table *table, uint32_t destination)
{
    size_t at = 0;
    for (size_t count = table->count; count > 1;) {
        size_t half = count / 2;
        at += half & -(size_t)(table->starts[at + half] <= destination);
        count -= half;
    }
    return at;
}

enum verdict access_verdict(const struct access_table *table, uint32_t destination)
{
    if (destination == table->broadcast || !is_unicast(destination))
        return VERDICT_MULTICAST;
    enum verdict verdict = (enum verdict)table->verdicts[find(table, destination)];
    return verdict == VERDICT_LOCAL && destination == table->gateway ? VERDICT_FORWARD : verdict;
}

unsigned access_table_hold(struct access_table *table)
{
    return ++table->references;
}

unsigned access_table_release(struct access_table *table)
{
    return --table->references;
}
