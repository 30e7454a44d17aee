/*
 * world_word: what an operator says to the flip, and what exactly it excuses. A word that a side is dead
 * speaks for a side that flipd cannot see, until it has seen it again; a loss accepted gives up what that
 * side alone took, nothing else.
 */
#include <string.h>

#include "tests/scenario/fake_loop.h"
#include "tests/scenario/world.h"

struct flip_word pending_word;

/* As the daemon has it: resolve without options leaves the word as it is. */
static bool says_anything(const struct flip_word *word)
{
	return word->word != RECOVER_WORD_NONE || word->accept_loss;
}

static void said(const struct flip_word *word)
{
	bool on_side = word->word != RECOVER_WORD_NONE;
	int side = on_side ? (int)word->side : w.from;

	note("an operator says: %s%s%s", on_side ? w.server[side].name : "as it is",
		word->word == RECOVER_WORD_DEAD	    ? " is dead"
		: word->word == RECOVER_WORD_FENCED ? " is fenced"
						    : "",
		word->accept_loss ? ", a loss is accepted" : "");
	w.word[0].said_us = w.word[1].said_us = 0; /* the last word alone holds */
	if (on_side)
		w.word[side].said_us = w.word[side].ever_us = vtime_us();
	w.word[0].gives_up = w.word[1].gives_up = false;
	w.word[side].gives_up = word->accept_loss;
	w.word[side].holds_though_seen = !on_side;
}

static void give(struct flip *f)
{
	struct err err = {0};

	if (!says_anything(&pending_word))
		return;
	if (flip_set_word(f, &pending_word, &err) < 0)
		note("the word is not taken: %s", err_text(&err));
	else
		said(&pending_word);
}

static void word_fiber(void *arg)
{
	struct flip *f = arg;

	if (w.flip != f || !pending_word.said)
		return;
	give(f);
	pending_word.said = false;
}

bool operator_says(const struct flip_word *word)
{
	pending_word = *word;
	pending_word.said = true;
	if (w.flip && flip_get_state(w.flip) == FLIP_RECOVERING)
		fiber_detach(fiber_spawn("resolve", word_fiber, w.flip));
	return w.flip && (flip_get_state(w.flip) == FLIP_RECOVERING || flip_get_state(w.flip) == FLIP_STUCK);
}

bool MAY_WAIT operator_takes_up(void)
{
	if (!pending_word.said || !w.flip || flip_get_state(w.flip) != FLIP_STUCK)
		return false;
	w.ended = false;
	give(w.flip);
	pending_word.said = false;
	life_recover(w.flip);
	return true;
}

/* flipd has seen that side: a word that it is out of reach has come to its end. */
void word_seen(const struct server *s)
{
	if (s->index > 1)
		return;
	w.word[s->index].said_us = 0;
	if (!w.word[s->index].holds_though_seen)
		w.word[s->index].gives_up = false;
}

/* The other side is opened: what s alone has is given up by it, where that was accepted. */
void word_used(const struct server *s)
{
	if (w.word[s->index].gives_up)
		w.word[s->index].given_up = true;
}

/* New connections fail there, or did a moment ago; sessions that it had have gone with its restart. */
static bool refuses(const struct server *s)
{
	for (int i = 0; i < w.nspoils; i++) {
		const struct spoil *b = &w.spoil[i];
		if (!strcmp(b->what, "connect") && (!strcmp(b->where, s->name) || !strcmp(b->where, "any")) &&
			vtime_us() < b->until_us + LAST_TRY_US)
			return true;
	}
	return false;
}

bool out_of_sight(const struct server *s)
{
	return s->partitioned || refuses(s);
}

/* Whether s, open, stands for dead by an operator's word, and flipd cannot know better: it cannot see it, or
 * could not until a moment ago. */
bool word_excuses(const struct server *s)
{
	return w.word[s->index].said_us &&
	       (out_of_sight(s) || vtime_us() - s->in_reach_since_us <= LAST_TRY_US);
}

/* The same when the flip has ended: nobody looks at it from then on but the watcher. */
bool word_excuses_end(const struct server *s)
{
	int64_t last_us = w.closing_us ? w.closing_us : w.ended_us;

	return w.word[s->index].ever_us && (out_of_sight(s) || s->in_reach_since_us > last_us - LAST_TRY_US);
}
