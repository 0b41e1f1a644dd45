/*
 * SHA-256 of two streams at once, with the SHA extensions of x86-64.
 *
 * Each round waits for the one before it, so a single hash leaves a CPU's units idle for about half
 * of the time. Here the rounds of two independent hashes take turns, which fills the gaps.
 */
#include "packer.h"

/* NIXDOCK_PORTABLE is for tests: what other CPUs get. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(NIXDOCK_PORTABLE)

#include <cpuid.h>
#include <immintrin.h>

#define WITH_SHA __attribute__((target("sha,sse4.1")))

static const uint32_t K[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* A hash while it is in registers. The instructions want its eight words in this order. */
struct lane {
    __m128i abef;
    __m128i cdgh;
    __m128i schedule[4];
};

WITH_SHA static inline void load_state(struct lane *lane, const uint32_t state[8])
{
    __m128i dcba = _mm_loadu_si128((const __m128i *)state);
    __m128i hgfe = _mm_loadu_si128((const __m128i *)(state + 4));
    __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1);
    __m128i efgh = _mm_shuffle_epi32(hgfe, 0x1b);
    lane->abef = _mm_alignr_epi8(cdab, efgh, 8);
    lane->cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
}

WITH_SHA static inline void store_state(const struct lane *lane, uint32_t state[8])
{
    __m128i feba = _mm_shuffle_epi32(lane->abef, 0x1b);
    __m128i dchg = _mm_shuffle_epi32(lane->cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

WITH_SHA static inline void add_state(struct lane *lane, const struct lane *before)
{
    lane->abef = _mm_add_epi32(lane->abef, before->abef);
    lane->cdgh = _mm_add_epi32(lane->cdgh, before->cdgh);
}

WITH_SHA static inline void load_block(struct lane *lane, const uint8_t *block)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    for (int i = 0; i < 4; i++) {
        __m128i words = _mm_loadu_si128((const __m128i *)(block + 16 * i));
        lane->schedule[i] = _mm_shuffle_epi8(words, big_endian);
    }
}

/* Do rounds 4 * i to 4 * i + 3, and a part of the message schedule of later rounds. */
WITH_SHA static inline __attribute__((always_inline)) void four_rounds(struct lane *lane, int i)
{
    __m128i *now = &lane->schedule[i % 4];
    __m128i *next = &lane->schedule[(i + 1) % 4];
    __m128i *last = &lane->schedule[(i + 3) % 4];
    __m128i words = _mm_add_epi32(*now, _mm_load_si128((const __m128i *)(K + 4 * i)));
    lane->cdgh = _mm_sha256rnds2_epu32(lane->cdgh, lane->abef, words);
    if (i >= 3 && i <= 14) {
        __m128i sum = _mm_add_epi32(*next, _mm_alignr_epi8(*now, *last, 4));
        *next = _mm_sha256msg2_epu32(sum, *now);
    }
    lane->abef = _mm_sha256rnds2_epu32(lane->abef, lane->cdgh, _mm_shuffle_epi32(words, 0x0e));
    if (i >= 1 && i <= 12)
        *last = _mm_sha256msg1_epu32(*last, *now);
}

/* Hash blocks of one stream or two; `both` is a constant, and what is not used is dropped. */
WITH_SHA static inline __attribute__((always_inline)) void
hash_blocks(uint32_t *a_state, const uint8_t *a_data, uint32_t *b_state, const uint8_t *b_data,
            size_t blocks, int both)
{
    struct lane a, b, a_before, b_before;
    load_state(&a, a_state);
    load_state(&b, both ? b_state : a_state);
    for (; blocks > 0; blocks--, a_data += 64, b_data += both ? 64 : 0) {
        a_before = a, b_before = b;
        load_block(&a, a_data);
        if (both)
            load_block(&b, b_data);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            four_rounds(&a, i);
            if (both)
                four_rounds(&b, i);
        }
        add_state(&a, &a_before);
        add_state(&b, &b_before);
    }
    store_state(&a, a_state);
    if (both)
        store_state(&b, b_state);
}

WITH_SHA void nixdock_sha256_blocks(uint32_t a_state[8], const uint8_t *a_data,
                                    uint32_t b_state[8], const uint8_t *b_data, size_t blocks)
{
    if (b_state == NULL)
        hash_blocks(a_state, a_data, NULL, NULL, blocks, 0);
    else
        hash_blocks(a_state, a_data, b_state, b_data, blocks, 1);
}

int nixdock_sha256_is_there(void)
{
    unsigned int a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1))
        return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA) != 0;
}

#else

int nixdock_sha256_is_there(void)
{
    return 0;
}

void nixdock_sha256_blocks(uint32_t a_state[8], const uint8_t *a_data, uint32_t b_state[8],
                           const uint8_t *b_data, size_t blocks)
{
    (void)a_state, (void)a_data, (void)b_state, (void)b_data, (void)blocks;
}

#endif
