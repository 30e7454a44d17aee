/* accounts: see accounts.h. */
#include "lib/model/accounts.h"

#include <errno.h>
#include <string.h>

#include "lib/base/str.h"

/* Without the quotes around it, where there are some. */
static int take_part(const char *s, size_t n, char *buf, size_t size)
{
	if (n >= 2 && s[0] == s[n - 1] && strchr("'`\"", s[0])) {
		s++;
		n -= 2;
	}
	if (n >= size)
		return -EINVAL;
	memcpy(buf, s, n);
	buf[n] = '\0';
	return 0;
}

int account_name_parse(const char *entry, struct account_name *ret)
{
	const char *at = strrchr(entry, '@'); /* no host has one */
	size_t n = at ? (size_t)(at - entry) : strlen(entry);

	*ret = (struct account_name){.any_host = !at};
	if (take_part(entry, n, ret->user, sizeof(ret->user)) < 0 || !ret->user[0])
		return -EINVAL;
	return at ? take_part(at + 1, strlen(at + 1), ret->host, sizeof(ret->host)) : 0;
}

bool account_name_matches(const char *entry, const char *user, const char *host)
{
	struct account_name name;

	return account_name_parse(entry, &name) == 0 && str_eq(name.user, user) &&
	       (name.any_host || str_ieq(name.host, host));
}
