/* What aead.c asks of a library with AEAD ciphers. Knows no data packets: aead.c has laid them out. */
#ifndef PORTWAY_AEAD_BACKEND_H
#define PORTWAY_AEAD_BACKEND_H

#include "aead.h"

#define NONCE_SIZE (4 + NONCE_TAIL)

/* One message. `from` and `to` have the same size, 1 octet to INT_MAX, and are the same memory or apart; nothing else
 * overlaps, and nothing is NULL. */
struct aead_message {
    uint8_t nonce[NONCE_SIZE];
    struct span authenticated, from, to;
    struct span tag; /* of AEAD_TAG octets: written by `seal`, checked by `open_untrusted` */
};

struct aead_backend {
    const char *name;
    bool is_shared; /* any number of threads may use one state at once */

    /* An expanded key for one direction. 0, -ENOMEM, -ENOTSUP; the state is NULL when it fails. */
    int (*expand)(void **state, enum cipher cipher, const uint8_t *key, bool sealing);
    /* Cleanses. NULL is ignored. */
    void (*destroy)(void *state);
    bool (*seal)(void *state, const struct aead_message *message);
    /* False: not authentic, and `to` is spoilt. */
    bool (*open_untrusted)(void *state, const struct aead_message *message);
};

extern const struct aead_backend AEAD_LIBCRYPTO;

/* NULL where it cannot be used. The first call loads the library. */
const struct aead_backend *aead_ipsec_mb(void);

#endif
