/* conf: files into a snapshot, and the snapshot's life. */
#include "lib/model/conf_priv.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (8 << 20)
#define FILES_MAX 1000

struct conf_box *conf_box_new(const char *file)
{
	struct conf_box *box = xcalloc(1, sizeof(*box));

	box->refs = 1;
	box->arena = arena_new();
	box->conf.file = arena_strdup(box->arena, file);
	return box;
}

static void box_free(struct conf_box *box)
{
	while (box->secrets) {
		struct conf_secret *s = box->secrets;

		box->secrets = s->next;
		explicit_bzero(s->text, s->size);
		free(s);
	}
	arena_free(box->arena);
	free(box);
}

struct conf *conf_ref(struct conf *c)
{
	container_of(c, struct conf_box, conf)->refs++;
	return c;
}

void conf_unref(struct conf *c)
{
	struct conf_box *box;

	if (!c)
		return;
	box = container_of(c, struct conf_box, conf);
	assert(box->refs > 0);
	if (--box->refs == 0)
		box_free(box);
}

void conf_errors_free(struct conf_errors *e)
{
	for (int i = 0; i < e->n; i++)
		free(e->v[i]);
	free(e->v);
	*e = (struct conf_errors){0};
}

int conf_finish(struct conf_reader *rd, struct conf **ret)
{
	conf_read_all(rd);
	arena_free(rd->scratch);
	if (rd->errors->n) {
		box_free(rd->box);
		return -EINVAL;
	}
	*ret = &rd->box->conf;
	return 0;
}

static struct conf_reader reader_start(const char *file, struct conf_errors *errors)
{
	struct conf_reader rd = {.box = conf_box_new(file), .errors = errors};

	*errors = (struct conf_errors){0};
	rd.arena = rd.box->arena;
	rd.scratch = arena_new();
	return rd;
}

static void read_text(struct conf_reader *rd, const char *file, const char *text, size_t len)
{
	if (len <= FILE_MAX) {
		conf_yaml_read(rd, file, text, len);
		return;
	}
	conf_error_at(rd, file, 1, "file", "larger than %d bytes", FILE_MAX);
	rd->partial = true;
}

int conf_load_text(
	const char *text, size_t len, const char *file, struct conf **ret, struct conf_errors *errors)
{
	struct conf_reader rd = reader_start(file, errors);

	read_text(&rd, file, text, len);
	return conf_finish(&rd, ret);
}

/* All of a regular file, at most FILE_MAX + 1 bytes of it; wiped and freed by the caller. */
static int slurp(const char *path, char **ret, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), r = 0;
	struct stat st;
	size_t used = 0, size;
	ssize_t n = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		r = -EINVAL;
	size = r < 0 || st.st_size > FILE_MAX ? FILE_MAX + 1 : (size_t)st.st_size + 1;
	*ret = xcalloc(1, size);
	while (r == 0 && used < size && (n = read(fd, *ret + used, size - used)) > 0)
		used += (size_t)n;
	if (n < 0)
		r = -errno;
	(void)close(fd);
	if (r < 0)
		free(*ret);
	*ret_len = used;
	return r;
}

static void read_file(struct conf_reader *rd, const char *path)
{
	char *text = NULL;
	size_t len = 0;
	int r = slurp(path, &text, &len);

	if (r < 0 || !text) {
		conf_error_at(rd, path, 1, "file", "cannot be read: %s",
			r == -EINVAL ? "not a regular file" : strerror(-r));
		rd->partial = true;
		return;
	}
	read_text(rd, path, text, len);
	explicit_bzero(text, len);
	free(text);
}

static int is_yaml(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return d->d_name[0] != '.' && n > 5 && str_eq(d->d_name + n - 5, ".yaml");
}

static int compare_bytes(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* conf.d beside the file; a directory that is not there is an empty one. */
static void read_more(struct conf_reader *rd, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *dir = arena_printf(rd->scratch, "%.*sconf.d", slash ? (int)(slash - path) + 1 : 0, path);
	struct dirent **names = NULL;
	int n = scandir(dir, &names, is_yaml, compare_bytes);

	if (n < 0 && errno != ENOENT)
		conf_error_at(rd, dir, 1, "file", "cannot be read: %s", strerror(errno));
	if (n > FILES_MAX)
		conf_error_at(rd, dir, 1, "file", "more than %d files", FILES_MAX);
	for (int i = 0; i < n; i++) {
		if (n <= FILES_MAX)
			read_file(rd, arena_printf(rd->scratch, "%s/%s", dir, names[i]->d_name));
		free(names[i]);
	}
	free(names);
}

int conf_load(const char *path, struct conf **ret, struct conf_errors *errors)
{
	struct conf_reader rd = reader_start(path, errors);

	read_file(&rd, path);
	read_more(&rd, path);
	return conf_finish(&rd, ret);
}

const struct conf_cluster *conf_find_cluster(const struct conf *c, const char *name)
{
	for (int i = 0; i < c->nclusters; i++)
		if (str_eq(c->clusters[i].name, name))
			return &c->clusters[i];
	return NULL;
}

const struct conf_group *conf_find_group(const struct conf *c, const char *name)
{
	for (int i = 0; i < c->ngroups; i++)
		if (str_eq(c->groups[i].name, name))
			return &c->groups[i];
	return NULL;
}

const char *conf_side_name(enum conf_side side)
{
	return side == CONF_SOURCE ? "source" : "target";
}

const char *conf_flavor_name(enum conf_flavor flavor)
{
	return conf_flavor_words[flavor];
}

const char *conf_fence_kind_name(enum conf_fence_kind kind)
{
	return conf_fence_kinds[kind].word;
}
