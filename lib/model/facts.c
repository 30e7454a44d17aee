/* facts: which server and which run of it was seen, and which of its channels leads to another server. */
#include "lib/model/facts.h"

#include "lib/base/str.h"

/* Servers tell their start in whole seconds, some as "now minus uptime": two looks may differ by that much.
 */
#define BOOT_SLACK_S 2

/* A uuid that both have outweighs the host name, which a managed service changes when it replaces the host.
 */
bool facts_same_server(const struct facts_identity *a, const struct facts_identity *b)
{
	if (a->server_id != b->server_id)
		return false;
	if (a->uuid[0] && b->uuid[0])
		return str_ieq(a->uuid, b->uuid);
	return str_ieq(a->hostname, b->hostname) && a->port == b->port;
}

bool facts_same_boot(const struct facts_identity *a, const struct facts_identity *b)
{
	int64_t apart = a->boot_s > b->boot_s ? a->boot_s - b->boot_s : b->boot_s - a->boot_s;

	return facts_same_server(a, b) && str_ieq(a->hostname, b->hostname) && apart <= BOOT_SLACK_S;
}

/*
 * Both marks at once count most: the server id of a channel is that of the last connection, stale after a
 * CHANGE MASTER and 0 before the first one.
 */
static int channel_match(const struct facts_channel *c, uint32_t server_id, const char *host, uint32_t port)
{
	bool same_id = server_id && c->master_server_id == server_id;
	bool same_host = host && str_ieq(c->host, host) && c->port == port;

	return same_id * 2 + same_host;
}

const struct facts_channel *facts_channel_from(
	const struct facts *f, uint32_t server_id, const char *host, uint32_t port)
{
	const struct facts_channel *best = NULL;
	int best_match = 0;

	for (int i = 0; i < f->nchannels && i < FACTS_CHANNELS_MAX; i++) {
		int match = channel_match(&f->channels[i], server_id, host, port);

		if (match > best_match) {
			best = &f->channels[i];
			best_match = match;
		}
	}
	return best;
}

const char *facts_setting(const struct facts *f, const char *name)
{
	for (int i = 0; i < f->nsettings; i++)
		if (str_ieq(f->settings[i].name, name))
			return f->settings[i].value;
	return NULL;
}

const struct facts_session *facts_waits_for_space(const struct facts_session *list, int n)
{
	for (int i = 0; i < n; i++)
		if (list[i].waits_for_space)
			return &list[i];
	return NULL;
}
