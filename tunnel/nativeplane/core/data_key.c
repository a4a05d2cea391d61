/* Keys of the data channel. Owns the counters of a key and its expanded keys; aead.c and cbc.c know the layouts,
 * replay.c the window. Knows no peers, addresses or sockets.
 *
 * The way of a packet, each in its own function:
 *
 *     sealing    1. room, and a packet id that nobody else gets    2. the head    3. the cipher
 *     opening    1. the head's size    2. the cipher    3. the replay window    4. counters
 *
 * Buffers are the caller's. Key material is not kept: only what it was expanded to and the nonces' tails have it.
 */
#include "data_key.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "aead.h"
#include "cbc.h"
#include "replay.h"

#define CACHE_LINE 64
#define MOST_THREADS 1024 /* a sane limit: more is a mistake of the caller */

/* Opcodes where they stand, above the key id. */
#define DATA_V1_OCTET (6u << 3)
#define DATA_V2_OCTET (9u << 3)
#define MOST_PEER_ID 0xFFFFFFu

#define LAST_PACKET_ID UINT32_MAX
/* The constants of tunnel/data_channel.py, which says where they come from. */
#define PACKET_ID_TRIGGER UINT64_C(0xFF000000)
#define GCM_TRIGGER (((UINT64_C(1) << 36) - 1) / 8 * 7)
#define GCM_BLOCK 16
#define MOST_FAILURES (UINT64_C(1) << 36)

/* One direction, for one worker or for all. */
union direction {
    struct aead aead;
    struct cbc cbc;
};

struct lane {
    union direction sealing, opening;
};

struct data_key {
    /* Fixed when made. */
    enum cipher cipher;
    enum digest auth;
    bool is_aead;
    uint8_t key_id;
    uint8_t head[DATA_V2_HEAD];
    size_t head_size;
    unsigned workers;
    unsigned lane_count; /* as many as workers, or 1 where they share it */

    /* Written by whoever seals; read by control. The last packet id only ever grows, by one, up to LAST_PACKET_ID. */
    _Alignas(CACHE_LINE) _Atomic uint64_t sealed_packets;
    _Atomic uint64_t sealed_octets;

    /* Written by whoever opens; read by control. */
    _Alignas(CACHE_LINE) _Atomic uint64_t opened_octets;
    _Atomic uint64_t failures;
    struct replay_window replay;
    _Atomic bool wear_told; /* by whoever tells */

    _Alignas(CACHE_LINE) struct lane lanes[]; /* touched by one thread alone, unless it is shared and nobody changes it */
};

static bool is_aead(enum cipher cipher)
{
    return cipher == AES_256_GCM || cipher == AES_128_GCM || cipher == CHACHA20_POLY1305;
}

static bool is_cbc(enum cipher cipher)
{
    return cipher == AES_256_CBC || cipher == AES_128_CBC;
}

/* Enums are looked at as the numbers that may have come from elsewhere. */
static bool is_valid(const struct key_settings *settings)
{
    bool cipher = is_aead(settings->cipher) || (is_cbc(settings->cipher) && (unsigned)settings->auth <= DIGEST_SHA512);
    return cipher && settings->key_id < 8 && (!settings->data_v2 || settings->peer_id <= MOST_PEER_ID) &&
           settings->workers > 0 && settings->workers <= MOST_THREADS && settings->progress.sealed_packets <= LAST_PACKET_ID;
}

static void build_head(struct data_key *key, const struct key_settings *settings)
{
    struct span head = span_of(key->head, sizeof key->head);
    if (settings->data_v2)
        store32(head, 0, (DATA_V2_OCTET | settings->key_id) << 24 | settings->peer_id);
    else
        store8(head, 0, (uint8_t)(DATA_V1_OCTET | settings->key_id));
    key->head_size = settings->data_v2 ? DATA_V2_HEAD : DATA_V1_HEAD;
}

static int init_direction(const struct data_key *key, union direction *direction, const struct key_half *half, bool sealing)
{
    if (key->is_aead)
        return aead_init(&direction->aead, key->cipher, half, sealing);
    return cbc_init(&direction->cbc, key->cipher, key->auth, half, sealing);
}

static void destroy_direction(const struct data_key *key, union direction *direction)
{
    if (key->is_aead)
        aead_destroy(&direction->aead);
    else
        cbc_destroy(&direction->cbc);
}

static int init_lanes(struct data_key *key, const struct key_settings *settings)
{
    int error = 0;
    ERR_set_mark(); /* libcrypto's errors are told by what is returned, not left behind for somebody else's call */
    for (unsigned i = 0; i < key->lane_count && !error; i++) {
        error = init_direction(key, &key->lanes[i].sealing, &settings->send, true);
        if (!error)
            error = init_direction(key, &key->lanes[i].opening, &settings->receive, false);
    }
    ERR_pop_to_mark();
    return error;
}

static struct data_key *allocate(const struct key_settings *settings)
{
    unsigned lanes = is_aead(settings->cipher) && aead_is_shared() ? 1 : settings->workers;
    size_t size = sizeof(struct data_key) + lanes * sizeof(struct lane);
    size = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    struct data_key *key = aligned_alloc(CACHE_LINE, size);
    if (!key)
        return NULL;
    memset(key, 0, size);
    key->lane_count = lanes;
    return key;
}

static const struct lane *lane_of(const struct data_key *key, unsigned worker)
{
    return &key->lanes[key->lane_count == 1 ? 0 : worker];
}

int data_key_new(const struct key_settings *settings, struct data_key **made)
{
    if (!is_valid(settings))
        return -EINVAL;
    struct data_key *key = allocate(settings);
    if (!key)
        return -ENOMEM;
    key->cipher = settings->cipher;
    key->auth = settings->auth;
    key->is_aead = is_aead(settings->cipher);
    key->key_id = settings->key_id;
    key->workers = settings->workers;
    build_head(key, settings);
    atomic_init(&key->sealed_packets, settings->progress.sealed_packets);
    atomic_init(&key->sealed_octets, settings->progress.sealed_octets);
    atomic_init(&key->opened_octets, settings->progress.opened_octets);
    atomic_init(&key->failures, settings->progress.failures);
    replay_init(&key->replay, &settings->progress);

    int error = init_lanes(key, settings);
    if (error) {
        data_key_free(key);
        return error;
    }
    *made = key;
    return 0;
}

void data_key_free(struct data_key *key)
{
    if (!key)
        return;
    for (unsigned i = 0; i < key->lane_count; i++) {
        destroy_direction(key, &key->lanes[i].sealing);
        destroy_direction(key, &key->lanes[i].opening);
    }
    replay_destroy(&key->replay);
    free(key);
}

uint8_t data_key_id(const struct data_key *key)
{
    return key->key_id;
}

size_t sealed_size(const struct data_key *key, size_t payload_size)
{
    return key->head_size + (key->is_aead ? AEAD_ADDED + payload_size : cbc_sealed_size(key->auth, payload_size));
}

/* The next packet id; 0 when every one is spent. No two callers ever get the same. */
static uint32_t take_packet_id(struct data_key *key)
{
    uint64_t last = atomic_load_explicit(&key->sealed_packets, memory_order_relaxed);
    do {
        if (last >= LAST_PACKET_ID)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(&key->sealed_packets, &last, last + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    return (uint32_t)(last + 1);
}

size_t seal(struct data_key *key, unsigned worker, struct span payload, struct span out)
{
    if (payload.size == 0 || payload.size > INT_MAX - MOST_OVERHEAD || worker >= key->workers)
        return 0;
    size_t size = sealed_size(key, payload.size);
    uint32_t packet_id = size <= out.size ? take_packet_id(key) : 0;
    if (packet_id == 0)
        return 0;
    atomic_fetch_add_explicit(&key->sealed_octets, payload.size, memory_order_relaxed);

    struct span packet = part(out, 0, size);
    put(packet, 0, span_of(key->head, key->head_size));
    const union direction *own = &lane_of(key, worker)->sealing;
    bool sealed = key->is_aead ? aead_seal(&own->aead, key->head_size, packet_id, payload, packet)
                               : cbc_seal(&own->cbc, key->head_size, packet_id, payload, packet);
    return sealed ? size : 0;
}

static bool decrypt_untrusted(struct data_key *key, unsigned worker, struct span packet, uint32_t *packet_id,
                              struct span *payload)
{
    if (packet.size == 0 || packet.size > INT_MAX || worker >= key->workers)
        return false;
    if (atomic_load_explicit(&key->failures, memory_order_relaxed) >= MOST_FAILURES)
        return false;
    size_t head = load8(packet, 0) >= DATA_V2_OCTET ? DATA_V2_HEAD : DATA_V1_HEAD;
    const union direction *own = &lane_of(key, worker)->opening;
    return key->is_aead ? aead_open_untrusted(&own->aead, head, packet, packet_id, payload)
                        : cbc_open_untrusted(&own->cbc, head, packet, packet_id, payload);
}

enum opened open_untrusted(struct data_key *key, unsigned worker, struct span packet, struct span *payload)
{
    uint32_t packet_id;
    struct span opened;
    *payload = span_of(NULL, 0);
    if (!decrypt_untrusted(key, worker, packet, &packet_id, &opened)) {
        atomic_fetch_add_explicit(&key->failures, 1, memory_order_relaxed);
        return NOT_AUTHENTIC;
    }
    if (!replay_accept(&key->replay, packet_id))
        return REPLAYED;
    atomic_fetch_add_explicit(&key->opened_octets, opened.size, memory_order_relaxed);
    *payload = opened;
    return OPENED;
}

static bool is_reached(const struct wear_limits *limits, enum cipher cipher, uint64_t packets, uint64_t octets)
{
    if (packets >= PACKET_ID_TRIGGER || (limits->packets && packets >= limits->packets) ||
        (limits->octets && octets >= limits->octets))
        return true;
    /* Each packet rounds up by less than one block, so this is never less than OpenVPN's count. */
    bool gcm = cipher == AES_256_GCM || cipher == AES_128_GCM;
    return gcm && octets / GCM_BLOCK + 2 * packets >= GCM_TRIGGER;
}

bool is_worn(const struct data_key *key, const struct wear_limits *limits)
{
    return is_reached(limits, key->cipher, atomic_load_explicit(&key->sealed_packets, memory_order_relaxed),
                      atomic_load_explicit(&key->sealed_octets, memory_order_relaxed)) ||
           is_reached(limits, key->cipher, atomic_load_explicit(&key->replay.greatest, memory_order_relaxed),
                      atomic_load_explicit(&key->opened_octets, memory_order_relaxed));
}

bool is_wear_told(const struct data_key *key)
{
    return atomic_load_explicit(&key->wear_told, memory_order_relaxed);
}

void note_wear_told(struct data_key *key)
{
    atomic_store_explicit(&key->wear_told, true, memory_order_relaxed);
}

void data_key_progress(struct data_key *key, struct key_progress *progress)
{
    progress->sealed_packets = atomic_load_explicit(&key->sealed_packets, memory_order_relaxed);
    progress->sealed_octets = atomic_load_explicit(&key->sealed_octets, memory_order_relaxed);
    progress->opened_octets = atomic_load_explicit(&key->opened_octets, memory_order_relaxed);
    progress->failures = atomic_load_explicit(&key->failures, memory_order_relaxed);
    replay_progress(&key->replay, progress);
}
