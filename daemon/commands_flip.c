/* commands_flip: flip, rehearse, abort and resolve. The flip goes on in its own fiber whatever becomes of who
 * asked. */
#include <errno.h>
#include <stdlib.h>

#include "daemon/commands.h"
#include "daemon/run.h"
#include "daemon/server.h"
#include "daemon/status.h"
#include "daemon/watch.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/str.h"

#define HASTE_MS 15000
#define RESOLVE_WAIT_MS 20000 /* recovering may last as long as a server is away; the answer then says so */

static void on_event(struct run *run, const char *type, const struct wire *detail, void *arg)
{
	control_event(arg, type, flip_id(run->flip), detail);
}

/* Until done() says so, the deadline passes, or the client is gone. */
static int MAY_WAIT wait_until(
	struct request *r, struct run *run, bool (*done)(const struct run *), int64_t deadline_us)
{
	int code = 0;

	r->interruptible = true;
	while (r->client && code == 0 && !done(run))
		code = run_wait(run, deadline_us);
	r->interruptible = false;
	return code;
}

static bool has_returned(const struct run *run)
{
	return !run->active;
}

static bool past_preflight(const struct run *run)
{
	return !run->active || flip_past_preflight(run->flip);
}

/* flip */

static int duration(
	const struct request *r, const char *key, int64_t most_ms, int64_t *ret_ms, struct err *err)
{
	const char *text = wire_get_str(r->args, key);
	char most[24];
	int64_t us;

	*ret_ms = -1;
	if (!text)
		return 0;
	if (str_parse_duration_us(text, &us) < 0 || us <= 0)
		return err_set(
			err, -EINVAL, "%s: %.32s: a duration such as 500ms or 2s is wanted", key, text);
	if (us > most_ms * 1000)
		return err_set(err, -EINVAL, "%s: %.32s: at most %s", key, text,
			str_format_duration(most_ms * 1000, most, sizeof(most)));
	*ret_ms = (us + 999) / 1000;
	return 0;
}

static int read_flip(const struct request *r, struct flip_request *ret, bool *ret_no_wait, struct err *err)
{
	int to;
	int code = command_side(r, "to", &to, err);

	if (code == 0)
		code = duration(r, "max_lag", CONF_LAG_MOST_MS, &ret->max_lag_ms, err);
	if (code == 0)
		code = duration(r, "max_blackout", CONF_BLACKOUT_MOST_MS, &ret->max_blackout_ms, err);
	if (code < 0)
		return code;
	if (wire_get_str(r->args, "at") || wire_get_str(r->args, "window"))
		return err_set(err, -EINVAL, "flip: at and window come with a later version");
	ret->to = (enum conf_side)to;
	*ret_no_wait = wire_get_bool(r->args, "no_wait");
	return 0;
}

/* A flip whose new serves and whose old follows does not keep the next one waiting for a dead name server. */
static void MAY_WAIT hasten(struct request *r, struct watched *w)
{
	if (!w->run || !w->run->active || !flip_hasten(w->run->flip))
		return;
	struct run *run = run_ref(w->run);
	(void)wait_until(r, run, has_returned, clock_us() + HASTE_MS * 1000);
	run_unref(run);
}

static int say_unreadable(const struct watched *w, int code, struct err *err)
{
	char *hint = status_way_out(w);

	err_hint(err, "%s", hint);
	free(hint);
	return err_set(err, code, "%s: an unfinished flip could not be taken up: %s", w->name, w->unreadable);
}

/* Nothing else runs on the cluster and the daemon stays. */
static int may_flip(const struct request *r, const struct watched *w, struct err *err)
{
	if (r->server->stopping)
		return err_set(err, -EBUSY, "flipd is about to stop");
	if (w->unreadable)
		return say_unreadable(w, -EBUSY, err);
	if (w->run && flip_get_state(w->run->flip) == FLIP_STUCK)
		return err_set(err, -EBUSY, "%s: %s %s is stuck: see flipctl resolve %s", w->name,
			run_word(w->run), flip_id(w->run->flip), w->name);
	if (w->run)
		return err_set(err, -EBUSY, "%s: %s %s is under way", w->name, run_word(w->run),
			flip_id(w->run->flip));
	if (w->preparing)
		return err_set(
			err, -EBUSY, "%s: prepare is under way: flip again when it has ended", w->name);
	if (!w->configured)
		return err_set(err, -EBUSY, "%s: is not configured any more", w->name);
	return 0;
}

/* Begins it, and waits: for its end, or that of its preflight alone. */
static void MAY_WAIT begin(struct request *r, struct watched *w, const struct flip_request *request,
	bool no_wait, struct strbuf *ret)
{
	struct run *run = run_new(w, request);

	log_at(LOG_LEVEL_NOTICE, &(struct log_ctx){.cluster = w->name, .flip_id = flip_id(run->flip)},
		"%s to %s asked for by %s", run_word(run), conf_side_name(request->to), request->user);
	run_listen(run, on_event, r);
	run_begin(run, false);
	(void)wait_until(r, run, no_wait ? past_preflight : has_returned, CLOCK_FOREVER);
	run_unlisten(run, r);
	command_answer(ret, flip_document(run->flip, true));
	run_unref(run);
}

int command_flip(struct request *r, struct strbuf *ret, struct err *err)
{
	struct flip_request request = {.uid = r->uid, .pid = r->pid};
	struct watched *w;
	bool no_wait = false;

	control_user(r, request.user, sizeof(request.user));
	int code = command_cluster(r, &w, err);
	if (code == 0)
		code = read_flip(r, &request, &no_wait, err);
	if (code < 0)
		return code;
	hasten(r, w);
	code = command_cluster(r, &w, err); /* anew: a reload may have come meanwhile */
	if (code == 0)
		code = may_flip(r, w, err);
	if (code < 0)
		return code;
	begin(r, w, &request, no_wait, ret);
	return 0;
}

/* It waits for nobody: a flip that is under way, settling or not, is not hurried on for a rehearsal. */
int command_rehearse(struct request *r, struct strbuf *ret, struct err *err)
{
	struct flip_request request = {.uid = r->uid, .pid = r->pid, .rehearsal = true};
	struct watched *w;
	bool no_wait = false;

	control_user(r, request.user, sizeof(request.user));
	int code = command_cluster(r, &w, err);
	if (code == 0)
		code = read_flip(r, &request, &no_wait, err);
	if (code == 0)
		code = may_flip(r, w, err);
	if (code < 0)
		return code;
	begin(r, w, &request, false, ret);
	return 0;
}

/* abort */

int command_abort(struct request *r, struct strbuf *ret, struct err *err)
{
	struct watched *w;
	char user[64];

	control_user(r, user, sizeof(user));
	int code = command_cluster(r, &w, err);
	if (code < 0)
		return code;
	if (!w->run)
		return err_set(err, -ENOENT, "%s: no flip runs", w->name);
	if (!w->run->active)
		return err_set(err, -ENOENT, "%s: flip %s does not run, it is %s: see flipctl resolve %s",
			w->name, flip_id(w->run->flip), flip_state_name(flip_get_state(w->run->flip)),
			w->name);
	struct run *run = run_ref(w->run);
	struct strbuf why = {0};
	strbuf_addf(&why, "aborted by %s", user);
	code = flip_abort(run->flip, strbuf_str(&why), err);
	if (code == 0) {
		log_at(LOG_LEVEL_NOTICE, &(struct log_ctx){.cluster = w->name, .flip_id = flip_id(run->flip)},
			"abort asked for by %s", user);
		run_listen(run, on_event, r);
		(void)wait_until(r, run, has_returned, CLOCK_FOREVER);
		run_unlisten(run, r);
		command_answer(ret, flip_document(run->flip, true));
	}
	strbuf_free(&why);
	run_unref(run);
	return code == 0 || code == -EALREADY ? code : -ENOENT;
}

/* resolve */

static int read_word(const struct request *r, struct flip_word *ret, struct err *err)
{
	static const struct {
		const char *name;
		enum recover_word word;
	} words[] = {{"fenced", RECOVER_WORD_FENCED}, {"dead", RECOVER_WORD_DEAD}};
	const char *as = wire_get_str(r->args, "as");
	int side;

	*ret = (struct flip_word){.uid = r->uid, .accept_loss = wire_get_bool(r->args, "accept_loss")};
	if (!as && !wire_get_str(r->args, "side"))
		return 0;
	int code = command_side(r, "side", &side, err);
	if (code < 0)
		return code;
	for (size_t i = 0; i < COUNT_OF(words); i++) {
		if (!str_eq(words[i].name, as))
			continue;
		ret->said = true;
		ret->side = (enum conf_side)side;
		ret->word = words[i].word;
		return 0;
	}
	return err_set(err, -EINVAL, "as: fenced or dead is wanted, not %.64s", as ? as : "nothing");
}

/* A flip that recovers looks for itself; only one that has come to rest is looked through. */
static int MAY_WAIT explain_text(
	struct run *run, const struct flip_word *word, char **ret_text, bool *ret_may_lose, struct err *err)
{
	struct strbuf b = {0};
	int code = 0;

	if (fiber_mutex_lock(&run->looking, CLOCK_FOREVER) < 0)
		return err_set(err, -EIO, "interrupted");
	if (!run->active && flip_get_state(run->flip) != FLIP_ENDED) {
		code = flip_explain(run->flip, word, ret_text, ret_may_lose, err);
	} else {
		strbuf_addf(&b, "flip %s is %s: it looks again by itself until it can go on\n",
			flip_id(run->flip), flip_state_name(flip_get_state(run->flip)));
		*ret_text = b.data;
	}
	fiber_mutex_unlock(&run->looking);
	return code;
}

static int MAY_WAIT explain(
	struct run *run, const struct flip_word *word, struct strbuf *ret, struct err *err)
{
	bool may_lose = false;
	char *text = NULL;

	if (explain_text(run, word, &text, &may_lose, err) < 0)
		return command_failed(err);
	struct wire *o = wire_object();
	wire_set_str(o, "flip", flip_id(run->flip));
	wire_set_str(o, "state", flip_state_name(flip_get_state(run->flip)));
	wire_set_str(o, "text", text);
	wire_set_bool(o, "may_lose", may_lose);
	command_answer(ret, o);
	free(text);
	return 0;
}

static bool resolved(const struct run *run)
{
	return !run->active || flip_get_state(run->flip) == FLIP_ENDED;
}

static int MAY_WAIT go_on(
	struct request *r, struct run *run, const struct flip_word *word, struct strbuf *ret, struct err *err)
{
	/* Before the word: what explains looks with another one, and puts the flip's own back. */
	if (fiber_mutex_lock(&run->looking, CLOCK_FOREVER) < 0)
		return err_set(err, -EIO, "interrupted");
	if (r->server->stopping) {
		fiber_mutex_unlock(&run->looking);
		return err_set(err, -EBUSY, "flipd is about to stop");
	}
	if ((word->said || word->accept_loss) && flip_set_word(run->flip, word, err) < 0) {
		fiber_mutex_unlock(&run->looking);
		return command_failed(err);
	}
	if (run->watched)
		log_at(LOG_LEVEL_NOTICE,
			&(struct log_ctx){.cluster = run->watched->name, .flip_id = flip_id(run->flip)},
			"resolve asked for by %s", word->user);
	run_listen(run, on_event, r);
	/* While we waited it may have ended, or somebody else may have set it going. */
	if (!run->active && flip_get_state(run->flip) != FLIP_ENDED && !r->server->stopping)
		run_begin(run, true);
	fiber_mutex_unlock(&run->looking);
	cluster_poke(run->live->cluster);
	(void)wait_until(r, run, resolved, clock_us() + RESOLVE_WAIT_MS * 1000);
	run_unlisten(run, r);
	command_answer(ret, flip_document(run->flip, true));
	return 0;
}

/* No flip of ours: perhaps a row that another flipd left open. */
static int MAY_WAIT foreign(
	struct request *r, struct watched *w, const char *user, struct strbuf *ret, struct err *err)
{
	bool only_say = wire_get_bool(r->args, "explain");
	char *text = NULL, id[64];
	char name[64]; /* w may go while we wait */
	struct live *live = live_use(w);

	str_copy(name, sizeof(name), w->name);
	int code = flip_foreign(live->cluster, !only_say, &text, id, sizeof(id), err);

	if (code == 0)
		cluster_poke(live->cluster);
	live_done(live);
	if (code == -ENOENT)
		return code;
	if (code < 0)
		return command_failed(err);
	struct wire *o;
	if (only_say) {
		o = wire_object();
		wire_set_str(o, "flip", id);
		wire_set_str(o, "state", "unknown");
		wire_set_str(o, "text", text);
		wire_set_bool(o, "may_lose", false);
	} else {
		log_at(LOG_LEVEL_NOTICE, &(struct log_ctx){.cluster = name, .flip_id = id},
			"its row, left open by another flipd, was closed by %s", user);
		o = command_bare_flip(&(struct journal_flip){
			.id = id, .cluster = name, .state = "ended", .outcome = "nothing_to_do"});
	}
	command_answer(ret, o);
	free(text);
	return 0;
}

int command_resolve(struct request *r, struct strbuf *ret, struct err *err)
{
	struct flip_word word;
	struct watched *w;
	char user[sizeof(word.user)];

	control_user(r, user, sizeof(user));
	int code = command_cluster(r, &w, err);
	if (code == 0)
		code = read_word(r, &word, err);
	if (code < 0)
		return code;
	str_copy(word.user, sizeof(word.user), user);
	if (w->unreadable)
		return say_unreadable(w, -ENOENT, err);
	if (!w->run)
		return foreign(r, w, user, ret, err);
	if (w->run->active && flip_get_state(w->run->flip) == FLIP_RUNNING)
		return err_set(err, -EBUSY, "%s: flip %s is under way", w->name, flip_id(w->run->flip));
	struct run *run = run_ref(w->run);
	code = wire_get_bool(r->args, "explain") ? explain(run, &word, ret, err)
						 : go_on(r, run, &word, ret, err);
	run_unref(run);
	return code;
}
