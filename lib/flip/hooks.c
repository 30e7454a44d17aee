/* hooks: the points under `hooks:` in the configuration. Each is run in order; the first that fails ends a
 * list that must succeed, elsewhere it is a warning. */
#include <errno.h>

#include "lib/flip/flip_priv.h"

#define HOOK_LIMIT_MS 30000 /* hooks at points have no time-out of their own in the configuration */

int MAY_WAIT hooks_run(
	struct flip *f, const struct conf_list *hooks, const char *action, bool must, struct err *err)
{
	f->ctx.outcome = flip_outcome_name(f->outcome);
	for (int i = 0; i < hooks->n; i++) {
		struct err why = {0};
		enum act act;
		char name[200];

		(void)conf_hook_name(hooks->v[i], name, sizeof(name));
		fiber_doing("hook %s (%s)", name, action);
		act = hook_run(hooks->v[i], action, &f->ctx, flip_deadline(HOOK_LIMIT_MS), &why);
		if (act == ACT_DONE)
			continue;
		err_wrap(&why, "hook %s (%s)", name, action);
		if (must) {
			*err = why;
			return why.code == -ECANCELED ? -ECANCELED : -EREMOTEIO;
		}
		flip_warn(f, "%s", err_text(&why));
		if (why.code == -ECANCELED) /* it came to this one, and is for all */
			return -ECANCELED;
	}
	return 0;
}
