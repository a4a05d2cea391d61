/* AES-GCM and ChaCha20-Poly1305 data packets, one direction of a key for one worker. A part of data_key.c. */
#ifndef PORTWAY_AEAD_H
#define PORTWAY_AEAD_H

#include <openssl/evp.h>

#include "data_key.h"

#define NONCE_TAIL 8
#define AEAD_TAG 16
#define AEAD_ADDED (4 + AEAD_TAG) /* octets besides the head */

struct aead {
    EVP_CIPHER_CTX *context;
    uint8_t nonce_tail[NONCE_TAIL];
};

/* 0, -ENOMEM, -ENOTSUP. Whatever it gives, `aead_destroy` is due; it may also follow zeroed memory. */
int aead_init(struct aead *aead, enum cipher cipher, const struct key_half *half, bool sealing);
void aead_destroy(struct aead *aead);

/* `packet` begins with `head` octets and has exactly the room for the rest. False: libcrypto failed. */
bool aead_seal(const struct aead *aead, size_t head, uint32_t packet_id, struct span payload, struct span packet);

/* Decrypts in place; false when the packet is truncated or not authentic, and what was in it is spoilt. */
bool aead_open_untrusted(const struct aead *aead, size_t head, struct span packet, uint32_t *packet_id, struct span *payload);

#endif
