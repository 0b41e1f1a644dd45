/* Trees of files as tar members; packer.h says what this is. */
#define _DEFAULT_SOURCE

#include "packer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BLOCK = NIXDOCK_BLOCK,
    LONGEST = 4095,         /* A name or a target, in bytes. */
    MOST_DIRECTORIES = 128, /* Inside one another; all are open. With EMFILE, Python does it. */
    MORE_FILES = 64,        /* For so many more, a directory's list is enlarged at once. */
    WIDTH = 100,            /* Of a name or a target in a header. */
    MODE_AT = 100, SIZE_AT = 124, TIME_AT = 136, CHECKSUM_AT = 148, KIND_AT = 156, TARGET_AT = 157,
    MAGIC_AT = 257,
    LINK_MODE = 0777,       /* Of each symlink on Linux; elsewhere it depends on the umask. */
    MOST_RECORD = LONGEST + 32, /* With the digits and the key. */
    MOST_HEADER = 2 * MOST_RECORD + 3 * BLOCK,
};

static const uint64_t SIZE_LIMIT = UINT64_C(1) << 33; /* Eleven octal digits. */

const int nixdock_packer_version = NIXDOCK_PACKER_VERSION;

/* A directory whose contents are being packed: `files[next]` to `files[count - 1]` are left. */
struct directory {
    DIR *open;
    struct dirent **files;
    size_t count;
    size_t next;
    size_t name_size; /* Its own name is the first part of that of the current member. */
};

struct nixdock_trees {
    struct nixdock_place place;
    const char *const *names;
    size_t count;
    int root; /* The directory that has the trees. */
    size_t prefix_size;
    char name[LONGEST + 1]; /* The current member, without the slash of a directory. */

    uint8_t template[BLOCK];
    uint8_t header[MOST_HEADER];
    size_t header_at;
    size_t header_size;

    int file; /* The one that is being read, or -1. */
    uint64_t left;
    size_t padding;

    size_t depth;
    struct directory directories[MOST_DIRECTORIES];
};

static bool fail(struct nixdock_trees *trees, enum nixdock_fault fault, int number)
{
    trees->place.fault = (int32_t)(number == EMFILE ? NIXDOCK_UNUSUAL : fault);
    trees->place.number = number;
    return false;
}

static void put_octal(uint8_t *field, int digits, uint64_t value)
{
    for (int i = digits - 1; i >= 0; i--, value >>= 3)
        field[i] = (uint8_t)('0' + (value & 7));
}

static void put_checksum(uint8_t *block)
{
    unsigned int sum = 0;
    memset(block + CHECKSUM_AT, ' ', 8);
    for (size_t i = 0; i < BLOCK; i++)
        sum += block[i];
    put_octal(block + CHECKSUM_AT, 6, sum);
    block[CHECKSUM_AT + 6] = 0;
}

/* Write a record "LENGTH KEY=VALUE\n", whose length counts its own digits; return its size. */
static size_t put_record(uint8_t *out, const char *key, const char *value, size_t size)
{
    char start[32];
    size_t length = strlen(key) + size + 4;
    /* One digit is counted; there is one more for each power of ten that the length reaches. */
    for (size_t power = 10; length >= power; power *= 10)
        length++;
    int start_size = snprintf(start, sizeof start, "%zu %s=", length, key);
    memcpy(out, start, (size_t)start_size);
    memcpy(out + start_size, value, size);
    out[length - 1] = '\n';
    return length;
}

/* Write an extended header, whose records are written already, behind its block. */
static size_t put_extension(uint8_t *block, size_t records_size)
{
    size_t padding = -records_size % BLOCK;
    memset(block, 0, BLOCK);
    memcpy(block, "././@PaxHeader", 14);
    for (int at = MODE_AT; at < SIZE_AT; at += 8)
        put_octal(block + at, 7, 0);
    put_octal(block + SIZE_AT, 11, records_size);
    put_octal(block + TIME_AT, 11, 0);
    block[KIND_AT] = 'x';
    memcpy(block + MAGIC_AT, "ustar\0" "00", 8);
    put_checksum(block);
    memset(block + BLOCK + records_size, 0, padding);
    return BLOCK + records_size + padding;
}

static bool is_ascii(const char *text, size_t size)
{
    unsigned char all = 0;
    for (size_t i = 0; i < size; i++)
        all |= (unsigned char)text[i];
    return all < 0x80;
}

/* Make the header of the current member, preceded by an extended header if it needs one. */
static bool make_header(struct nixdock_trees *trees, char kind, mode_t mode, uint64_t size,
                        const char *target, size_t target_size)
{
    char name[LONGEST + 2];
    size_t name_size = strlen(trees->name);
    size_t records_size = 0;
    uint8_t *block = trees->header;

    memcpy(name, trees->name, name_size + 1);
    if (kind == '5')
        name[name_size++] = '/';
    if (size >= SIZE_LIMIT || name_size > LONGEST || target_size > LONGEST
        || !is_ascii(name, name_size) || !is_ascii(target, target_size))
        return fail(trees, NIXDOCK_UNUSUAL, 0);
    if (name_size > WIDTH)
        records_size += put_record(block + BLOCK, "path", name, name_size);
    if (target_size > WIDTH)
        records_size += put_record(block + BLOCK + records_size, "linkpath", target, target_size);
    if (records_size > 0)
        block += put_extension(block, records_size);

    memcpy(block, trees->template, BLOCK);
    memset(block, 0, WIDTH);
    memcpy(block, name, name_size < WIDTH ? name_size : WIDTH);
    memcpy(block + TARGET_AT, target, target_size < WIDTH ? target_size : WIDTH);
    put_octal(block + MODE_AT, 7, mode & 07777);
    put_octal(block + SIZE_AT, 11, size);
    block[KIND_AT] = (uint8_t)kind;
    put_checksum(block);
    trees->header_at = 0;
    trees->header_size = (size_t)(block - trees->header) + BLOCK;
    return true;
}

static int by_name(const void *left, const void *right)
{
    return strcmp((*(struct dirent *const *)left)->d_name, (*(struct dirent *const *)right)->d_name);
}

static void end_directory(struct directory *directory)
{
    closedir(directory->open);
    for (size_t i = 0; i < directory->count; i++)
        free(directory->files[i]);
    free(directory->files);
}

/* List the files of a directory in order. */
static bool list_files(struct nixdock_trees *trees, struct directory *directory)
{
    for (;;) {
        errno = 0;
        const struct dirent *found = readdir(directory->open);
        if (found == NULL && errno != 0)
            return fail(trees, NIXDOCK_TREE_FAULT, errno);
        if (found == NULL)
            break;
        const char *name = found->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (strncmp(name, ".wh.", 4) == 0 || strstr(name, "~nix~case~hack~") != NULL
            || !is_ascii(name, strlen(name)))
            return fail(trees, NIXDOCK_UNUSUAL, 0);
        if (directory->count % MORE_FILES == 0) {
            size_t room = directory->count + MORE_FILES;
            struct dirent **files = realloc(directory->files, room * sizeof *files);
            if (files == NULL)
                return fail(trees, NIXDOCK_TREE_FAULT, ENOMEM);
            directory->files = files;
        }
        size_t size = offsetof(struct dirent, d_name) + strlen(name) + 1;
        struct dirent *copy = malloc(size);
        if (copy == NULL)
            return fail(trees, NIXDOCK_TREE_FAULT, ENOMEM);
        directory->files[directory->count++] = memcpy(copy, found, size);
    }
    if (directory->count > 1)
        qsort(directory->files, directory->count, sizeof *directory->files, by_name);
    return true;
}

/* Name the member after a file in the directory whose name has `size` bytes. */
static bool set_name(struct nixdock_trees *trees, size_t size, const char *file)
{
    size_t file_size = strlen(file);
    if (size + file_size > LONGEST)
        return fail(trees, NIXDOCK_UNUSUAL, 0);
    memcpy(trees->name + size, file, file_size + 1);
    return true;
}

static bool begin_directory(struct nixdock_trees *trees, int parent, const char *file)
{
    struct stat info;
    struct directory directory = {0};
    int opened = openat(parent, file, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (opened < 0)
        return fail(trees, NIXDOCK_TREE_FAULT, errno);
    if (trees->depth == MOST_DIRECTORIES || strlen(trees->name) == LONGEST) {
        close(opened);
        return fail(trees, NIXDOCK_UNUSUAL, 0);
    }
    directory.open = fdopendir(opened);
    if (directory.open == NULL || fstat(opened, &info) != 0) {
        int number = errno;
        (void)(directory.open == NULL ? close(opened) : closedir(directory.open));
        return fail(trees, NIXDOCK_TREE_FAULT, number);
    }
    if (!list_files(trees, &directory) || !make_header(trees, '5', info.st_mode, 0, "", 0)) {
        end_directory(&directory);
        return false;
    }
    /* Its files' names begin with its own and a slash. */
    directory.name_size = strlen(trees->name);
    trees->name[directory.name_size++] = '/';
    trees->directories[trees->depth++] = directory;
    return true;
}

static bool begin_file(struct nixdock_trees *trees, int parent, const char *file)
{
    struct stat info;
    /* It may have become a FIFO since it was listed: do not wait for a writer. */
    int opened = openat(parent, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (opened < 0)
        return fail(trees, NIXDOCK_FILE_FAULT, errno);
    int number = fstat(opened, &info) != 0 ? errno : S_ISREG(info.st_mode) ? 0 : ESTALE;
    if (number != 0) {
        close(opened);
        return fail(trees, NIXDOCK_FILE_FAULT, number);
    }
    trees->file = opened;
    trees->place.file_size = trees->left = (uint64_t)info.st_size;
    trees->padding = (size_t)(-trees->left % BLOCK);
    return make_header(trees, '0', info.st_mode, trees->left, "", 0);
}

/* Begin the member that is `file` in the open directory `parent`. */
static bool begin_member(struct nixdock_trees *trees, int parent, const char *file,
                         unsigned char type)
{
    struct stat info = {.st_mode = S_IFLNK};
    char target[LONGEST + 1];
    if (type == DT_REG)
        return begin_file(trees, parent, file);
    if (type == DT_DIR)
        return begin_directory(trees, parent, file);
    if (type != DT_LNK && fstatat(parent, file, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return fail(trees, NIXDOCK_TREE_FAULT, errno);
    if (S_ISREG(info.st_mode))
        return begin_file(trees, parent, file);
    if (S_ISDIR(info.st_mode))
        return begin_directory(trees, parent, file);
    if (!S_ISLNK(info.st_mode))
        return fail(trees, NIXDOCK_UNUSUAL, 0);
    ssize_t size = readlinkat(parent, file, target, sizeof target);
    if (size < 0)
        return fail(trees, NIXDOCK_TREE_FAULT, errno == EINVAL ? ESTALE : errno);
    return make_header(trees, '2', LINK_MODE, 0, target, (size_t)size);
}

/* Begin the next member; return false if there is none, or on failure. */
static bool next_member(struct nixdock_trees *trees)
{
    while (trees->depth > 0) {
        struct directory *inner = &trees->directories[trees->depth - 1];
        if (inner->next < inner->count) {
            const struct dirent *file = inner->files[inner->next++];
            return set_name(trees, inner->name_size, file->d_name)
                && begin_member(trees, dirfd(inner->open), file->d_name, file->d_type);
        }
        end_directory(inner);
        trees->depth--;
    }
    if (trees->place.begun == trees->count)
        return false;
    const char *root = trees->names[trees->place.begun++];
    trees->place.written = 0;
    return set_name(trees, trees->prefix_size, root)
        && begin_member(trees, trees->root, root, DT_UNKNOWN);
}

/* Read the next bytes of the open file, and close it at its end; return their number. */
static size_t read_file(struct nixdock_trees *trees, uint8_t *out, size_t room)
{
    /* Ask for one byte more than the file has, to notice without another call that it grew. */
    bool to_end = trees->left < room;
    ssize_t count = read(trees->file, out, to_end ? (size_t)trees->left + 1 : room);
    if (count < 0 && errno == EINTR)
        return 0;
    if (count < 0 || (uint64_t)count > trees->left || (count == 0 && trees->left > 0)) {
        enum nixdock_fault fault = count < 0 ? NIXDOCK_FILE_FAULT
                                 : count == 0 ? NIXDOCK_SHRANK : NIXDOCK_GREW;
        fail(trees, fault, count < 0 ? errno : 0);
        return 0;
    }
    trees->left -= (uint64_t)count;
    if (to_end && trees->left == 0) {
        close(trees->file);
        trees->file = -1;
    }
    return (size_t)count;
}

struct nixdock_trees *nixdock_trees_open(const uint8_t *header, int directory, const char *prefix,
                                         const char *const *names, size_t count)
{
    struct nixdock_trees *trees = calloc(1, sizeof *trees);
    if (trees == NULL)
        return NULL;
    trees->place.name = trees->name;
    trees->names = names;
    trees->count = count;
    trees->root = directory;
    trees->file = -1;
    trees->prefix_size = strlen(prefix);
    memcpy(trees->template, header, BLOCK);
    if (trees->prefix_size > LONGEST)
        fail(trees, NIXDOCK_UNUSUAL, 0);
    else
        memcpy(trees->name, prefix, trees->prefix_size + 1);
    return trees;
}

size_t nixdock_trees_read(struct nixdock_trees *trees, uint8_t *out, size_t size)
{
    size_t at = 0;
    while (at < size && trees->place.fault == NIXDOCK_NO_FAULT) {
        size_t count;
        size_t room = size - at;
        if (trees->header_at < trees->header_size) {
            size_t left = trees->header_size - trees->header_at;
            count = left < room ? left : room;
            memcpy(out + at, trees->header + trees->header_at, count);
            trees->header_at += count;
        } else if (trees->file >= 0) {
            count = read_file(trees, out + at, room);
        } else if (trees->padding > 0) {
            count = trees->padding < room ? trees->padding : room;
            memset(out + at, 0, count);
            trees->padding -= count;
        } else if (next_member(trees)) {
            continue;
        } else {
            break;
        }
        at += count;
        trees->place.written += count;
    }
    return at;
}

struct nixdock_place nixdock_trees_place(const struct nixdock_trees *trees)
{
    return trees->place;
}

void nixdock_trees_close(struct nixdock_trees *trees)
{
    if (trees->file >= 0)
        close(trees->file);
    while (trees->depth > 0)
        end_directory(&trees->directories[--trees->depth]);
    free(trees);
}
