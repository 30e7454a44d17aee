/* base: attributes and helpers that every room uses. Libc only. */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The result matters; ignoring one is written (void)call(). */
#define MUSTCHECK __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
/* Marks functions that may suspend the calling fiber: shared state is read again afterwards. */
#define MAY_WAIT
#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/*
 * What became of an act on a server, an endpoint or a hook. UNKNOWN (time-out, cancel, lost connection)
 * becomes another only by asking again, after the statement itself is known to be gone.
 */
enum act { ACT_DONE = 0, ACT_REFUSED = 1, ACT_UNKNOWN = 2 };

#endif
