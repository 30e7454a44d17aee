/* scenario: reads scripts, runs each in a process of its own: a flip from source to target, and back; tells
 * what did not hold. */
#include "tests/scenario/script/script.h"

#include <ctype.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/scenario/fake_loop.h"

#define LINES_MAX 64

struct script {
	const char *path;
	int n;
	char *line[LINES_MAX]; /* without comments and blank ones */
	char variable[24];     /* of `for`, with its values */
	int nvalues;
	char *values[WORDS_MAX];
	const char *value; /* of this run, or NULL */
	bool back;	   /* this run flips back: source and target change places */
};

static const char *script_name = "";
static int64_t seed = 1;

void scenario_bad(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fprintf(stderr, "%s: ", script_name);
	(void)vfprintf(stderr, fmt, ap);
	(void)fputc('\n', stderr);
	va_end(ap);
	exit(2);
}

/* --- words --- */

void words_split(struct words *l, const char *line)
{
	char *p = l->buf;

	l->n = 0;
	str_copy(l->buf, sizeof(l->buf), line);
	while (*p && l->n < WORDS_MAX) {
		p += strspn(p, " \t");
		if (!*p)
			return;
		const char *end = *p == '"' ? "\"" : *p == '\'' ? "'" : " \t";
		p += end[0] != ' ';
		l->v[l->n++] = p;
		p += strcspn(p, end);
		if (*p)
			*p++ = '\0';
	}
}

const char *words_rest(const struct words *l, int i)
{
	struct strbuf b = {0};
	const char *text;

	for (; i < l->n; i++)
		strbuf_addf(&b, "%s%s", b.len ? " " : "", l->v[i]);
	text = arena_strdup(w.arena, strbuf_str(&b));
	strbuf_free(&b);
	return text;
}

const char *words_at(const struct words *l, int i)
{
	return i < l->n ? l->v[i] : "";
}

int64_t words_us(const char *duration)
{
	int64_t us;

	if (str_parse_duration_us(duration, &us) < 0)
		scenario_bad("%s is no duration", duration);
	return us;
}

int words_server(const char *name)
{
	if (!strcmp(name, "old"))
		return w.from;
	if (!strcmp(name, "new"))
		return w.to;
	for (int i = 0; i < w.nservers; i++)
		if (!strcmp(w.server[i].name, name))
			return i;
	scenario_bad("no server is called %s", name);
	return 0;
}

enum op words_op(const char *name)
{
	for (int i = 0; i < OPS; i++)
		if (!strcmp(op_name((enum op)i), name))
			return (enum op)i;
	scenario_bad("no statement is called %s", name);
	return OPS;
}

/* --- the world of a script --- */

/* fence SIDE outer|only-outer|security-group: beside read_only, or without it; or one of no adapter. */
static void add_fence(const struct words *l, const char *fence[2])
{
	int side = strcmp(l->v[1], "source") != 0;
	const char *hook = side ? FENCE_HOOK_TARGET : FENCE_HOOK_SOURCE;
	struct strbuf b = {0};

	if (!strcmp(l->v[2], "security-group"))
		strbuf_add(&b, ", fence: [read_only, {security_group: {region: r, instance_id: i, open: [a], "
			       "closed: [b]}}]");
	else
		strbuf_addf(&b, ", fence: [%s{hook: {path: %s}}]",
			strcmp(l->v[2], "outer") ? "" : "read_only, ", hook);
	fence[side] = xstrdup(strbuf_str(&b));
	strbuf_free(&b);
}

/* endpoint none | after_open | hook | many: one that waits for the opening between two that do not. */
#define HOOK_ENDPOINT "{hook: {path: /bin/true}}"
#define MORE_ENDPOINTS ", {hook: {path: /bin/true, order: after_open}}, {hook: {path: /bin/false}}"

static void make_yaml(const struct script *s, struct strbuf *b, bool *ret_gtid)
{
	struct strbuf set = {0}, hooks = {0};
	const char *fence[2] = {"", ""}, *all, *order = "before_open", *more = "";
	bool named = true;
	struct words l;
	int replicas = 0;

	*ret_gtid = true;
	for (int i = 0; i < s->n; i++) {
		words_split(&l, s->line[i]);
		if (!strcmp(l.v[0], "cluster")) {
			*ret_gtid = strcmp(l.v[1], "file") != 0;
			replicas = l.n > 3 ? atoi(l.v[3]) : 0;
		} else if (!strcmp(l.v[0], "set"))
			strbuf_addf(&set, ", %s: %s", l.v[1], l.v[2]);
		else if (!strcmp(l.v[0], "hook"))
			strbuf_addf(&hooks, "%s%s: [/bin/true]", hooks.len ? ", " : "", l.v[1]);
		else if (!strcmp(l.v[0], "fence"))
			add_fence(&l, fence);
		else if (!strcmp(l.v[0], "endpoint")) {
			order = l.v[1][0] == 'a' ? "after_open" : order;
			named = l.v[1][0] == 'a' || l.v[1][0] == 'm';
			more = l.v[1][0] == 'm' ? MORE_ENDPOINTS : l.v[1][0] == 'h' ? HOOK_ENDPOINT : "";
		} else if (!strcmp(l.v[0], "seed"))
			seed = atoll(l.v[1]);
	}
	all = strbuf_str(&set);
	strbuf_addf(b,
		"defaults: {user: flipd, password: x, replication: {user: repl, password: y}, "
		"%s%s}\n"
		"clusters: {c: {source: {host: 10.1.0.5%s}, target: {host: 10.2.0.5%s}, hooks: {%s}, "
		"replicas: [",
		strstr(all, "settle_timeout") ? "" : "settle_timeout: 20s, ", *all ? all + 2 : "max_lag: 1s",
		fence[0], fence[1], strbuf_str(&hooks));
	for (int i = 0; i < replicas; i++)
		strbuf_addf(b, "%s{name: r%d, host: 10.1.0.%d}", i ? ", " : "", i + 1, 10 + i);
	strbuf_add(b, "], endpoints: [");
	if (named)
		strbuf_addf(b,
			"{dns: {name: db.example.com., zone: example.com., type: CNAME, ttl: 5s, servers: "
			"['10.0.0.53'], source: a.example.com., target: b.example.com., order: %s}}",
			order);
	strbuf_addf(b, "%s]}}\n", more);
	strbuf_free(&set);
	strbuf_free(&hooks);
}

/* at step NAME, at|after op NAME [SERVER], at|after journal KIND, at DURATION; then +DURATION, skip N. */
static struct trigger *parse_when(const struct words *l, int colon)
{
	bool after = !strcmp(l->v[0], "after");
	struct trigger *t;
	int i = 3;

	if (!strcmp(l->v[1], "step")) {
		t = trigger_add(WHEN_STEP, l->v[2], NULL);
	} else if (!strcmp(l->v[1], "op")) {
		t = trigger_add(after ? WHEN_AFTER_OP : WHEN_OP, l->v[2], NULL);
		t->op = words_op(l->v[2]);
		if (i < colon && l->v[i][0] != '+' && strcmp(l->v[i], "skip") != 0)
			t->server = words_server(l->v[i++]);
	} else if (!strcmp(l->v[1], "journal")) {
		t = trigger_add(after ? WHEN_AFTER_JOURNAL : WHEN_JOURNAL, l->v[2], NULL);
	} else {
		t = trigger_add(WHEN_TIME, l->v[1], NULL);
		t->delay_us = words_us(l->v[1]);
		i = 2;
	}
	for (; i < colon; i++) {
		if (l->v[i][0] == '+')
			t->delay_us = words_us(l->v[i] + 1);
		else if (!strcmp(l->v[i], "skip"))
			t->skip = atoi(l->v[++i]);
	}
	return t;
}

static void parse_trigger(const char *line)
{
	char when[200];
	struct words l;
	const char *colon = strstr(line, ": ");
	struct trigger *t;

	if (!colon)
		scenario_bad("no colon: %s", line);
	str_copy(when, (size_t)(colon - line) + 1 < sizeof(when) ? (size_t)(colon - line) + 1 : sizeof(when),
		line);
	words_split(&l, when);
	t = parse_when(&l, l.n);
	if (t->when == WHEN_TIME && w.begun_us + t->delay_us + 600000 > w.judge_from_us)
		w.judge_from_us = w.begun_us + t->delay_us + 600000;
	words_split(&l, colon + 2);
	act_parse(t, &l, 0);
}

static void parse_allow(const struct words *l)
{
	w.may_be_stuck |= !strcmp(l->v[1], "stuck") || !strcmp(l->v[1], "hands");
	w.may_not_end |= !strcmp(l->v[1], "unended");
	w.hands |= !strcmp(l->v[1], "hands");
	w.foreign_lock |= !strcmp(l->v[1], "foreign");
	w.may_be_missed |= !strcmp(l->v[1], "missed");
}

static void parse_line(const char *line)
{
	static const char *const known[] = {"cluster", "set", "hook", "seed", "endpoint"};
	struct words l;

	words_split(&l, line);
	if (begin_parse(&l))
		return;
	if (!strcmp(l.v[0], "at") || !strcmp(l.v[0], "after"))
		parse_trigger(line);
	else if (!strcmp(l.v[0], "expect"))
		expect_add(&l);
	else if (!strcmp(l.v[0], "allow"))
		parse_allow(&l);
	else {
		for (size_t i = 0; i < COUNT_OF(known); i++)
			if (!strcmp(l.v[0], known[i]))
				return;
		scenario_bad("what is %s", line);
	}
}

static int run_script(const struct script *s, bool tell)
{
	struct strbuf yaml = {0};
	bool gtid;

	make_yaml(s, &yaml, &gtid);
	world_new(strbuf_str(&yaml), (uint64_t)seed, gtid, s->back ? CONF_TARGET : CONF_SOURCE);
	strbuf_free(&yaml);
	plan = (struct plan){.to = (enum conf_side)w.to};
	w.after_life = operator_takes_up;
	for (int i = 0; i < s->n; i++)
		parse_line(s->line[i]);
	life_run_all(plan.last_ms ? plan.last_ms : 120000);
	expect_judge();
	if (w.violations)
		printf("FAILED: %s%s%s%s: %s\n", s->path, s->value ? " " : "", s->value ? s->value : "",
			s->back ? " (back)" : "", w.first_violation);
	if (w.violations || tell)
		world_dump();
	(void)fflush(stdout);
	return w.violations ? 1 : 0;
}

/* --- scripts --- */

static bool is_word(const char *line, const char *p, const char *word)
{
	size_t len = strlen(word);

	return !strncmp(p, word, len) && !isalnum((unsigned char)p[len]) && p[len] != '_' &&
	       (p == line || (!isalnum((unsigned char)p[-1]) && p[-1] != '_'));
}

/* The line with the value of `for` in its place; on the way back with the two sides in each other's. */
static char *put_in(const struct script *s, const char *line)
{
	static const char *const sides[] = {"source", "target"};
	struct strbuf b = {0};
	size_t len = strlen(s->variable);
	char *text;

	for (const char *p = line; *p;) {
		if (s->back && (is_word(line, p, sides[0]) || is_word(line, p, sides[1]))) {
			strbuf_add(&b, sides[*p == 's']);
			p += strlen(sides[0]);
			continue;
		}
		if (s->value && *p == '$' && !strncmp(p + 1, s->variable, len)) {
			strbuf_add(&b, s->value);
			p += 1 + len;
		} else
			strbuf_addn(&b, p++, 1);
	}
	text = xstrdup(strbuf_str(&b));
	strbuf_free(&b);
	return text;
}

static void read_script(const char *path, struct script *s)
{
	FILE *file = fopen(path, "r");
	char line[400];
	struct words l;

	*s = (struct script){.path = path};
	script_name = path;
	if (!file)
		scenario_bad("cannot be read");
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "#\n")] = '\0';
		words_split(&l, line);
		if (l.n == 0)
			continue;
		if (!strcmp(l.v[0], "for")) {
			str_copy(s->variable, sizeof(s->variable), l.v[1]);
			for (int i = 2; i < l.n; i++)
				s->values[s->nvalues++] = xstrdup(l.v[i]);
		} else if (s->n < LINES_MAX)
			s->line[s->n++] = xstrdup(line);
	}
	(void)fclose(file);
}

static void free_script(struct script *s)
{
	for (int i = 0; i < s->n; i++)
		free(s->line[i]);
	for (int i = 0; i < s->nvalues; i++)
		free(s->values[i]);
}

static int run_apart(struct script *s, const char *value, bool back, bool tell)
{
	int status;
	pid_t pid;

	(void)fflush(stdout);
	pid = fork();
	if (pid < 0)
		exit(2);
	if (pid == 0) {
		(void)alarm(60);
		s->value = value;
		s->back = back;
		for (int i = 0; i < s->n; i++)
			s->line[i] = put_in(s, s->line[i]);
		world_leave(run_script(s, tell));
	}
	if (waitpid(pid, &status, 0) < 0)
		exit(2);
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
		printf("FAILED: %s %s: the process ended with status %x\n", s->path, value ? value : "",
			(unsigned)status);
	return status ? 1 : 0;
}

int main(int argc, char **argv)
{
	int passed = 0, failed = 0;
	glob_t found = {0};
	bool all = argc < 2;

	if (all && (glob("tests/scenario/*.scn", 0, NULL, &found) != 0 || found.gl_pathc == 0))
		scenario_bad("no scripts here: run it from the root of the tree");
	for (size_t i = 0; i < (all ? found.gl_pathc : (size_t)argc - 1); i++) {
		struct script s;

		read_script(all ? found.gl_pathv[i] : argv[i + 1], &s);
		for (int v = 0; v < (s.nvalues ? s.nvalues : 1); v++) {
			for (int back = 0; back < 2; back++) {
				int rc = run_apart(
					&s, s.nvalues ? s.values[v] : NULL, back, argc == 2 && !back);
				passed += !rc;
				failed += rc;
			}
		}
		free_script(&s);
	}
	globfree(&found);
	printf("%d passed, %d failed\n", passed, failed);
	return failed ? 1 : 0;
}
