/* AES-CBC data packets with an HMAC, one direction of a key for one worker. A part of data_key.c. */
#ifndef PORTWAY_CBC_H
#define PORTWAY_CBC_H

#include <openssl/evp.h>

#include "data_key.h"
#include "hmac.h"

struct cbc {
    EVP_CIPHER_CTX *cipher;
    struct hmac hmac;
};

/* Octets that a packet has besides its head, for a payload of `payload_size`. */
size_t cbc_sealed_size(enum digest digest, size_t payload_size);

/* 0, -ENOMEM, -ENOTSUP. Whatever it gives, `cbc_destroy` is due; it may also follow zeroed memory. */
int cbc_init(struct cbc *cbc, enum cipher cipher, enum digest digest, const struct key_half *half, bool sealing);
void cbc_destroy(struct cbc *cbc);

/* `packet` begins with `head` octets and has exactly the room for the rest. False: libcrypto failed. */
bool cbc_seal(const struct cbc *cbc, size_t head, uint32_t packet_id, struct span payload, struct span packet);

/* Decrypts in place; false when the packet is truncated or not authentic, and what was in it may be spoilt. */
bool cbc_open_untrusted(const struct cbc *cbc, size_t head, struct span packet, uint32_t *packet_id, struct span *payload);

#endif
