/*
 * guard: after a flip. A side that the last flip left closed and that is found open while the other one is
 * open too is an incident: it is called out once, and with `guard: fence` closed again at every look until it
 * stays closed.
 */
#ifndef DAEMON_GUARD_H
#define DAEMON_GUARD_H

#include "lib/base/base.h"

struct watched;

/* After each poll. */
void guard_look(struct watched *);
/* What a flip's end leaves closed: `closed` is the side's name. Other outcomes leave what was guarded as it
 * is. */
void guard_set(struct watched *, bool done, bool rolled_back, const char *closed);

#endif
