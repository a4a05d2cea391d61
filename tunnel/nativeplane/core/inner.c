/* What travels inside a data packet. Owns the magic numbers of OpenVPN's own messages (ping.c, occ.h), the checks of an
 * IPv4 header, and the clamping of the MSS. Knows no peers, keys or sockets. */
#include "inner.h"

#include "checksum.h"

#define OCC_MAGIC_SIZE 16
#define OCC_EXIT 6

#define PROTOCOL_TCP 6
#define TCP_HEADER_SIZE 20
#define TCP_CHECKSUM_AT 16
#define FLAG_SYN 0x02
#define FRAGMENT_OFFSET 0x1FFF

enum tcp_option { OPTION_END = 0, OPTION_NOTHING = 1, OPTION_MSS = 2 };
#define OPTION_MSS_SIZE 4

const uint8_t PING[PING_SIZE] = {0x2a, 0x18, 0x7b, 0xf3, 0x64, 0x1e, 0xb4, 0xcb,
                                 0x07, 0xed, 0x2d, 0x0a, 0x98, 0x1f, 0xc7, 0x48};

static const uint8_t OCC_MAGIC[OCC_MAGIC_SIZE] = {0x28, 0x7f, 0x34, 0x6b, 0xd4, 0xef, 0x7a, 0x81,
                                                  0x2d, 0x56, 0xb8, 0xd3, 0xaf, 0xc5, 0x45, 0x9c};

static bool begins_with(struct span payload, const uint8_t *octets, size_t size)
{
    return holds(payload, 0, size) && memcmp(payload.at, octets, size) == 0;
}

enum own_message own_message(struct span payload)
{
    if (payload.size == PING_SIZE && begins_with(payload, PING, PING_SIZE))
        return OWN_PING;
    if (!begins_with(payload, OCC_MAGIC, OCC_MAGIC_SIZE))
        return NOT_OWN;
    return payload.size > OCC_MAGIC_SIZE && load8(payload, OCC_MAGIC_SIZE) == OCC_EXIT ? OWN_EXIT : OWN_OCC;
}

enum drop find_fault(struct span packet)
{
    if (packet.size == 0 || load8(packet, 0) >> 4 != 4)
        return DROP_NOT_IPV4;
    size_t header_size = ipv4_header_size(packet);
    if (header_size < IPV4_HEADER_SIZE || header_size > packet.size)
        return DROP_BAD_HEADER;
    return load16(packet, 2) == packet.size ? DROP_NONE : DROP_BAD_HEADER;
}

static bool is_syn(struct span packet, size_t tcp)
{
    return load8(packet, 9) == PROTOCOL_TCP && !(load16(packet, 6) & FRAGMENT_OFFSET) &&
           holds(packet, tcp, TCP_HEADER_SIZE) && load8(packet, tcp + 13) & FLAG_SYN;
}

/* Where in the options of a TCP header the value of the MSS is; 0 when it is nowhere, or the options are broken. */
static size_t find_mss(struct span header)
{
    size_t at = TCP_HEADER_SIZE;
    while (holds(header, at, 2) && load8(header, at) != OPTION_END) {
        if (load8(header, at) == OPTION_NOTHING) {
            at++;
            continue;
        }
        size_t size = load8(header, at + 1);
        if (size < 2 || !holds(header, at, size))
            return 0;
        if (load8(header, at) == OPTION_MSS)
            return size == OPTION_MSS_SIZE ? at + 2 : 0;
        at += size;
    }
    return 0;
}

void clamp_mss(struct span packet, uint16_t limit)
{
    size_t tcp = ipv4_header_size(packet);
    if (!is_syn(packet, tcp))
        return;
    struct span segment = rest(packet, tcp);
    size_t header_size = (load8(segment, 12) >> 4) * 4u;
    struct span header = part(segment, 0, header_size < segment.size ? header_size : segment.size);
    size_t at = find_mss(header);
    if (!at || load16(header, at) <= limit)
        return;
    uint16_t old = load16(header, at), new = limit;
    store16(header, at, limit);
    if (at % 2) {
        /* The option begins at an odd offset: both octets are on the other side of a word. */
        old = __builtin_bswap16(old);
        new = __builtin_bswap16(new);
    }
    store16(header, TCP_CHECKSUM_AT, update_checksum(load16(header, TCP_CHECKSUM_AT), old, new));
}
