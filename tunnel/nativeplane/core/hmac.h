/* HMAC (RFC 2104) with a key of the data channel. A part of cbc.c. */
#ifndef PORTWAY_HMAC_H
#define PORTWAY_HMAC_H

#include <openssl/evp.h>

#include "data_key.h"

struct hmac {
    EVP_MD_CTX *inner, *outer; /* a digest that has taken the padded key: what every HMAC begins with */
    EVP_MD_CTX *running;
    size_t size;
};

/* Octets of the tag, which is also how much of a key half the digest uses. */
size_t hmac_size(enum digest digest);

/* 0, -ENOMEM, -ENOTSUP. Whatever it gives, `hmac_destroy` is due; it may also follow zeroed memory. */
int hmac_init(struct hmac *hmac, enum digest digest, const uint8_t key[KEY_HALF_SIZE]);
void hmac_destroy(struct hmac *hmac);

/* The tag of `message` into `tag`, which has `size` octets. False: libcrypto failed. */
bool hmac_compute(const struct hmac *hmac, struct span message, struct span tag);

#endif
