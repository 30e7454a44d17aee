/*
 * conf_secret: passwords and keys: given inline, in a file, in the environment or as a service credential;
 * kept where they can be wiped. No message of this file ever carries a secret.
 */
#include "lib/model/conf_priv.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_MAX 65536
#define WAYS 4

const char *conf_keep_secret(struct conf_box *box, const char *s, size_t n)
{
	struct conf_secret *kept = xcalloc(1, sizeof(*kept) + n + 1);

	kept->size = n + 1;
	memcpy(kept->text, s, n);
	kept->next = box->secrets;
	box->secrets = kept;
	return kept->text;
}

/* A text of at least one byte without its trailing newline; NULL after an error. */
static const char *keep_text(struct conf_reader *rd, const struct conf_node *n, const char *s, size_t len)
{
	if (len && s[len - 1] == '\n')
		len--;
	if (len && s[len - 1] == '\r')
		len--;
	if (len && !memchr(s, '\0', len))
		return conf_keep_secret(rd->box, s, len);
	conf_error(rd, n, NULL, len ? "leads to a text with a zero byte" : "leads to an empty text");
	return NULL;
}

/* Not by way of stdio, whose buffers would keep a copy. A pipe would block: regular files only. */
static int read_file(const char *path, char *buf, size_t size, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	size_t used = 0;
	ssize_t n = 0;
	int r = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		r = -EINVAL;
	while (r == 0 && used < size && (n = read(fd, buf + used, size - used)) > 0)
		used += (size_t)n;
	if (n < 0)
		r = -errno;
	else if (used == size)
		r = -EFBIG;
	(void)close(fd);
	*ret_len = used;
	return r;
}

static const char *from_path(struct conf_reader *rd, const struct conf_node *n, const char *path)
{
	char *buf = xcalloc(1, SECRET_MAX);
	const char *secret = NULL;
	size_t len = 0;
	int r = read_file(path, buf, SECRET_MAX, &len);

	if (r == -EINVAL)
		conf_error(rd, n, NULL, "%s is not a regular file", path);
	else if (r < 0)
		conf_error(rd, n, NULL, "%s cannot be read: %s", path, strerror(-r));
	else
		secret = keep_text(rd, n, buf, len);
	explicit_bzero(buf, SECRET_MAX);
	free(buf);
	return secret;
}

static const char *from_inline(struct conf_reader *rd, const struct conf_node *n)
{
	conf_warn(rd, n, NULL, "a secret in the configuration itself; a file of its own is safer");
	return keep_text(rd, n, n->text, strlen(n->text));
}

static const char *from_file(struct conf_reader *rd, const struct conf_node *n)
{
	if (n->text[0] == '/')
		return from_path(rd, n, n->text);
	conf_error(rd, n, NULL, "an absolute path is wanted, not '%.80s'", n->text);
	return NULL;
}

struct kept_env {
	struct kept_env *next;
	char *value, name[];
};

/*
 * A variable's value. Once read it is wiped where /proc/PID/environ shows it, and kept aside for the next
 * reload. NULL: there is none. Written to at the start, and by a reload for names that are new.
 */
static const char *take_env(const char *name)
{
	static struct kept_env *all;
	struct kept_env *k = all;
	char *s = getenv(name);

	while (k && !str_eq(k->name, name))
		k = k->next;
	if (!s || !*s)
		return s && k ? k->value : s;
	if (!k) {
		k = xcalloc(1, sizeof(*k) + strlen(name) + 1);
		memcpy(k->name, name, strlen(name));
		k->next = all;
		all = k;
	}
	str_free_secret(k->value);
	k->value = xstrdup(s);
	explicit_bzero(s, strlen(s));
	return k->value;
}

static const char *from_env(struct conf_reader *rd, const struct conf_node *n)
{
	const char *s = take_env(n->text);

	if (s)
		return keep_text(rd, n, s, strlen(s));
	conf_error(rd, n, NULL, "the environment has no %.80s", n->text);
	return NULL;
}

/* systemd.exec(5), LoadCredential=: a file of that name in $CREDENTIALS_DIRECTORY. */
static const char *from_credential(struct conf_reader *rd, const struct conf_node *n)
{
	const char *dir = getenv("CREDENTIALS_DIRECTORY");
	char path[4096];

	if (!dir)
		conf_error(rd, n, NULL, "no credentials: CREDENTIALS_DIRECTORY is not set");
	else if (!n->text[0] || n->text[0] == '.' || strchr(n->text, '/'))
		conf_error(rd, n, NULL, "no name of a credential");
	else if (snprintf(path, sizeof(path), "%s/%s", dir, n->text) < (int)sizeof(path))
		return from_path(rd, n, path);
	return NULL;
}

struct way {
	const char *suffix; /* of the key, after the secret's own name; NULL: the key is "credential" */
	const char *(*get)(struct conf_reader *, const struct conf_node *);
};

static const struct way ways[WAYS] = {
	{"", from_inline},
	{"_file", from_file},
	{"_env", from_env},
	{NULL, from_credential},
};

/* Once for each node, however many servers use it. */
static const char *get_secret(struct conf_reader *rd, const struct way *w, const struct conf_node *n)
{
	if (n->kind != CONF_NODE_SCALAR) {
		conf_error(rd, n, NULL, "a value is missing");
		return NULL;
	}
	if (!*n->secret && !rd->journaled) {
		*n->secret = w->get(rd, n);
		if (w->get == from_inline)
			explicit_bzero(n->text, strlen(n->text));
	}
	return *n->secret;
}

/* The one way in which a layer gives the secret; an error for a second one. */
static const struct way *find_way(
	struct conf_reader *rd, const char *name, const struct conf_node *layer, const struct conf_node **ret)
{
	const struct way *found = NULL;

	for (size_t i = 0; i < WAYS; i++) {
		char key[64];
		const struct conf_node *n;

		(void)snprintf(key, sizeof(key), "%s%s", ways[i].suffix ? name : "credential",
			ways[i].suffix ? ways[i].suffix : "");
		n = conf_node_get(layer, key);
		if (n && found)
			conf_error(rd, n, NULL, "%s stands at %s:%d already; give one of them", (*ret)->key,
				(*ret)->file, (*ret)->line);
		else if (n) {
			found = &ways[i];
			*ret = n;
		}
	}
	return found;
}

/* A more specific layer's way replaces whatever the others have. */
static void read_secret(
	struct conf_reader *rd, const struct conf_key *k, const struct conf_layers *layers, void *field)
{
	for (int i = layers->n - 1; i >= 0; i--) {
		const struct conf_node *n = NULL;
		const struct way *w = find_way(rd, k->name, layers->v[i], &n);

		if (w) {
			*(const char **)field = get_secret(rd, w, n);
			return;
		}
	}
}

static void print_secret(struct conf_printer *p, const struct conf_key *k, const void *field)
{
	if (p->secrets && *(const char *const *)field)
		conf_print_line(p, "%s: '***'", k->name);
}

const struct conf_type conf_type_secret = {"secret", NULL, read_secret, print_secret};
const struct conf_type conf_type_secret_way = {"string", NULL, NULL, NULL};
