/* Headers of tar members; packer.h says what this is. */
#include "header.h"

#include <stdio.h>
#include <string.h>

enum {
    BLOCK = NIXDOCK_BLOCK,
    WIDTH = 100, /* Of a name or a target in a header. */
    MODE_AT = 100, SIZE_AT = 124, TIME_AT = 136, CHECKSUM_AT = 148, KIND_AT = 156, TARGET_AT = 157,
    MAGIC_AT = 257,
};

static const uint64_t SIZE_LIMIT = UINT64_C(1) << 33; /* Eleven octal digits. */

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
    size_t rest = strlen(key) + size + 3;
    size_t length = rest + 1;
    /* A length with one more digit may need one digit more. */
    for (int i = 0; i < 2; i++)
        length = rest + (size_t)snprintf(NULL, 0, "%zu", length);
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

bool nixdock_is_ascii(const char *text, size_t size)
{
    unsigned char all = 0;
    for (size_t i = 0; i < size; i++)
        all |= (unsigned char)text[i];
    return all < 0x80;
}

size_t nixdock_header(uint8_t *out, const uint8_t *template, const struct member *member)
{
    size_t records_size = 0;
    uint8_t *block = out;

    if (member->size >= SIZE_LIMIT || member->name_size > NIXDOCK_LONGEST
        || member->target_size > NIXDOCK_LONGEST
        || !nixdock_is_ascii(member->name, member->name_size)
        || !nixdock_is_ascii(member->target, member->target_size))
        return 0;
    if (member->name_size > WIDTH)
        records_size += put_record(out + BLOCK, "path", member->name, member->name_size);
    if (member->target_size > WIDTH)
        records_size += put_record(out + BLOCK + records_size, "linkpath", member->target,
                                   member->target_size);
    if (records_size > 0)
        block += put_extension(out, records_size);

    memcpy(block, template, BLOCK);
    memset(block, 0, WIDTH);
    memcpy(block, member->name, member->name_size < WIDTH ? member->name_size : WIDTH);
    memcpy(block + TARGET_AT, member->target,
           member->target_size < WIDTH ? member->target_size : WIDTH);
    put_octal(block + MODE_AT, 7, member->mode & 07777);
    put_octal(block + SIZE_AT, 11, member->size);
    block[KIND_AT] = (uint8_t)member->kind;
    put_checksum(block);
    return (size_t)(block - out) + BLOCK;
}
