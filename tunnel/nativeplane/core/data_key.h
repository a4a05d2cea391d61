/* One key id of one peer: sealing and opening data packets, packet ids, the replay window, and wear.
 *
 * The C twin of tunnel/data_channel.py, which documents layouts and limits. Knows no peers, addresses or sockets.
 *
 * Threads: expanded keys are made with the key, one for all workers where nothing ever changes in it, else one for each, so
 * that nothing is allocated or locked for the cipher of a packet. Packet ids are taken from one atomic counter, which never
 * goes past the last: a nonce cannot repeat, whoever seals. The replay window has a mutex, held for nanoseconds.
 */
#ifndef PORTWAY_DATA_KEY_H
#define PORTWAY_DATA_KEY_H

#include "octets.h"

#define KEY_HALF_SIZE 64
#define DATA_V1_HEAD 1 /* octets before what a cipher adds: opcode and key id */
#define DATA_V2_HEAD 4 /* and the peer id */
#define REPLAY_WINDOW 8192 /* packet ids that may arrive late; 1 KB per key */
#define REPLAY_WORDS (REPLAY_WINDOW / 64)
#define MOST_OVERHEAD 128 /* octets that sealing adds to a payload, at most, with any cipher */

/* In the order of `tunnel.data_keys.Cipher`. */
enum cipher { AES_256_GCM, AES_128_GCM, CHACHA20_POLY1305, AES_256_CBC, AES_128_CBC };
/* The HMAC of the CBC ciphers. */
enum digest { DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA512 };

struct key_half {
    uint8_t cipher[KEY_HALF_SIZE];
    uint8_t hmac[KEY_HALF_SIZE];
};

/* Where a key stands: all 0 for a new one. What a later process needs to go on with it, and to refuse what this one saw. */
struct key_progress {
    uint64_t sealed_packets; /* also the last packet id sent */
    uint64_t sealed_octets;
    uint64_t opened_octets;
    uint64_t failures;        /* forgeries: over a limit, the key opens nothing any more */
    uint32_t greatest_opened; /* packet id; 0 before the first */
    uint64_t window[REPLAY_WORDS]; /* bit `id % REPLAY_WINDOW`: that id was accepted; only ids within the window mean anything */
};

struct key_settings {
    enum cipher cipher;
    enum digest auth;
    uint8_t key_id;     /* 0 to 7 */
    bool data_v2;       /* seal DATA_V2 with the peer id; else DATA_V1 */
    uint32_t peer_id;
    unsigned workers;   /* threads that will use it: `worker` below is less than this */
    struct key_half send, receive;
    struct key_progress progress;
};

/* The configured limits; the cipher's own always hold. 0 means none. */
struct wear_limits {
    uint64_t packets;
    uint64_t octets;
};

struct data_key;

enum opened { OPENED, NOT_AUTHENTIC, REPLAYED };

/* 0, -ENOMEM, -EINVAL (a value out of range), or -ENOTSUP (the library refuses the cipher or digest). */
int data_key_new(const struct key_settings *settings, struct data_key **key);
/* Expanded keys and key material are cleansed. NULL is ignored. */
void data_key_free(struct data_key *key);

uint8_t data_key_id(const struct data_key *key);

/* How long the data packet around a payload will be. */
size_t sealed_size(const struct data_key *key, size_t payload_size);

/* Seal `payload` (1 octet or more) into `out`, which holds `sealed_size`; the two do not overlap. Gives the size of the
 * packet; 0 when every packet id is spent, or for lack of room, or the cipher failed: nothing may be sent then. */
size_t seal(struct data_key *key, unsigned worker, struct span payload, struct span out);

/* Open a whole data packet, DATA_V1 or DATA_V2, in place; `payload` is then a part of `packet`, and else empty: what could not
 * be opened is spoilt. Counts failures, moves the replay window. */
enum opened open_untrusted(struct data_key *key, unsigned worker, struct span packet, struct span *payload);

/* Whether either direction is worn (tunnel/data_channel.py, `WearLimits.reached`). */
bool is_worn(const struct data_key *key, const struct wear_limits *limits);

/* Whether control was told of it: the key's own, so that nobody takes what was said of a key for said of the one in its place. */
bool is_wear_told(const struct data_key *key);
void note_wear_told(struct data_key *key);

/* Where the key stands now. Exact when no worker uses it. */
void data_key_progress(struct data_key *key, struct key_progress *progress);

#endif
