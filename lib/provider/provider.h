/*
 * provider: what a flip can act on besides servers: endpoints (what applications follow to the master) and
 * fences other than read_only. Each adapter is one .c file with one const ops object and one line in
 * registry.c.
 *
 * The story of a flip: preflight asks every endpoint `look` and `prove`; the step endpoints calls `switch_to`
 * for each one side by side, a lost reply (ACT_UNKNOWN) is resolved with `look`; propagate calls `spread`
 * until every authority shows the new master; a roll back calls `switch_to` the other way. Every call is
 * idempotent and has a deadline.
 */
#ifndef PROVIDER_PROVIDER_H
#define PROVIDER_PROVIDER_H

#include "lib/base/err.h"
#include "lib/model/conf.h"

/* What a hook is told, and what log lines carry. Strings are borrowed. */
struct provider_ctx {
	const char *cluster, *run, *flip_id, *step; /* run: this start of flipd; flip_id "" in a check */
	enum conf_side from, to;		    /* old and new side */
	const struct conf_server *old_server, *new_server;
	const char *outcome; /* hooks after_end only; else NULL */
};

/* What an endpoint points at now, as its primary (update server, proxy, hook) says. */
enum endpoint_at { ENDPOINT_AT_SOURCE = 0, ENDPOINT_AT_TARGET = 1, ENDPOINT_AT_OTHER = 2 };

struct endpoint;

struct endpoint_ops {
	enum conf_endpoint_kind kind;
	const char *type; /* the word in JSON: "dns", "hook" */
	/* Makes the live endpoint; connects to nothing. conf outlives it. */
	int (*create)(const struct conf_endpoint *, struct endpoint **ret, struct err *);
	void (*destroy)(struct endpoint *); /* takes NULL */
	/* Opens what can be opened beforehand (TCP connection to the update server), so that switch_to finds
	 * it warm. */
	enum act (*warm)(struct endpoint *, const struct provider_ctx *, int64_t deadline_us, struct err *);
	/* Where it points now. DONE with *ret, else the reason. For OTHER the err's message says what was
	 * seen. */
	enum act (*look)(struct endpoint *, const struct provider_ctx *, int64_t deadline_us,
		enum endpoint_at *ret, struct err *);
	/* Preflight: an update that changes nothing, where it points now. A secondary that lags or is dead is
	 * spread's business: it never holds a flip. Hooks: action check. */
	enum act (*prove)(struct endpoint *, const struct provider_ctx *, int64_t deadline_us, struct err *);
	/* Preflight: for how long clients may keep the present value, in seconds. NULL: nothing of the kind.
	 */
	enum act (*ttl)(struct endpoint *, const struct provider_ctx *, int64_t deadline_us, int64_t *ret_s,
		struct err *);
	/* Compare-and-swap from the other side's value. DONE also when it points there already. REFUSED: a
	 * third value, or the authority said no. UNKNOWN: the reply was lost; ask look. */
	enum act (*switch_to)(struct endpoint *, const struct provider_ctx *, enum conf_side to,
		int64_t deadline_us, struct err *);
	/* True when every authoritative server shows `to`: DONE; REFUSED: not yet, message names who lags; */
	enum act (*spread)(struct endpoint *, const struct provider_ctx *, enum conf_side to,
		int64_t deadline_us, struct err *);
	/* The calls a switch would make, one line of text for `plan`; kind is the plan's kind: "dns", "exec".
	 */
	const char *plan_kind;
	void (*plan)(const struct endpoint *, enum conf_side to, char *buf, size_t size);
};

/* The adapter for a kind, or NULL when this build has none. */
const struct endpoint_ops *registry_endpoint(enum conf_endpoint_kind);

/* A fence that is not read_only on the server itself (hook; later security groups). */
struct fence_ops {
	enum conf_fence_kind kind;
	enum act (*check)(
		const struct conf_fence *, const struct provider_ctx *, int64_t deadline_us, struct err *);
	enum act (*close)(
		const struct conf_fence *, const struct provider_ctx *, int64_t deadline_us, struct err *);
	/* DONE: proven closed. REFUSED: open. */
	enum act (*verify)(
		const struct conf_fence *, const struct provider_ctx *, int64_t deadline_us, struct err *);
	enum act (*open)(
		const struct conf_fence *, const struct provider_ctx *, int64_t deadline_us, struct err *);
};

const struct fence_ops *registry_fence(enum conf_fence_kind);

/*
 * hook_run: one hook (absolute path, executed directly) with the FLIPD_ environment of INTERFACES.md section
 * 2 and FLIPD_ACTION=action. DONE: exit 0. REFUSED: another exit status, its output in the message. UNKNOWN:
 * killed at the deadline. An http(s) URL is asked with POST and the same names as a JSON object; 2xx is DONE.
 */
enum act MAY_WAIT hook_run(const char *path, const char *action, const struct provider_ctx *,
	int64_t deadline_us, struct err *) MUSTCHECK;

#endif
