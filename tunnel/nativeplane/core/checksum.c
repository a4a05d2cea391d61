/* The Internet checksum (RFC 1071). It is summed in the order of the machine's octets, which gives the same but for the
 * order of the two octets of the result (RFC 1071, 2 (B)); so they are swapped once, at the end. Owns nothing; knows of
 * IPv4 only where its checksum and its addresses are. */
#include "checksum.h"

#define CHECKSUM_AT 10
#define ADDRESSES_AT 12
#define ADDRESSES_SIZE 8

/* Two words of 64 bits at a time: what every processor of today has in one register. */
typedef uint64_t lanes __attribute__((vector_size(16)));
#define BLOCK (4 * sizeof(lanes))

/* The words summed modulo 2^64, and their upper halves once more alone. The sum of neither halves overflows, however
 * long a packet is; so that of the lower ones is the difference. */
struct sums {
    lanes all, upper;
};

static inline void add_lanes(struct sums *sums, struct span block, size_t number)
{
    lanes words = {0};
    take_out(block, number * sizeof words, &words, sizeof words);
    sums->all += words;
    sums->upper += words >> 32;
}

static inline uint64_t halves_of(const struct sums *sums)
{
    lanes halves = sums->upper + (sums->all - (sums->upper << 32));
    return halves[0] + halves[1];
}

/* Of as many whole blocks as there are from `*at` on. Two chains of sums keep the processor busy. */
static uint64_t sum_blocks(struct span octets, size_t *at)
{
    struct sums even = {0}, odd = {0};
    for (; holds(octets, *at, BLOCK); *at += BLOCK) {
        struct span block = part(octets, *at, BLOCK);
        add_lanes(&even, block, 0);
        add_lanes(&odd, block, 1);
        add_lanes(&even, block, 2);
        add_lanes(&odd, block, 3);
    }
    return halves_of(&even) + halves_of(&odd);
}

/* Of what is left: less than a block. */
static uint64_t sum_tail(struct span octets, size_t at)
{
    uint64_t sum = 0;
    uint32_t word;
    for (; holds(octets, at, sizeof word); at += sizeof word) {
        take_out(octets, at, &word, sizeof word);
        sum += word;
    }
    uint16_t half = 0, last = 0;
    if (holds(octets, at, sizeof half)) {
        take_out(octets, at, &half, sizeof half);
        at += sizeof half;
    }
    if (at < octets.size)
        take_out(octets, at, &last, 1);
    return sum + half + last;
}

uint16_t sum_octets(struct span octets, uint32_t initial)
{
    size_t at = 0;
    uint64_t sum = sum_blocks(octets, &at);
    sum += sum_tail(octets, at);
    return fold_sum((uint64_t)initial + __builtin_bswap16(fold_sum(sum)));
}

uint16_t sum_pseudo_header(struct span ipv4, uint8_t protocol, size_t size)
{
    return sum_octets(part(ipv4, ADDRESSES_AT, ADDRESSES_SIZE), (uint32_t)size + protocol);
}

void set_ipv4_checksum(struct span ipv4, size_t header_size)
{
    store16(ipv4, CHECKSUM_AT, 0);
    store16(ipv4, CHECKSUM_AT, (uint16_t)~sum_octets(part(ipv4, 0, header_size), 0));
}

bool is_ipv4_checksum_right(struct span ipv4, size_t header_size)
{
    return sum_octets(part(ipv4, 0, header_size), 0) == 0xFFFF;
}

uint16_t update_checksum(uint16_t checksum, uint16_t old, uint16_t new)
{
    return (uint16_t)~fold_sum((uint64_t)(uint16_t)~checksum + (uint16_t)~old + new);
}
