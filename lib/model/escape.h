/* escape: texts from outside made fit for the formats that the status endpoint speaks. One function for each
 * format. */
#ifndef MODEL_ESCAPE_H
#define MODEL_ESCAPE_H

#include "lib/base/base.h"

struct strbuf;

/* HTML text or a quoted attribute: & < > " ' become entities. */
void escape_html(struct strbuf *, const char *s);
/* The value of a Prometheus label, between quotes: \, " and newline escaped. */
void escape_label(struct strbuf *, const char *s);

#endif
