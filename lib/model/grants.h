/*
 * grants: the SQL that creates flipd's accounts with the least privileges, per flavor; needs no server. Shared text of
 * `flipctl grants`, preflight's hints and the manual.
 */
#ifndef MODEL_GRANTS_H
#define MODEL_GRANTS_H

#include "lib/base/base.h"

struct strbuf;
/* One statement a line; 0, or -EINVAL for a flavor it does not know. */
int grants_text(const char *flavor, struct strbuf *ret) MUSTCHECK;

#endif
