/*
 * http: libcurl's multi interface on the loop. One multi handle for the process, made at the first request;
 * each request is an easy handle whose fiber waits for CURLMSG_DONE, and which that fiber alone removes.
 *
 * libcurl 7.88: curl_multi_remove_handle waits for the resolver's thread (9 s with a silent one) unless
 * CURLOPT_QUICK_EXIT is set; its own time-out is not used, since the fiber's deadline ends the request.
 */
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/arena.h"
#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/io/fiber.h"
#include "lib/io/http.h"
#include "lib/io/loop.h"

struct request {
	CURL *easy;
	struct curl_slist *headers;
	struct strbuf body;
	size_t header_bytes;
	struct fiber_cond ended;
	bool added, done, too_large;
	CURLcode result;
	char reason[CURL_ERROR_SIZE];
};

static struct {
	CURLM *multi;
	struct loop_watch *timer;
} http;

/* --- the multi handle on the loop --- */

static void take_ended(void)
{
	int left;
	CURLMsg *m;

	while ((m = curl_multi_info_read(http.multi, &left))) {
		struct request *r = NULL;
		if (m->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&r);
		r->done = true;
		r->result = m->data.result;
		fiber_cond_signal(&r->ended);
	}
}

static void act_on(curl_socket_t fd, int what)
{
	int running;

	(void)curl_multi_socket_action(http.multi, fd, what, &running);
	take_ended();
}

struct sock {
	struct loop_watch *watch;
	curl_socket_t fd;
};

static void on_socket(int events, void *arg)
{
	struct sock *s = arg; /* gone after act_on, perhaps */

	act_on(s->fd,
		(events & LOOP_READ ? CURL_CSELECT_IN : 0) | (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0));
}

static int on_sock_state(CURL *easy, curl_socket_t fd, int what, void *arg, void *sock)
{
	struct sock *s = sock;
	int events = (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0);
	(void)easy, (void)arg;

	if (s)
		loop_unwatch_always(s->watch);
	if (what == CURL_POLL_REMOVE) {
		free(s);
		return 0;
	}
	if (!s) {
		s = xcalloc(1, sizeof(*s));
		s->fd = fd;
		(void)curl_multi_assign(http.multi, fd, s);
	}
	s->watch = events ? loop_watch_always(fd, events, on_socket, s) : NULL;
	return 0;
}

static void on_timer(int events, void *arg)
{
	(void)events, (void)arg;

	http.timer = NULL;
	act_on(CURL_SOCKET_TIMEOUT, 0);
}

/* Never acts at once: libcurl must not be called from within itself. */
static int on_timer_set(CURLM *multi, long wait_ms, void *arg)
{
	(void)multi, (void)arg;

	loop_unwatch(http.timer);
	http.timer = NULL;
	if (wait_ms >= 0)
		http.timer = loop_watch_once(
			-1, LOOP_TIMEOUT, clock_us() + (int64_t)wait_ms * 1000, on_timer, NULL);
	return 0;
}

static int multi_init(void)
{
	static bool global;

	if (!global && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	global = true;
	if (http.multi)
		return 0;
	http.multi = curl_multi_init();
	if (!http.multi)
		return -ENOMEM;
	(void)curl_multi_setopt(http.multi, CURLMOPT_SOCKETFUNCTION, on_sock_state);
	(void)curl_multi_setopt(http.multi, CURLMOPT_TIMERFUNCTION, on_timer_set);
	(void)curl_multi_setopt(http.multi, CURLMOPT_MAXCONNECTS, 16L);
	return 0;
}

void http_free(void)
{
	if (http.multi)
		(void)curl_multi_cleanup(http.multi);
	loop_unwatch(http.timer);
	http.multi = NULL;
	http.timer = NULL;
}

/* --- a request --- */

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct request *r = arg;

	if (r->body.len + size * n > HTTP_BODY_MAX) {
		r->too_large = true;
		return 0;
	}
	strbuf_addn(&r->body, data, size * n);
	return size * n;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
	struct request *r = arg;
	(void)data;

	r->header_bytes += size * n;
	r->too_large = r->header_bytes > HTTP_HEADER_MAX;
	return r->too_large ? 0 : size * n;
}

static void request_freep(struct request **at)
{
	struct request *r = *at;

	if (r->added)
		(void)curl_multi_remove_handle(http.multi, r->easy);
	curl_easy_cleanup(r->easy);
	curl_slist_free_all(r->headers);
	strbuf_free(&r->body);
	free(r);
}

static void set_headers(struct request *r, const char *const headers[])
{
	for (int i = 0; headers && headers[i]; i++)
		r->headers = curl_slist_append(r->headers, headers[i]);
	if (r->headers)
		(void)curl_easy_setopt(r->easy, CURLOPT_HTTPHEADER, r->headers);
}

static void set_method(struct request *r, const char *method, const char *body)
{
	if (body) {
		(void)curl_easy_setopt(r->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
		(void)curl_easy_setopt(r->easy, CURLOPT_COPYPOSTFIELDS, body);
	} else if (!strcmp(method, "POST")) {
		(void)curl_easy_setopt(r->easy, CURLOPT_COPYPOSTFIELDS, "");
	}
	(void)curl_easy_setopt(r->easy, CURLOPT_CUSTOMREQUEST, method);
}

static int request_init(
	struct request *r, const char *method, const char *url, const char *body, const char *const headers[])
{
	r->easy = curl_easy_init();
	if (!r->easy || curl_easy_setopt(r->easy, CURLOPT_URL, url) != CURLE_OK ||
		curl_easy_setopt(r->easy, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK)
		return -ENOMEM;
	(void)curl_easy_setopt(r->easy, CURLOPT_PRIVATE, (char *)r);
	(void)curl_easy_setopt(r->easy, CURLOPT_ERRORBUFFER, r->reason);
	(void)curl_easy_setopt(r->easy, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(r->easy, CURLOPT_QUICK_EXIT, 1L);
	(void)curl_easy_setopt(r->easy, CURLOPT_CONNECTTIMEOUT, 24L * 3600);
	(void)curl_easy_setopt(r->easy, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(r->easy, CURLOPT_WRITEDATA, r);
	(void)curl_easy_setopt(r->easy, CURLOPT_HEADERFUNCTION, on_header);
	(void)curl_easy_setopt(r->easy, CURLOPT_HEADERDATA, r);
	(void)curl_easy_setopt(r->easy, CURLOPT_USERAGENT, "flipd");
	set_method(r, method, body);
	set_headers(r, headers);
	if (curl_multi_add_handle(http.multi, r->easy) != CURLM_OK)
		return -ENOMEM;
	r->added = true;
	return 0;
}

static int curl_errno(const struct request *r)
{
	static const struct {
		CURLcode result;
		int code;
	} codes[] = {
		{CURLE_UNSUPPORTED_PROTOCOL, -EINVAL},
		{CURLE_URL_MALFORMAT, -EINVAL},
		{CURLE_COULDNT_RESOLVE_HOST, -ENOENT},
		{CURLE_COULDNT_RESOLVE_PROXY, -ENOENT},
		{CURLE_COULDNT_CONNECT, -ECONNREFUSED},
		{CURLE_SSL_CONNECT_ERROR, -EACCES},
		{CURLE_PEER_FAILED_VERIFICATION, -EACCES},
		{CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT},
		{CURLE_GOT_NOTHING, -ECONNRESET},
		{CURLE_SEND_ERROR, -ECONNRESET},
		{CURLE_RECV_ERROR, -ECONNRESET},
		{CURLE_PARTIAL_FILE, -ECONNRESET},
	};

	if (r->too_large)
		return -EMSGSIZE;
	for (size_t i = 0; i < COUNT_OF(codes); i++) {
		if (codes[i].result == r->result)
			return codes[i].code;
	}
	return -EPROTO;
}

bool http_not_sent(int code)
{
	return code == -EINVAL || code == -ENOENT || code == -ECONNREFUSED || code == -EACCES ||
	       code == -ENOMEM;
}

/* 0, or the code with the reason. The URL is not named: it may carry a token. */
static int MAY_WAIT request_wait(struct request *r, int64_t deadline_us, struct err *err)
{
	while (!r->done) {
		int waited = fiber_cond_wait(&r->ended, deadline_us);
		if (waited == -ETIMEDOUT)
			return err_set(err, waited, "no answer in time");
		if (waited < 0)
			return err_set(err, waited, "cancelled");
	}
	if (r->result == CURLE_OK)
		return 0;
	if (r->too_large)
		return err_set(err, -EMSGSIZE, "the answer is too large");
	return err_set(err, curl_errno(r), "%s", r->reason[0] ? r->reason : curl_easy_strerror(r->result));
}

int http_do(const char *method, const char *url, const char *body, const char *const headers[],
	int64_t deadline_us, int *ret_status, char **ret_body, struct err *err)
{
	CLEANUP(request_freep) struct request *r = xcalloc(1, sizeof(*r));
	long status = 0;

	if (multi_init() < 0 || request_init(r, method, url, body, headers) < 0)
		return err_set(err, -ENOMEM, "out of memory for a request");
	int code = request_wait(r, deadline_us, err);
	if (code < 0)
		return code;
	(void)curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	if (ret_status)
		*ret_status = (int)status;
	if (ret_body)
		*ret_body = xstrdup(strbuf_str(&r->body));
	return 0;
}
