/* Datagrams from strangers and from a client, and what a client's packets hold: any octets.
 *
 * Input: records of a kind (even: as it is; odd: sealed by the client), a length in two octets, and so many octets. */
#include "fuzz.h"
#include "rig.h"

static struct rig *rig;

void fuzz_one(struct span input)
{
    if (!rig)
        rig = rig_new();
    for (size_t at = 0; at + 3 <= input.size;) {
        uint8_t kind = load8(input, at);
        size_t size = load16(input, at + 1) % 2048;
        at += 3;
        size = size < input.size - at ? size : input.size - at;
        struct span octets = part(input, at, size);
        rig_datagram(rig, kind & 1 ? rig_seal(rig, octets) : octets);
        at += size;
    }
    rig_settle(rig);
}
