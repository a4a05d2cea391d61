/* The Internet checksum (RFC 1071). It is summed in the order of the machine's octets, which gives the same but for the
 * order of the two octets of the result (RFC 1071, 2 (B)); so they are swapped once, at the end. Owns nothing; knows of
 * IPv4 only where its checksum and its addresses are. */
#include "checksum.h"

#define CHECKSUM_AT 10
#define ADDRESSES_AT 12
#define ADDRESSES_SIZE 8

/* Sums of 32-bit words in lanes of 64 bits: they do not overflow, however long a packet is. */
typedef uint64_t lanes __attribute__((vector_size(32)));

/* Add the two halves of each lane. */
#define HALVES(words) (((words) & 0xFFFFFFFF) + ((words) >> 32))

/* Of as many whole pairs of lanes as there are from `*at` on. */
static uint64_t sum_lanes(struct span octets, size_t *at)
{
    lanes even = {0}, odd = {0}, words = {0};
    for (; holds(octets, *at, 2 * sizeof words); *at += 2 * sizeof words) {
        struct span pair = part(octets, *at, 2 * sizeof words);
        take_out(pair, 0, &words, sizeof words);
        even += HALVES(words);
        take_out(pair, sizeof words, &words, sizeof words);
        odd += HALVES(words);
    }
    even += odd;
    return even[0] + even[1] + even[2] + even[3];
}

/* Of what is left: fewer than a pair of lanes. */
static uint64_t sum_tail(struct span octets, size_t at)
{
    uint64_t sum = 0;
    uint32_t word;
    for (; holds(octets, at, sizeof word); at += sizeof word) {
        take_out(octets, at, &word, sizeof word);
        sum += word;
    }
    word = 0;
    if (at < octets.size)
        take_out(octets, at, &word, octets.size - at);
    return sum + word;
}

uint16_t sum_octets(struct span octets, uint32_t initial)
{
    size_t at = 0;
    uint64_t sum = sum_lanes(octets, &at);
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
