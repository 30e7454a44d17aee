/* fake_node: what its two rooms share: a session as its client has it, and one call on it. */
#ifndef TESTS_SCENARIO_FAKE_NODE_H
#define TESTS_SCENARIO_FAKE_NODE_H

#include "tests/scenario/world.h"

struct node {
	const struct conf_server *conf;
	struct server *server;
};

struct session {
	struct node *node;
	struct server *server; /* a session may be closed after its node */
	struct session_mark mark;
	bool alive, busy;
	int boots;
};

struct stmt *stmt_new(enum op);
/* Sends it and waits; limit_ms is the server's own, 0 none. The statement lives as long as the world. */
enum act MAY_WAIT ask(struct session *, struct stmt *, int64_t limit_ms, int64_t deadline_us, struct err *);

#endif
