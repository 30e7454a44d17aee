/*
 * preflight: gather, then judge. Facts of all servers are gathered in a handful of statements; each check is
 * a row of the table checks[] that judges them, pure and without servers. The few proving checks may wait and
 * are marked.
 */
#ifndef FLIP_PREFLIGHT_H
#define FLIP_PREFLIGHT_H

#include "lib/base/err.h"
#include "lib/cluster/cluster.h"

enum check_result { CHECK_OK, CHECK_WARN, CHECK_REFUSE, CHECK_SKIP };

struct check_out {	  /* one result; the judge fills it with check_say() */
	const char *name; /* the check's */
	char server[64];  /* "" = null */
	enum check_result result;
	char seen[512], hint[384];
};

struct check_input { /* all that a judge may look at */
	const struct conf_cluster *conf;
	enum conf_side from, to;
	const struct facts *old_facts, *new_facts;    /* .up false when it did not answer */
	const struct err *old_error, *new_error;      /* why not */
	const struct survey *old_survey, *new_survey; /* NULL: not looked at */
	int nreplicas;
	const struct facts *replicas; /* conf->nreplicas */
	int nlock;		      /* old's accounts that lock_accounts names; -1 not known */
	const struct facts_account *lock;
	const char *journal_id, *flip_id; /* own; flip_id "" outside a flip */
	int64_t wall_ms;
	int64_t new_heartbeat_lag_ms;	     /* -1 not known */
	const char *own_host;		     /* this host's name */
	const struct gtid_list *old_reached; /* cluster->reached of old; may be NULL */
};

struct check_env { /* for proving checks, which may wait */
	struct cluster *cluster;
	struct session *act[2]; /* by side; NULL when it does not answer */
	const struct provider_ctx *ctx;
	int64_t deadline_us;
	bool in_background;
	struct fiber_mutex *endpoints; /* held while endpoints or hooks are asked; NULL: nobody else asks */
};

struct check {
	const char *name;
	const char *question; /* one sentence, for --print-checks and the manual */
	bool background;      /* cheap: also run by the watcher on its last facts */
	bool survey;	      /* judges the surveys: after all else, and only in a preflight */
	/* pure; NULL for a proving check. Answers by check_say on *out (result CHECK_OK when it says
	 * nothing). */
	void (*judge)(const struct check_input *, struct check_out *out);
	/* may wait */
	void MAY_WAIT (*prove)(const struct check_input *, struct check_env *, struct check_out *out);
};

/* Sets result, server (NULL or "": none, or both sides), seen; check_hint adds what to do. The worst call
 * counts; what others of the same rank and warnings said is added to seen where there is room. */
void check_say(struct check_out *, enum check_result, const char *server, const char *seen_fmt, ...)
	PRINTF(4, 5);
void check_hint(struct check_out *, const char *fmt, ...) PRINTF(2, 3);

extern const struct check checks[];
extern const int checks_count;

struct preflight {
	int n;
	struct check_out *results; /* in table order; in the arena given */
	bool ready;		   /* no refuse */
	bool new_semi_sync;	   /* new waits for acknowledgements of its own commits; preflight_run only */
};

/* Judges only (background checks when only_background), with the policy's lowered checks applied. Never
 * waits. */
void preflight_judge(const struct check_input *, bool only_background, struct arena *, struct preflight *ret);
/* The whole: opens sessions, gathers, judges, proves. Leaves nothing changed. 0 also when it refuses. */
int MAY_WAIT preflight_run(struct cluster *, enum conf_side to, const struct provider_ctx *,
	const char *journal_id, const char *flip_id, int64_t deadline_us, struct arena *,
	struct preflight *ret, struct err *) MUSTCHECK;
const char *check_result_name(enum check_result); /* ok warn refuse skip */
/* --print-checks; freed by the caller. */
char *preflight_print(void);
/* The array of checks as JSON (wire), a new value. */
struct wire;
struct wire *preflight_wire(const struct preflight *);

#endif
