/* Headers of tar members, for the sources of the library alone. */
#ifndef NIXDOCK_HEADER_H
#define NIXDOCK_HEADER_H

#include "packer.h"

#include <stdbool.h>

enum {
    MOST_RECORD = NIXDOCK_LONGEST + 32, /* With the digits and the key. */
    MOST_HEADER = 2 * MOST_RECORD + 3 * NIXDOCK_BLOCK,
};

/* A member, whose name ends with a slash if it is a directory; the target need not end with a 0. */
struct member {
    const char *name;
    size_t name_size;
    char kind;
    unsigned int mode;
    uint64_t size;
    const char *target;
    size_t target_size;
};

bool nixdock_is_ascii(const char *text, size_t size);

/*
 * Write the header of a member, preceded by an extended header if it needs one, to `out`, which has
 * room for MOST_HEADER bytes. Return its size, or 0 if the header is not of the usual kinds.
 */
size_t nixdock_header(uint8_t *out, const uint8_t *template, const struct member *member);

#endif
