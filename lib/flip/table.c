/* table: what must hold of the step table before anything runs it, and how it is printed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/str.h"
#include "lib/flip/flip_priv.h"

static int find(const struct step *t, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(t[i].name, name))
			return i;
	return -1;
}

static int check_row(const struct step *t, int n, int i, int pivot, struct err *err)
{
	const struct step *s = &t[i];
	int early;

	if (find(t, n, s->name) != i)
		return err_set(err, -EINVAL, "step %s: the name stands twice", s->name);
	if (!s->run)
		return err_set(err, -EINVAL, "step %s: no run", s->name);
	if (s->kind == BACK && s->changes && (!s->undo || !s->undone))
		return err_set(err, -EINVAL,
			"step %s changes the world before the pivot without undo and undone", s->name);
	if (s->either && s->changes)
		return err_set(err, -EINVAL, "step %s: `either` is for rows that change nothing", s->name);
	if (!s->either && s->kind == BACK && i > pivot)
		return err_set(err, -EINVAL, "step %s: BACK after the pivot", s->name);
	if (s->kind == FORWARD && i < pivot)
		return err_set(err, -EINVAL, "step %s: FORWARD before the pivot", s->name);
	if (!s->early)
		return 0;
	early = find(t, n, s->early);
	if (early < 0 || early > i)
		return err_set(err, -EINVAL, "step %s: early names no row before it", s->name);
	if (early < pivot && i >= pivot)
		return err_set(err, -EINVAL, "step %s: early crosses the pivot", s->name);
	return 0;
}

int steps_check(const struct step *t, int n, struct err *err)
{
	int pivot = -1, rc = 0;

	for (int i = 0; i < n; i++) {
		if (t[i].kind != PIVOT)
			continue;
		if (pivot >= 0)
			return err_set(err, -EINVAL, "step %s: a second PIVOT", t[i].name);
		pivot = i;
	}
	if (pivot < 0)
		return err_set(err, -EINVAL, "no step is the PIVOT");
	for (int i = 0; i < n && rc == 0; i++)
		rc = check_row(t, n, i, pivot, err);
	return rc;
}

static const char *kind_word(const struct step *s)
{
	static const char *const words[] = {[BACK] = "back", [PIVOT] = "pivot", [FORWARD] = "forward"};

	return s->either ? "either" : words[s->kind];
}

static void print_table(struct strbuf *b)
{
	strbuf_addf(b, "%-12s %-9s %-8s %-19s %s\n", "step", "side", "kind", "when", "does");
	for (int i = 0; i < steps_count; i++) {
		const struct step *s = &steps[i];
		char when[48] = "";
		if (s->early)
			(void)snprintf(when, sizeof(when), "early: %s%s", s->early, s->late ? ", late" : "");
		else if (s->late)
			str_copy(when, sizeof(when), "late");
		strbuf_addf(b, "%-12s %-9s %-8s %-19s %s\n", s->name, s->side[0] ? s->side : "-",
			kind_word(s), when[0] ? when : "-", s->does);
	}
}

static void print_dot(struct strbuf *b)
{
	strbuf_add(b, "digraph flip {\n\trankdir=LR;\n\tnode [shape=box];\n");
	for (int i = 0; i < steps_count; i++) {
		const struct step *s = &steps[i];
		strbuf_addf(b, "\t%s [label=\"%s\\n%s\"%s];\n", s->name, s->name, kind_word(s),
			s->kind == PIVOT ? ", style=bold" : "");
		if (i > 0)
			strbuf_addf(b, "\t%s -> %s;\n", steps[i - 1].name, s->name);
		if (s->early)
			strbuf_addf(b, "\t%s -> %s [style=dashed, label=early];\n", s->early, s->name);
		if (s->late)
			strbuf_addf(b, "\t%s -> finish [style=dashed, label=late];\n", s->name);
	}
	strbuf_add(b, "}\n");
}

char *steps_print(bool dot)
{
	struct strbuf b = {0};

	if (dot)
		print_dot(&b);
	else
		print_table(&b);
	return b.data;
}
