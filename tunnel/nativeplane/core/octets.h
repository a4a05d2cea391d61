/* Spans of octets: the only place where a pointer into a packet moves.
 *
 * A span knows its size, and every access is checked against it. What lies outside reads as 0 and is not written; builds
 * for tests (OCTETS_TRAP) stop there instead, because asking is a mistake of ours, whatever was received.
 */
#ifndef PORTWAY_OCTETS_H
#define PORTWAY_OCTETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    uint8_t *at;
    size_t size;
};

static inline struct span span_of(void *at, size_t size)
{
    return (struct span){at, size};
}

/* Whether `size` octets from `offset` on lie in the span. */
static inline bool holds(struct span span, size_t offset, size_t size)
{
    return offset <= span.size && size <= span.size - offset;
}

static inline bool must_hold(struct span span, size_t offset, size_t size)
{
    bool inside = holds(span, offset, size);
#ifdef OCTETS_TRAP
    if (!inside)
        __builtin_trap();
#endif
    return inside;
}

/* `size` octets from `offset` on; empty when they are not all there. */
static inline struct span part(struct span span, size_t offset, size_t size)
{
    if (!must_hold(span, offset, size))
        return span_of(NULL, 0);
    return span_of(span.at + offset, size);
}

/* Everything from `offset` on; empty when that is beyond the end. */
static inline struct span rest(struct span span, size_t offset)
{
    return offset <= span.size ? part(span, offset, span.size - offset) : span_of(NULL, 0);
}

static inline uint8_t load8(struct span span, size_t offset)
{
    return must_hold(span, offset, 1) ? span.at[offset] : 0;
}

/* Integers in network order. */
static inline uint16_t load16(struct span span, size_t offset)
{
    uint16_t value = 0;
    if (must_hold(span, offset, sizeof value))
        memcpy(&value, span.at + offset, sizeof value);
    return __builtin_bswap16(value);
}

static inline uint32_t load32(struct span span, size_t offset)
{
    uint32_t value = 0;
    if (must_hold(span, offset, sizeof value))
        memcpy(&value, span.at + offset, sizeof value);
    return __builtin_bswap32(value);
}

static inline uint64_t load64(struct span span, size_t offset)
{
    uint64_t value = 0;
    if (must_hold(span, offset, sizeof value))
        memcpy(&value, span.at + offset, sizeof value);
    return __builtin_bswap64(value);
}

/* Copy `size` octets from `offset` on out of the span; false, and nothing done, when they are not all there. */
static inline bool take_out(struct span span, size_t offset, void *to, size_t size)
{
    if (!must_hold(span, offset, size))
        return false;
    memcpy(to, span.at + offset, size);
    return true;
}

static inline void store8(struct span span, size_t offset, uint8_t value)
{
    if (must_hold(span, offset, 1))
        span.at[offset] = value;
}

static inline void store16(struct span span, size_t offset, uint16_t value)
{
    value = __builtin_bswap16(value);
    if (must_hold(span, offset, sizeof value))
        memcpy(span.at + offset, &value, sizeof value);
}

static inline void store32(struct span span, size_t offset, uint32_t value)
{
    value = __builtin_bswap32(value);
    if (must_hold(span, offset, sizeof value))
        memcpy(span.at + offset, &value, sizeof value);
}

/* Copy all of `from` to `offset`; false, and nothing done, when there is no room. The two may overlap. */
static inline bool put(struct span to, size_t offset, struct span from)
{
    if (!must_hold(to, offset, from.size))
        return false;
    if (from.size)
        memmove(to.at + offset, from.at, from.size);
    return true;
}

static inline bool same(struct span one, struct span other)
{
    return one.size == other.size && (one.size == 0 || memcmp(one.at, other.at, one.size) == 0);
}

#endif
