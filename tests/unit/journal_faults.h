/*
 * journal_faults: failures on demand for the tests of the journal. SQLite's and libc's functions are defined
 * in the test itself, before those of the libraries; they call the real ones unless a failure was asked for.
 */
#ifndef TESTS_JOURNAL_FAULTS_H
#define TESTS_JOURNAL_FAULTS_H

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* Set on the loop's thread while the journal's own is idle, read there. */
static struct {
	_Atomic(int) commit_fails;  /* that many COMMITs fail ... */
	_Atomic(int) commit_rc;	    /* ... with this */
	_Atomic(int) system_errno;  /* what SQLite says of the system's error; 0: the truth */
	_Atomic(int) reserve_errno; /* of posix_fallocate; 0: the truth */
	_Atomic(int) fsync_errno;
	_Atomic(int) commits; /* seen */
} faults;

int sqlite3_step(sqlite3_stmt *st)
{
	static int (*real)(sqlite3_stmt *);
	const char *sql = sqlite3_sql(st);

	if (!real)
		real = (int (*)(sqlite3_stmt *))dlsym(RTLD_NEXT, "sqlite3_step");
	if (sql && strcmp(sql, "COMMIT") == 0) {
		atomic_fetch_add(&faults.commits, 1);
		if (atomic_load(&faults.commit_fails) > 0) {
			atomic_fetch_sub(&faults.commit_fails, 1);
			return atomic_load(&faults.commit_rc);
		}
	}
	return real(st);
}

int sqlite3_system_errno(sqlite3 *db)
{
	static int (*real)(sqlite3 *);
	int e = atomic_load(&faults.system_errno);

	if (!real)
		real = (int (*)(sqlite3 *))dlsym(RTLD_NEXT, "sqlite3_system_errno");
	return e ? e : real(db);
}

int posix_fallocate(int fd, off_t offset, off_t len)
{
	static int (*real)(int, off_t, off_t);
	int e = atomic_load(&faults.reserve_errno);

	if (!real)
		real = (int (*)(int, off_t, off_t))dlsym(RTLD_NEXT, "posix_fallocate");
	return e ? e : real(fd, offset, len);
}

int fsync(int fd)
{
	static int (*real)(int);
	int e = atomic_load(&faults.fsync_errno);

	if (!real)
		real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
	if (!e)
		return real(fd);
	errno = e;
	return -1;
}

static inline void fail_commits(int n, int rc)
{
	atomic_store(&faults.commit_rc, rc);
	atomic_store(&faults.commit_fails, n);
}

#endif
