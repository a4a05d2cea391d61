/* A TCP stream, cut anywhere: frames of any length, as they are or sealed by the client.
 *
 * Input: records of a kind (bit 0: sealed by the client; bit 1: without a length before it), a length in two octets, and so many
 * octets, each sent by itself. The stream lasts until the plane ends it. */
#include "fuzz.h"
#include "rig.h"

static struct rig *rig;
static uint8_t framed[LARGEST_FRAME + MOST_OVERHEAD];

static void send_record(uint8_t kind, struct span octets)
{
    struct span packet = kind & 1 ? rig_seal(rig, octets) : octets;
    struct span room = span_of(framed, sizeof framed);
    if (kind & 2) {
        rig_stream(rig, packet);
        return;
    }
    store16(room, 0, (uint16_t)packet.size);
    put(room, 2, packet);
    rig_stream(rig, part(room, 0, packet.size + 2));
}

void fuzz_one(struct span input)
{
    if (!rig)
        rig = rig_new();
    if (!find_stream(rig->plane, rig->streams))
        rig_connect(rig);
    for (size_t at = 0; at + 3 <= input.size;) {
        uint8_t kind = load8(input, at);
        size_t size = load16(input, at + 1) % 4096;
        at += 3;
        size = size < input.size - at ? size : input.size - at;
        if (size)
            send_record(kind, part(input, at, size));
        at += size;
    }
    rig_settle(rig);
}
