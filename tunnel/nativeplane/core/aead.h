/* AES-GCM and ChaCha20-Poly1305 data packets, one direction of a key. A part of data_key.c. */
#ifndef PORTWAY_AEAD_H
#define PORTWAY_AEAD_H

#include "data_key.h"

#define NONCE_TAIL 8
#define AEAD_TAG 16
#define AEAD_ADDED (4 + AEAD_TAG) /* octets besides the head */

struct aead_backend;

struct aead {
    const struct aead_backend *backend;
    void *state; /* the back end's: the expanded key */
    uint8_t nonce_tail[NONCE_TAIL];
};

/* What does the cryptography in this process: "intel-ipsec-mb" where it was compiled in, is installed and likes the
 * processor, else "libcrypto". */
const char *aead_backend(void);
/* Whether one `struct aead` serves any number of threads at once; else each needs its own. */
bool aead_is_shared(void);

/* 0, -ENOMEM, -ENOTSUP. Whatever it gives, `aead_destroy` is due; it may also follow zeroed memory. */
int aead_init(struct aead *aead, enum cipher cipher, const struct key_half *half, bool sealing);
void aead_destroy(struct aead *aead);

/* `packet` begins with `head` octets and has exactly the room for the rest. False: the back end failed. */
bool aead_seal(const struct aead *aead, size_t head, uint32_t packet_id, struct span payload, struct span packet);

/* Decrypts in place; false when the packet is truncated or not authentic, and what was in it is spoilt. */
bool aead_open_untrusted(const struct aead *aead, size_t head, struct span packet, uint32_t *packet_id, struct span *payload);

#endif
