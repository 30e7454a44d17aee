/*
 * arena: memory that goes all at once: one per flip, per request, per gathered set of facts. Allocation
 * failure aborts (sizes are bounded by what is read). Memory is zeroed.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include "lib/base/base.h"

struct arena;

struct arena *arena_new(void);
/* Frees everything; takes NULL. */
void arena_free(struct arena *);
void arena_freep(struct arena **);
void *arena_alloc(struct arena *, size_t size);
char *arena_strdup(struct arena *, const char *s); /* NULL gives NULL */
char *arena_strndup(struct arena *, const char *s, size_t n);
char *arena_printf(struct arena *, const char *fmt, ...) PRINTF(2, 3);
char *arena_vprintf(struct arena *, const char *fmt, va_list ap);
/* For growing arrays: a new block of new_size with the old contents. */
void *arena_grow(struct arena *, const void *old, size_t old_size, size_t new_size);

/* Plain heap, aborting on exhaustion. */
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s); /* NULL gives NULL */

#endif
