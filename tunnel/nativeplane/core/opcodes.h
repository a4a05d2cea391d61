/* What the first octets of a packet from a client say: data, control, or nothing of OpenVPN's. */
#ifndef PORTWAY_OPCODES_H
#define PORTWAY_OPCODES_H

#include "octets.h"

#define OPCODE_DATA_V1 6
#define OPCODE_DATA_V2 9
#define DATA_V2_HEAD 4
#define NO_PEER_ID 0xFFFFFFu /* of the 24 bits behind the opcode of DATA_V2: the peer is known by where it is */
/* Resets, CONTROL_V1, ACK_V1 and CONTROL_WKC_V1: a bit for each. */
#define CONTROL_OPCODES (1u << 3 | 1u << 4 | 1u << 5 | 1u << 7 | 1u << 8 | 1u << 10 | 1u << 11)

static inline bool is_data(struct span packet)
{
    uint8_t opcode = packet.size ? load8(packet, 0) >> 3 : 0;
    return opcode == OPCODE_DATA_V1 || (opcode == OPCODE_DATA_V2 && packet.size >= DATA_V2_HEAD);
}

static inline bool is_control(struct span packet)
{
    return packet.size && CONTROL_OPCODES >> (load8(packet, 0) >> 3) & 1;
}

#endif
