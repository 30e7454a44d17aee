/* checks_reverse: the way back, tried: old replicates from new for a moment. */
#include <errno.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/base/str.h"
#include "lib/flip/checks.h"

/* Proving takes some 25 ms (E5c); a name that does not resolve takes longer. */
#define TRIAL_LIMIT_MS 3000
#define TRIAL_REMOVALS 3 /* on a bad line one may get lost, and what is left stays on the master */

/*
 * Removes the trial connection. A session that died in mid-trial may have left its statement running in the
 * server: it is killed and seen gone first, on a fresh session.
 */
static enum act MAY_WAIT trial_remove_once(
	struct check_env *env, enum conf_side from, const struct session_mark *mark, struct err *err)
{
	struct session *act = env->act[from], *fresh = NULL;
	int64_t deadline = checks_deadline(TRIAL_LIMIT_MS, CLOCK_FOREVER);
	enum act done;

	if (session_alive(act))
		return node_try_reverse_remove(act, deadline, err);
	if (cluster_session(&env->cluster->side[from], SESSION_ACT, deadline, &fresh, err) < 0)
		return ACT_UNKNOWN;
	done = node_kill_own(fresh, mark, deadline, err);
	if (done == ACT_DONE)
		done = node_try_reverse_remove(fresh, deadline, err);
	session_close(fresh);
	return done;
}

static enum act MAY_WAIT trial_remove(
	struct check_env *env, enum conf_side from, const struct session_mark *mark, struct err *err)
{
	enum act done = ACT_UNKNOWN;

	for (int i = 0; i < TRIAL_REMOVALS && done == ACT_UNKNOWN; i++) {
		err_clear(err);
		done = trial_remove_once(env, from, mark, err);
	}
	return done;
}

static void MAY_WAIT trial_run(const struct check_input *in, struct check_env *env, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	struct node_follow follow = {.master = new.conf,
		.account = &new.conf->replication,
		.encrypted = node_is_encrypted(env->cluster->side[in->to].node),
		.pos = new.facts->position.pos};
	const struct session_mark mark = *session_get_mark(env->act[in->from]);
	int64_t deadline = checks_deadline(TRIAL_LIMIT_MS, env->deadline_us);
	struct err err = {0}, removal = {0};
	enum act tried;

	str_copy(follow.file, sizeof(follow.file), new.facts->position.file);
	tried = node_try_reverse(env->act[in->from], &follow, deadline, &err);
	if (trial_remove(env, in->from, &mark, &removal) != ACT_DONE) {
		check_say(out, CHECK_WARN, old.conf->name,
			"the trial connection could not be removed from " AT ": %s", AT_OF(old),
			checks_reason(&old, &removal));
		check_hint(out, "on %s: STOP SLAVE 'flipd_reverse'; RESET SLAVE 'flipd_reverse' ALL",
			old.conf->name);
	}
	if (tried == ACT_DONE) {
		check_say(out, CHECK_OK, old.conf->name, AT " reaches " HOST_PORT " and logs in as %s",
			AT_OF(old), HOST_PORT_OF(checks_repl_host(new.conf), checks_repl_port(new.conf)),
			new.conf->replication.user);
		return;
	}
	check_say(out, CHECK_WARN, old.conf->name, AT " cannot replicate from " HOST_PORT ": %s", AT_OF(old),
		HOST_PORT_OF(checks_repl_host(new.conf), checks_repl_port(new.conf)),
		checks_reason(&old, &err));
	check_hint(out,
		"on %s: CREATE USER '%s'@'%%' IDENTIFIED BY ...; GRANT REPLICATION SLAVE ON *.* TO it%s; and "
		"let %s reach " HOST_PORT "; without it there is no way back",
		new.conf->name, new.conf->replication.user ? new.conf->replication.user : "repl",
		new.conf->tls.mode == CONF_TLS_DISABLED ? " (REQUIRE SSL keeps it out: tls is disabled)" : "",
		old.conf->name, HOST_PORT_OF(checks_repl_host(new.conf), checks_repl_port(new.conf)));
}

/* There is one name for the connection: a check of the same cluster that runs beside, or a flip's preflight,
 * would take it away; and in a flip that has begun it would stand in the way of `reverse`. */
static void MAY_WAIT trial_alone(const struct check_input *in, struct check_env *env, struct check_out *out)
{
	const struct checks_side old = checks_old(in);
	struct cluster *c = env->cluster;
	bool ours = fiber_mutex_lock(&c->trial, checks_deadline(2 * TRIAL_LIMIT_MS, env->deadline_us)) == 0;

	if (!ours || c->lock_session[CONF_SOURCE] || c->lock_session[CONF_TARGET]) {
		check_say(out, CHECK_SKIP, old.conf->name, "not tried on " AT ": %s", AT_OF(old),
			ours ? "a flip has begun" : "another check tries it");
	} else {
		/* Not to be cut off half-way: what was made is removed. */
		fiber_shield();
		trial_run(in, env, out);
		fiber_unshield();
	}
	if (ours)
		fiber_mutex_unlock(&c->trial);
}

/* Behind a backup's lock the trial's own thread would wait, and could not be stopped before it ends. */
static bool backup_holds_lock(const struct facts *f)
{
	for (int i = 0; i < f->nsessions; i++)
		if (strstr(f->sessions[i].state, "Waiting for backup lock"))
			return true;
	return false;
}

void MAY_WAIT prove_reverse_path(const struct check_input *in, struct check_env *env, struct check_out *out)
{
	const struct checks_side old = checks_old(in), new = checks_new(in);
	const struct facts_channel *back = checks_channel_back(in);

	if (!checks_both_up(in, out))
		return;
	if (back && str_ieq(back->io, "Yes") && back->delay_s < CHECKS_TRIAL_DELAY_S) {
		check_say(out, CHECK_OK, old.conf->name, AT " replicates from " AT " already", AT_OF(old),
			AT_OF(new));
	} else if (env->in_background || !env->act[in->from]) {
		check_say(out, CHECK_SKIP, old.conf->name,
			"tried on demand only, by `flipctl check` or a flip");
	} else if (backup_holds_lock(old.facts)) {
		check_say(out, CHECK_SKIP, old.conf->name,
			"not tried: on " AT " statements wait for a backup's lock, and so would the trial",
			AT_OF(old));
	} else if (!new.facts->position.file[0]) {
		check_say(out, CHECK_SKIP, new.conf->name, AT " has no binary log to replicate from",
			AT_OF(new));
	} else {
		trial_alone(in, env, out);
	}
}
