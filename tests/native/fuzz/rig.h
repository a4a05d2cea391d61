/* A plane of one worker, without its thread, between a client's UDP socket and a stand-in for the TUN device: a target for
 * whatever strangers may send. The caller is the worker. */
#ifndef PORTWAY_RIG_H
#define PORTWAY_RIG_H

#include "worker.h"

#define PEER_ID 7
#define OTHER_PEER_ID 8
#define INSIDE 0x0A500007u       /* 10.80.0.7 */
#define OTHER_INSIDE 0x0A500008u /* 10.80.0.8 */
#define OUTSIDE 0xC0000201u      /* 192.0.2.1, where any client may go */

struct rig {
    struct plane *plane;
    struct worker *worker;
    struct data_key *client_key; /* of PEER_ID: seals what the plane opens */
    int udp, client, device, wake;
    int stream; /* the client's end of a TCP stream, with a peer of its own (OTHER_PEER_ID); -1 until `rig_connect` */
    uint64_t streams;
};

/* Both end the process, with a sentence, when the machine refuses. */
struct rig *rig_new(void);
void rig_connect(struct rig *rig);

/* Let the plane receive a datagram, a frame of the device, or octets of the stream. */
void rig_datagram(struct rig *rig, struct span datagram);
void rig_frame(struct rig *rig, struct span frame);
void rig_stream(struct rig *rig, struct span octets);

/* Seal a payload as the client does; the packet lies in the rig's memory until the next call. */
struct span rig_seal(struct rig *rig, struct span payload);

/* Take and discard what the plane sent, wrote and reported, and check what must hold whatever came in. */
void rig_settle(struct rig *rig);

#endif
