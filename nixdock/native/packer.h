/*
 * The packer: trees of files as tar members, and SHA-256 of two streams at once.
 *
 * It does what nixdock/tar/walk.py, header.py and write.py do, to the same bytes, for members whose
 * headers are of the usual kinds. Those modules are the reference, and this library is optional. It
 * is called through ctypes and is not tied to a version of Python.
 */
#ifndef NIXDOCK_PACKER_H
#define NIXDOCK_PACKER_H

#include <stddef.h>
#include <stdint.h>

/* What nixdock/native/library.py expects; count it up with each change of what follows. */
enum { NIXDOCK_PACKER_VERSION = 1, NIXDOCK_BLOCK = 512 };

extern const int nixdock_packer_version;

enum nixdock_fault {
    NIXDOCK_NO_FAULT = 0,
    NIXDOCK_TREE_FAULT = 1, /* A directory or a link can't be read; there is an errno. */
    NIXDOCK_FILE_FAULT = 2, /* A file can't be read; there is an errno. */
    NIXDOCK_GREW = 3,       /* A file has more bytes than when it was opened. */
    NIXDOCK_SHRANK = 4,     /* A file has fewer bytes than when it was opened. */
    NIXDOCK_UNUSUAL = 5,    /* This member is left to the reference: it is large, deep or a device,
                               or a name beside it is not ASCII, a whiteout or changed by Nix. */
};

/* Where a stream is, and why it ended if that is not its end. */
struct nixdock_place {
    int32_t fault;      /* An enum nixdock_fault. */
    int32_t number;     /* An errno, or 0. */
    uint64_t begun;     /* How many trees were begun; the last of them has the member. */
    uint64_t written;   /* How many bytes of that tree were read, all of earlier members. */
    uint64_t file_size; /* The size of the last file when it was opened. */
    const char *name;   /* The member's name, which lasts until the stream is closed. */
};

/*
 * Begin the stream of the trees `names[0]` to `names[count - 1]` in the open `directory`: of each
 * the root, and below directories all that they have, depth first and ordered by name. A member's
 * name is `prefix` with its path below `directory`. `header` is a ustar header of a block, whose
 * owner and time all members get. `names` and `directory` must last as long as the stream, which
 * one thread at a time may use. Return NULL, with an errno, on failure.
 */
struct nixdock_trees *nixdock_trees_open(const uint8_t *header, int directory, const char *prefix,
                                         const char *const *names, size_t count);

/*
 * Write the next bytes of the stream to `out`; return their number, which is `size` except before
 * the end or a fault. No symlink is ever followed.
 */
size_t nixdock_trees_read(struct nixdock_trees *trees, uint8_t *out, size_t size);

struct nixdock_place nixdock_trees_place(const struct nixdock_trees *trees);

void nixdock_trees_close(struct nixdock_trees *trees);

/* Return 1 if this CPU can do what follows. */
int nixdock_sha256_is_there(void);

/* Hash so many blocks of 64 bytes, of one stream or (else b_state is NULL) of each of two. */
void nixdock_sha256_blocks(uint32_t a_state[8], const uint8_t *a_data, uint32_t b_state[8],
                           const uint8_t *b_data, size_t blocks);

#endif
