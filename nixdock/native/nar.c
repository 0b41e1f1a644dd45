/*
 * NARs as tar members; packer.h says what this is.
 *
 * The NAR is what somebody has sent. Each read from it is behind a comparison with its end, and all
 * that is not a valid and common entry is left to the reference, which knows what to say of it.
 */
#include "header.h"

#include <string.h>

/* Strings of a NAR: eight bytes of length, the text, and zeros up to a multiple of eight. */
#define STRING(length, text) length "\0\0\0\0\0\0\0" text
#define OPEN STRING("\1", "(\0\0\0\0\0\0\0")
#define CLOSE STRING("\1", ")\0\0\0\0\0\0\0")
#define ENTRY STRING("\5", "entry\0\0\0") OPEN STRING("\4", "name\0\0\0\0")
#define NODE STRING("\4", "node\0\0\0\0") OPEN STRING("\4", "type\0\0\0\0")
#define DIRECTORY STRING("\11", "directory\0\0\0\0\0\0\0")
#define SYMLINK STRING("\7", "symlink\0") STRING("\6", "target\0\0")
#define REGULAR STRING("\7", "regular\0")
#define EXECUTABLE STRING("\12", "executable\0\0\0\0\0\0") STRING("\0", "")
#define CONTENTS STRING("\10", "contents")

enum {
    MOST_FILE_NAME = 255,
    /* From this size on, passing contents on takes less time than copying them. */
    LEAST_PASSED_ON = 1 << 18,
};

struct input {
    const uint8_t *at;
    const uint8_t *end;
};

static size_t left_of(const struct input *in)
{
    return (size_t)(in->end - in->at);
}

static bool skip(struct input *in, const char *text, size_t size)
{
    if (left_of(in) < size || memcmp(in->at, text, size) != 0)
        return false;
    in->at += size;
    return true;
}

/* The text is an array, with a 0 behind it. */
#define SKIP(in, text) skip(in, text, sizeof(text) - 1)

/* How many zeros follow a string of this size. */
static size_t padding_of(uint64_t size)
{
    return (size_t)(-size % 8);
}

static bool skip_zeros(struct input *in, size_t count)
{
    return skip(in, "\0\0\0\0\0\0\0", count);
}

static bool take_number(struct input *in, uint64_t *number)
{
    if (left_of(in) < 8)
        return false;
    *number = 0;
    for (int i = 7; i >= 0; i--)
        *number = *number << 8 | in->at[i];
    in->at += 8;
    return true;
}

/* Take a string that is neither empty nor longer than `most`, and has no 0; return NULL if not. */
static const char *take_text(struct input *in, size_t most, size_t *size)
{
    uint64_t length;
    const char *text;
    if (!take_number(in, &length) || length == 0 || length > most || length > left_of(in))
        return NULL;
    text = (const char *)in->at;
    *size = (size_t)length;
    in->at += length;
    return memchr(text, 0, *size) == NULL && skip_zeros(in, padding_of(length)) ? text : NULL;
}

/* Tell whether a file may come after `last` in a directory, by the rules of NARs and of layers. */
static bool is_next(const char *file, size_t size, const char *last, size_t last_size)
{
    int order = memcmp(file, last, size < last_size ? size : last_size);
    if (order < 0 || (order == 0 && size <= last_size) || !nixdock_is_ascii(last, last_size))
        return false;
    return memchr(file, '/', size) == NULL && (size < 4 || memcmp(file, ".wh.", 4) != 0)
        && !(file[0] == '.' && (size == 1 || (size == 2 && file[1] == '.')));
}

/* Take an entry up to a file's contents, or to the end of what a directory's node begins with. */
static bool take_entry(struct input *in, const char **file, size_t *file_size,
                       struct member *member)
{
    *file = take_text(in, MOST_FILE_NAME, file_size);
    if (*file == NULL || !SKIP(in, NODE))
        return false;
    *member = (struct member){.kind = '0', .mode = 0444, .target = ""};
    if (SKIP(in, REGULAR)) {
        member->mode = SKIP(in, EXECUTABLE) ? 0555 : 0444;
        return SKIP(in, CONTENTS) && take_number(in, &member->size);
    }
    if (SKIP(in, SYMLINK)) {
        member->kind = '2';
        member->mode = 0777;
        member->target = take_text(in, NIXDOCK_LONGEST, &member->target_size);
        return member->target != NULL && SKIP(in, CLOSE CLOSE);
    }
    member->kind = '5';
    member->mode = 0555;
    return SKIP(in, DIRECTORY);
}

/* Pass on the next entry of the last directory; return its size as a member, or 0 to leave it. */
static size_t pass_on(struct nixdock_nar *nar, struct input *in, uint8_t *out, size_t room)
{
    struct member member;
    const char *file;
    char name[NIXDOCK_LONGEST + 1];
    size_t file_size;
    size_t size = nar->directories[nar->depth - 1];
    /* The last name is behind a slash, if there was one in this directory. */
    size_t last = nar->name_size > size ? size + 1 : size;

    /* The caller needs room for the padding of contents, too. */
    if (room < MOST_HEADER + NIXDOCK_BLOCK || !take_entry(in, &file, &file_size, &member)
        || size + 1 + file_size >= NIXDOCK_LONGEST
        || !is_next(file, file_size, nar->name + last, nar->name_size - last)
        || (member.kind == '5' && nar->depth == NIXDOCK_MOST_DIRECTORIES))
        return 0;
    memcpy(name, nar->name, size);
    name[size++] = '/';
    memcpy(name + size, file, file_size);
    size += file_size;
    name[size] = '/';
    member.name = name;
    member.name_size = size + (member.kind == '5');
    size_t written = nixdock_header(out, nar->header, &member);
    if (written == 0)
        return 0;

    uint64_t contents = member.size;
    size_t padding = (size_t)(-contents % NIXDOCK_BLOCK);
    bool is_whole = contents < LEAST_PASSED_ON && contents + padding <= room - written
        && contents + 7 + sizeof(CLOSE CLOSE) - 1 <= left_of(in);
    if (member.kind == '0' && is_whole) {
        memcpy(out + written, in->at, contents);
        memset(out + written + contents, 0, padding);
        written += contents + padding;
        in->at += contents;
        if (!skip_zeros(in, padding_of(contents)) || !SKIP(in, CLOSE CLOSE))
            return 0;
    } else if (member.kind == '0') {
        nar->left = contents;
        nar->padding = (uint32_t)padding_of(contents);
        nar->at_entry = 0;
    } else if (member.kind == '5') {
        nar->directories[nar->depth++] = (uint32_t)size;
    }
    memcpy(nar->name, name, size);
    nar->name_size = (uint32_t)size;
    return written;
}

size_t nixdock_nar_read(struct nixdock_nar *nar, const uint8_t *data, size_t size, uint8_t *out,
                        size_t room)
{
    struct input in = {data, data + size};
    size_t written = 0;
    nar->read = nar->left = 0;
    if (!nar->at_entry && !(skip_zeros(&in, nar->padding % 8) && SKIP(&in, CLOSE CLOSE)))
        return 0;
    nar->at_entry = 1;
    nar->padding = 0;
    nar->read = (uint64_t)(in.at - data);
    while (nar->at_entry) {
        if (nar->depth > 1 && SKIP(&in, CLOSE CLOSE)) {
            nar->name_size = nar->directories[--nar->depth];
        } else {
            size_t count = SKIP(&in, ENTRY) ? pass_on(nar, &in, out + written, room - written) : 0;
            if (count == 0)
                break;
            written += count;
        }
        nar->read = (uint64_t)(in.at - data);
    }
    return written;
}
