/*
 * impatient: for LD_PRELOAD to mariadbd, where whoever finds the disk full sleeps 60 s before it looks again
 * whether there is room (mariadb_sleep_for_space(), sql/log.cc): here it looks every second. All else is as
 * it was: a commit waits, with the log's lock, until there is room.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum { AS_LONG_AS_THE_FUNCTION = 1024 };

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until)
{
	static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
	static uintptr_t patience;
	uintptr_t from = (uintptr_t)__builtin_return_address(0);
	struct timespec soon;

	if (!real) {
		patience = (uintptr_t)dlsym(RTLD_DEFAULT, "mariadb_sleep_for_space");
		*(void **)&real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
	}
	if (!patience || from < patience || from > patience + AS_LONG_AS_THE_FUNCTION)
		return real(cond, lock, until);
	(void)clock_gettime(CLOCK_REALTIME, &soon);
	soon.tv_sec++;
	return real(cond, lock, &soon);
}
