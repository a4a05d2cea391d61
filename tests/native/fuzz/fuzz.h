/* A fuzz target, and the driver that looks for input on which it fails.
 *
 * The driver is guided by coverage: what it runs is compiled with -fsanitize-coverage=trace-pc, and input that reaches
 * something new is kept and changed further. It is deterministic for a seed, but for what timers add.
 */
#ifndef PORTWAY_FUZZ_H
#define PORTWAY_FUZZ_H

#include "octets.h"

/* The target: take any octets, and come back. Whatever is wrong ends the process. */
void fuzz_one(struct span input);

#endif
