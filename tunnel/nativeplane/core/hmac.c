/* HMAC from two digests that have taken the key already, so that a packet costs no key setup. Knows no packets.
 *
 * EVP_MAC would do the same behind one name, but before OpenSSL 3.0.3 it goes on with the message before when it is begun
 * again without a key, and with one it takes twice the time. However a digest is begun, OpenSSL 3.0 allocates its state
 * anew, some 100 octets: this is the one allocation on a packet's path, and only of the CBC ciphers.
 */
#include "hmac.h"

#include <errno.h>
#include <openssl/crypto.h>

#define MOST_BLOCK 128 /* of SHA-512 */
#define INNER_PAD 0x36
#define OUTER_PAD 0x5C

static const struct {
    const char *name;
    size_t size, block;
} digests[] = {
    [DIGEST_SHA1] = {"SHA1", 20, 64},
    [DIGEST_SHA256] = {"SHA256", 32, 64},
    [DIGEST_SHA512] = {"SHA512", 64, MOST_BLOCK},
};

_Static_assert(KEY_HALF_SIZE <= 64, "no key is longer than a block, where it would have to be hashed first");

size_t hmac_size(enum digest digest)
{
    return digests[digest].size;
}

/* Begin a digest with the key under a pad. */
static bool take_key(EVP_MD_CTX *context, const EVP_MD *md, enum digest digest, const uint8_t *key, uint8_t pad)
{
    uint8_t block[MOST_BLOCK];
    for (size_t i = 0; i < digests[digest].block; i++)
        block[i] = (i < digests[digest].size ? key[i] : 0) ^ pad;
    bool taken = EVP_DigestInit_ex2(context, md, NULL) && EVP_DigestUpdate(context, block, digests[digest].block);
    OPENSSL_cleanse(block, sizeof block);
    return taken;
}

int hmac_init(struct hmac *hmac, enum digest digest, const uint8_t key[KEY_HALF_SIZE])
{
    *hmac = (struct hmac){EVP_MD_CTX_new(), EVP_MD_CTX_new(), EVP_MD_CTX_new(), digests[digest].size};
    if (!hmac->inner || !hmac->outer || !hmac->running)
        return -ENOMEM;
    EVP_MD *md = EVP_MD_fetch(NULL, digests[digest].name, NULL);
    bool ready = md && take_key(hmac->inner, md, digest, key, INNER_PAD) && take_key(hmac->outer, md, digest, key, OUTER_PAD);
    EVP_MD_free(md);
    return ready ? 0 : -ENOTSUP;
}

void hmac_destroy(struct hmac *hmac)
{
    /* All cleanse what they hold. */
    EVP_MD_CTX_free(hmac->inner);
    EVP_MD_CTX_free(hmac->outer);
    EVP_MD_CTX_free(hmac->running);
}

/* Go on from `begun` with `message`, to the end. */
static bool finish(const struct hmac *hmac, const EVP_MD_CTX *begun, struct span message, uint8_t digest[EVP_MAX_MD_SIZE])
{
    return EVP_MD_CTX_copy_ex(hmac->running, begun) && EVP_DigestUpdate(hmac->running, message.at, message.size) &&
           EVP_DigestFinal_ex(hmac->running, digest, NULL);
}

bool hmac_compute(const struct hmac *hmac, struct span message, struct span tag)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    struct span result = span_of(digest, hmac->size);
    return finish(hmac, hmac->inner, message, digest) && finish(hmac, hmac->outer, result, digest) && put(tag, 0, result);
}
