/* fiber_stack: the stacks that fibers run on; for fiber.c alone. */
#ifndef IO_FIBER_STACK_H
#define IO_FIBER_STACK_H

#include "lib/base/base.h"

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_WITH_ASAN 1
#endif
#endif

#ifdef FIBER_WITH_ASAN
#define FIBER_STACK_BYTES ((size_t)1024 * 1024) /* instrumented frames are several times larger */
#else
#define FIBER_STACK_BYTES ((size_t)256 * 1024)
#endif

struct fiber_stack {
	struct fiber_stack *next; /* in the pool */
	char *base;		  /* the lowest usable byte, above the guard page */
	unsigned valgrind_id;
};

/* A stack of FIBER_STACK_BYTES above a guard page, new or used before; aborts when memory is exhausted. */
struct fiber_stack *fiber_stack_take(void);
/* Nobody may be on it any more. */
void fiber_stack_give(struct fiber_stack *);

#endif
