/* world_between: what lies between the servers and flipd, and what is said of them: logs and replication, the
 * net, an operator's word. Part of world.h. */
#ifndef TESTS_WORLD_BETWEEN_H
#define TESTS_WORLD_BETWEEN_H

#include "tests/scenario/world.h"

/* world_repl.c */
void log_append(struct server *, struct gtid, int kind, int64_t value);
void log_lose(struct server *, int n);
void log_write(struct server *, int kind, int64_t value); /* as the server's own next transaction */
void link_set(struct server *, int master, bool use_gtid, int at_entry);
void link_start(struct server *);
void link_stop(struct server *);
void link_forget(struct server *);
void link_break(struct server *); /* as a crash may: it can go on with nothing that it remembers */
void link_wake_all(void);
bool goal_reached(struct server *, const struct node_goal *, bool *ret_never);
void server_position(const struct server *, struct facts_position *ret);
int entry_at(uint64_t pos);
uint64_t pos_of(int entry);
const char *link_io(const struct server *);

/* world_net.c */
void net_reset(void);
/* flipd cannot reach it, for ever with -1; cut: nor can what replicates. */
void net_partition(struct server *, bool cut, int64_t us);
void net_heal(struct server *);
void net_keep_end(const struct wsession *); /* that its client has gone is noticed then */
/* To be delivered when it can be reached again. */
void net_keep(struct server *, void (*deliver)(void *), void *arg);

/* world_word.c */
#define LAST_TRY_US 600000 /* what flipd gives a side to answer right before it acts on a word about it */
extern struct flip_word pending_word; /* an operator's, not yet given to the flip */
/* False: there is no flip now that could be told; one that is stuck takes it up by operator_takes_up(). */
bool operator_says(const struct flip_word *);
bool MAY_WAIT operator_takes_up(void);
void word_seen(const struct server *);
void word_used(const struct server *);
bool out_of_sight(const struct server *); /* of flipd, or was a moment ago */
bool word_excuses(const struct server *);
bool word_excuses_end(const struct server *);

#endif
