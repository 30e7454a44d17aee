/* listen_socket: making the sockets that listen.c serves, and reading who is at the other end of one. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/arena.h"
#include "lib/base/str.h"
#include "lib/io/listen_priv.h"

#define BACKLOG 1024
#define GROUPS_FIRST 64
#define GROUPS_MOST 65536 /* NGROUPS_MAX */

/* Supplementary groups as of the connect (Linux 4.13); too small a buffer is ERANGE and tells the size
 * wanted. */
static void read_groups(int fd, struct listen_peer *peer)
{
	socklen_t size = GROUPS_FIRST * sizeof(gid_t);

	for (;;) {
		gid_t *groups = xcalloc(1, size);
		socklen_t got = size;

		if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &got) == 0) {
			peer->groups = groups;
			peer->ngroups = (int)(got / sizeof(gid_t));
			return;
		}
		free(groups);
		if (errno != ERANGE || got <= size || got > GROUPS_MOST * sizeof(gid_t))
			return;
		size = got;
	}
}

void listen_peer_read(int fd, struct listen_peer *ret)
{
	struct ucred cred;
	socklen_t size = sizeof(cred);
	int domain = 0;
	socklen_t domain_size = sizeof(domain);

	*ret = (struct listen_peer){0};
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size) < 0 || domain != AF_UNIX)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
		return;
	ret->known = true;
	ret->uid = cred.uid;
	ret->gid = cred.gid;
	ret->pid = cred.pid;
	read_groups(fd, ret);
}

/* Removes a socket file that nobody listens on any more. */
static int clear_stale(const struct sockaddr_un *addr, struct err *err)
{
	struct stat st;

	if (lstat(addr->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(err, -EEXIST, "%s: is there and is no socket", addr->sun_path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, -errno, "socket: %s", strerror(errno));
	int r = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
	int why = errno;
	(void)close(fd);
	if (r == 0 || why != ECONNREFUSED)
		return err_set(err, -EADDRINUSE, "%s: somebody else listens there", addr->sun_path);
	if (unlink(addr->sun_path) < 0)
		return err_set(err, -errno, "%s: %s", addr->sun_path, strerror(errno));
	return 0;
}

static int bind_and_listen(int fd, const void *addr, socklen_t size, const char *what, struct err *err)
{
	if (bind(fd, addr, size) < 0 || listen(fd, BACKLOG) < 0)
		return err_set(err, -errno, "%s: %s", what, strerror(errno));
	return 0;
}

int listen_unix(const char *path, unsigned mode, const struct listen_limits *limits,
	const struct listen_ops *ops, void *arg, struct listener **ret, struct err *err)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(addr.sun_path))
		return err_set(
			err, -ENAMETOOLONG, "%s: longer than %zu bytes", path, sizeof(addr.sun_path) - 1);
	str_copy(addr.sun_path, sizeof(addr.sun_path), path);
	int r = clear_stale(&addr, err);
	if (r < 0)
		return r;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, -errno, "socket: %s", strerror(errno));
	r = bind_and_listen(fd, &addr, sizeof(addr), path, err);
	if (r == 0 && chmod(path, mode) < 0)
		r = err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	*ret = listener_new(fd, xstrdup(path), limits, ops, arg);
	return 0;
}

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t address_parse(const char *host, uint16_t port, union address *ret)
{
	*ret = (union address){0};
	if (str_ieq(host, "localhost"))
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1) {
		ret->v4.sin_family = AF_INET;
		ret->v4.sin_port = htons(port);
		return sizeof(ret->v4);
	}
	if (inet_pton(AF_INET6, host, &ret->v6.sin6_addr) == 1) {
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = htons(port);
		return sizeof(ret->v6);
	}
	return 0;
}

int listen_tcp(const char *host, uint16_t port, const struct listen_limits *limits,
	const struct listen_ops *ops, void *arg, struct listener **ret, struct err *err)
{
	union address addr;
	socklen_t size = address_parse(host, port, &addr);
	char what[320];
	int one = 1;

	if (!size)
		return err_set(err, -EINVAL, "%s: no numeric address", host);
	int fd = socket(addr.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, -errno, "socket: %s", strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	struct strbuf b = {0};
	strbuf_addf(&b, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, (unsigned)port);
	str_copy(what, sizeof(what), strbuf_str(&b));
	strbuf_free(&b);
	int r = bind_and_listen(fd, &addr, size, what, err);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	*ret = listener_new(fd, NULL, limits, ops, arg);
	return 0;
}

int listen_fd(int fd, const struct listen_limits *limits, const struct listen_ops *ops, void *arg,
	struct listener **ret, struct err *err)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return err_set(err, -errno, "socket %d: %s", fd, strerror(errno));
	*ret = listener_new(fd, NULL, limits, ops, arg);
	return 0;
}
