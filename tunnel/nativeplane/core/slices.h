/* How soon the scheduler lets a worker run, when a packet wakes it. */
#ifndef PORTWAY_SLICES_H
#define PORTWAY_SLICES_H

/* The calling thread wants the processor for moments, and soon: one that has it for longer stretches, as a handshake does, gives
 * way at once instead of at the end of its slice. No more of the processor than before, and no privilege. Kernels before 6.12 take
 * it for nothing. 0 or negative errno. */
int ask_for_short_slices(void);

#endif
