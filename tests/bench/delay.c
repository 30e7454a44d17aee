/*
 * delay: a TCP proxy that stands for distance: everything it passes on arrives a given time later, in order.
 *
 *     delay --ms 20 127.1.2.1:4000=127.1.2.9:3306 [LISTEN=TO ...]
 *
 * One thread, epoll. Connections are not limited in bandwidth, and a chunk waits for its own time only.
 * SIGUSR1 stops all passing (what arrives is kept: a partition as TCP sees it), SIGUSR2 lets it pass again.
 * SIGRTMIN stops only what clients send, SIGRTMIN+1 only what they are answered; SIGRTMIN+2 forgets what was
 * kept, with its connections: both ends see them closed, as after a partition that lasted too long for TCP.
 * SIGRTMIN+3 is no distance, SIGRTMIN+4 the given one again.
 * Prints "ready" when it listens.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK_MAX = 65536, HELD_MAX = 16 << 20, MAPS_MAX = 16, EVENTS_MAX = 64 };

struct chunk {
	STAILQ_ENTRY(chunk) next;
	int64_t due_us;
	size_t len, done;
	char data[];
};

/* One end of a connection: what was read here goes to peer when it is due. */
struct end {
	int fd;
	struct end *peer;
	bool at_eof, shut; /* nothing more comes from fd; that was passed on */
	size_t held;	   /* bytes waiting in queue */
	STAILQ_HEAD(, chunk) queue;
};

struct link {
	LIST_ENTRY(link) next;
	struct end a, b;
	bool dead;
};

/* What an epoll event means: a listener, one end of a link, or the signals. */
struct map {
	int fd;
	struct sockaddr_in to;
};

static struct map maps[MAPS_MAX];
static int nmaps, epfd, sigfd;
static int64_t given_us = 20000, delay_us;
static bool keep_asks, keep_answers, ending; /* what clients send, and what they are answered */
static LIST_HEAD(, link) links = LIST_HEAD_INITIALIZER(links);

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int parse_address(const char *text, size_t len, struct sockaddr_in *ret)
{
	char host[64];
	const char *colon = memchr(text, ':', len);

	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = 0;
	*ret = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
	return inet_pton(AF_INET, host, &ret->sin_addr) == 1 ? 0 : -EINVAL;
}

static int watch(int fd, void *what)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = what};

	return epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

static int map_open(const char *text)
{
	const char *equals = strchr(text, '=');
	struct map *m = &maps[nmaps];
	struct sockaddr_in at;
	int on = 1;

	if (!equals || nmaps == MAPS_MAX || parse_address(text, (size_t)(equals - text), &at) < 0 ||
		parse_address(equals + 1, strlen(equals + 1), &m->to) < 0)
		return -EINVAL;
	m->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (m->fd < 0)
		return -errno;
	setsockopt(m->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(m->fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(m->fd, 256) < 0)
		return -errno;
	nmaps++;
	return watch(m->fd, m);
}

static void end_init(struct end *e, int fd, struct end *peer)
{
	int on = 1;

	*e = (struct end){.fd = fd, .peer = peer};
	STAILQ_INIT(&e->queue);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static void link_free(struct link *l)
{
	struct end *ends[] = {&l->a, &l->b};

	for (int i = 0; i < 2; i++) {
		struct chunk *c;

		while ((c = STAILQ_FIRST(&ends[i]->queue))) {
			STAILQ_REMOVE_HEAD(&ends[i]->queue, next);
			free(c);
		}
		close(ends[i]->fd);
	}
	LIST_REMOVE(l, next);
	free(l);
}

static void link_open(struct map *m)
{
	int in = accept4(m->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int out = in < 0 ? -1 : socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct link *l = calloc(1, sizeof(*l));

	if (out < 0 || !l ||
		(connect(out, (struct sockaddr *)&m->to, sizeof(m->to)) < 0 && errno != EINPROGRESS)) {
		if (in >= 0)
			close(in);
		if (out >= 0)
			close(out);
		free(l);
		return;
	}
	end_init(&l->a, in, &l->b);
	end_init(&l->b, out, &l->a);
	LIST_INSERT_HEAD(&links, l, next);
	if (watch(in, &l->a) < 0 || watch(out, &l->b) < 0)
		l->dead = true;
}

static struct link *link_of(struct end *e)
{
	struct link *l;

	LIST_FOREACH(l, &links, next)
	if (e == &l->a || e == &l->b)
		return l;
	return NULL;
}

static void end_unwatch(struct end *e)
{
	epoll_ctl(epfd, EPOLL_CTL_DEL, e->fd, NULL);
}

/* Reads what there is; the end of the stream travels as an empty chunk, as late as data would. */
static void end_read(struct end *e)
{
	struct chunk *c = malloc(sizeof(*c) + CHUNK_MAX);
	int on = 1;
	ssize_t n;

	if (!c)
		abort();
	n = read(e->fd, c->data, CHUNK_MAX);
	/* A sender that waits for the acknowledgement of a small packet (Nagle) is not to wait 40 ms for
	 * ours. */
	setsockopt(e->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		free(c);
		return;
	}
	if (n <= 0) {
		e->at_eof = true;
		end_unwatch(e);
		n = 0;
	}
	*c = (struct chunk){.due_us = now_us() + delay_us, .len = (size_t)n};
	c = realloc(c, sizeof(*c) + (size_t)n);
	if (!c)
		abort();
	e->held += (size_t)n;
	STAILQ_INSERT_TAIL(&e->queue, c, next);
}

/* Passes on what is due; returns when the next chunk is, or INT64_MAX. */
static int64_t end_pass(struct end *e, struct link *l, int64_t now)
{
	struct chunk *c;

	while ((c = STAILQ_FIRST(&e->queue))) {
		ssize_t n;

		if (c->due_us > now)
			return c->due_us;
		n = c->len ? send(e->peer->fd, c->data + c->done, c->len - c->done, MSG_NOSIGNAL) : 0;
		if (n < 0 && (errno == EAGAIN || errno == EINPROGRESS || errno == ENOTCONN))
			return now + 1000;
		if (n < 0)
			l->dead = true;
		if (n < 0)
			return INT64_MAX;
		c->done += (size_t)n;
		if (c->done < c->len)
			return now + 1000;
		if (c->len == 0) {
			shutdown(e->peer->fd, SHUT_WR);
			e->shut = true;
		}
		e->held -= c->len;
		STAILQ_REMOVE_HEAD(&e->queue, next);
		free(c);
	}
	return INT64_MAX;
}

/* Passes on everything that is due; returns how long to sleep, in us. */
static int64_t links_pass(void)
{
	int64_t now = now_us(), next = now + 1000000;
	struct link *l = LIST_FIRST(&links);

	while (l) {
		struct link *after = LIST_NEXT(l, next);
		int64_t a = keep_asks || l->dead ? INT64_MAX : end_pass(&l->a, l, now);
		int64_t b = keep_answers || l->dead ? INT64_MAX : end_pass(&l->b, l, now);

		next = a < next ? a : next;
		next = b < next ? b : next;
		if (l->dead || (l->a.shut && l->b.shut))
			link_free(l);
		l = after;
	}
	return next - now;
}

static void kept_break(void)
{
	struct link *l;

	LIST_FOREACH(l, &links, next)
	if ((keep_asks && !STAILQ_EMPTY(&l->a.queue)) || (keep_answers && !STAILQ_EMPTY(&l->b.queue)))
		l->dead = true;
}

static void signals_read(void)
{
	struct signalfd_siginfo info;
	int signo;

	if (read(sigfd, &info, sizeof(info)) != sizeof(info))
		return;
	signo = (int)info.ssi_signo;
	if (signo == SIGRTMIN + 2)
		kept_break();
	else if (signo == SIGUSR1 || signo == SIGRTMIN)
		keep_asks = true;
	if (signo == SIGUSR1 || signo == SIGRTMIN + 1)
		keep_answers = true;
	if (signo == SIGUSR2)
		keep_asks = keep_answers = false;
	if (signo == SIGRTMIN + 3 || signo == SIGRTMIN + 4)
		delay_us = signo == SIGRTMIN + 3 ? 0 : given_us;
	ending = signo == SIGTERM || signo == SIGINT;
}

static void event_handle(void *what)
{
	struct link *l;

	if (what == &sigfd) {
		signals_read();
	} else if (what >= (void *)maps && what < (void *)(maps + MAPS_MAX)) {
		link_open(what);
	} else {
		l = link_of(what);
		if (l && ((struct end *)what)->held < HELD_MAX)
			end_read(what);
	}
}

static void signals_open(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	for (int i = 0; i < 5; i++)
		sigaddset(&set, SIGRTMIN + i);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigfd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (sigfd < 0 || watch(sigfd, &sigfd) < 0)
		abort();
}

int main(int argc, char **argv)
{
	int first = 1;

	epfd = epoll_create1(EPOLL_CLOEXEC);
	signals_open();
	if (argc > 2 && strcmp(argv[1], "--ms") == 0) {
		given_us = (int64_t)(atof(argv[2]) * 1000);
		first = 3;
	}
	delay_us = given_us;
	for (int i = first; i < argc; i++) {
		int n = map_open(argv[i]);

		if (n < 0) {
			fprintf(stderr, "delay: %s: %s\n", argv[i], strerror(-n));
			return 1;
		}
	}
	puts("ready");
	fflush(stdout);
	while (!ending) {
		struct epoll_event events[EVENTS_MAX];
		int64_t wait_us = links_pass();
		struct timespec t = {.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
		int n = epoll_pwait2(epfd, events, EVENTS_MAX, &t, NULL);

		for (int i = 0; i < n; i++)
			event_handle(events[i].data.ptr);
	}
	return 0;
}
