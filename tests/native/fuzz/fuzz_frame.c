/* Frames of the TUN device, with any virtio header: the kernel is trusted no more than a stranger. */
#include "fuzz.h"
#include "rig.h"

static struct rig *rig;

void fuzz_one(struct span input)
{
    if (!rig)
        rig = rig_new();
    rig_frame(rig, input);
    rig_settle(rig);
}
