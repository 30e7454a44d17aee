/*
 * journal_dir: the directory that the journal lives in: made when missing, locked against a second daemon,
 * and with a file of ballast whose space is given back when the disk is full, so that a flip that has fenced
 * can still write down its end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/store/journal_priv.h"

#define BALLAST_BYTES (1024 * 1024)
#define BALLAST_NAME "ballast"

struct journal_dir {
	char *path;
	int fd, lock_fd;
};

static int make_dir(const char *path, struct err *err)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	int r = err_set(err, -errno, "state_dir %s cannot be made: %s", path, strerror(errno));
	err_hint(err, "make its parent directory, or set daemon.state_dir");
	return r;
}

/* Who holds the lock, by what it wrote into it; 0 when that cannot be told. */
static long holder(int fd)
{
	char text[32] = {0};

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	return strtol(text, NULL, 10);
}

static int write_pid(int fd)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());

	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return -errno;
	return 0;
}

static int take_lock(struct journal_dir *d, struct err *err)
{
	d->lock_fd = openat(d->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock_fd < 0)
		return err_set(err, -errno, "%s/lock: %s", d->path, strerror(errno));
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0) {
		/* For people's eyes only: a full disk does not matter. */
		(void)write_pid(d->lock_fd);
		return 0;
	}
	if (errno != EWOULDBLOCK)
		return err_set(err, -errno, "%s/lock: %s", d->path, strerror(errno));
	(void)err_set(
		err, -EBUSY, "state_dir %s is in use by another flipd, pid %ld", d->path, holder(d->lock_fd));
	err_hint(err, "stop it, or give this one a state_dir of its own");
	return -EBUSY;
}

int journal_dir_open(const char *path, struct journal_dir **ret, struct err *err)
{
	struct journal_dir *d;
	int r = make_dir(path, err);

	if (r < 0)
		return r;
	d = xcalloc(1, sizeof(*d));
	d->path = xstrdup(path);
	d->lock_fd = -1;
	d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0)
		r = err_set(err, -errno, "state_dir %s: %s", path, strerror(errno));
	else
		r = take_lock(d, err);
	if (r < 0) {
		journal_dir_close(d);
		return r;
	}
	*ret = d;
	return 0;
}

void journal_dir_close(struct journal_dir *d)
{
	if (!d)
		return;
	if (d->lock_fd >= 0)
		(void)close(d->lock_fd);
	if (d->fd >= 0)
		(void)close(d->fd);
	free(d->path);
	free(d);
}

/* A sparse file keeps no room. */
static bool ballast_whole(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_size >= BALLAST_BYTES && st.st_blocks * 512 >= BALLAST_BYTES;
}

int journal_dir_reserve(struct journal_dir *d, struct err *err)
{
	int fd = openat(d->fd, BALLAST_NAME, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : 0;

	if (r == 0 && !ballast_whole(fd))
		r = -posix_fallocate(fd, 0, BALLAST_BYTES);
	if (fd >= 0)
		(void)close(fd);
	if (r == 0)
		return 0;
	(void)journal_dir_release(d);
	(void)err_set(err, r, "no room for a flip's records in %s: %s", d->path, strerror(-r));
	err_hint(err, "a flip needs %d KiB to be free there", BALLAST_BYTES / 1024);
	return r;
}

bool journal_dir_release(struct journal_dir *d)
{
	return unlinkat(d->fd, BALLAST_NAME, 0) == 0;
}

int journal_dir_file(struct journal_dir *d, const char *name, char *buf, size_t size, struct err *err)
{
	if ((size_t)snprintf(buf, size, "%s/%s", d->path, name) >= size)
		return err_set(err, -ENAMETOOLONG, "state_dir %s: the name is too long", d->path);
	int fd = openat(d->fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, -errno, "%s: %s", buf, strerror(errno));
	(void)close(fd);
	return 0;
}

int journal_dir_sync(struct journal_dir *d, struct err *err)
{
	if (fsync(d->fd) < 0)
		return err_set(err, -errno, "state_dir %s: %s", d->path, strerror(errno));
	return 0;
}
