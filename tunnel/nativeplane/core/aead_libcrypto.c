/* The AEADs of libcrypto, which is always there. Owns the cipher context; knows no packets.
 *
 * The context keeps the expanded key; a message only brings a nonce. It also keeps the state of the message, so each thread
 * needs one of its own. The tag travels as a parameter (with the nonce where there is one to check), since
 * EVP_CIPHER_CTX_ctrl finds its way to the same place in 20 to 120 ns more.
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "aead_backend.h"

_Static_assert(AEAD_TAG == EVP_GCM_TLS_TAG_LEN && AEAD_TAG == EVP_CHACHAPOLY_TLS_TAG_LEN, "every AEAD has the same tag");

#define TAG_OF(message) OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, (message)->tag.at, (message)->tag.size)

static const char *name_of(enum cipher cipher)
{
    switch (cipher) {
    case AES_256_GCM: return "AES-256-GCM";
    case AES_128_GCM: return "AES-128-GCM";
    default: return "ChaCha20-Poly1305";
    }
}

static void destroy(void *state)
{
    EVP_CIPHER_CTX_free(state); /* cleanses the expanded key */
}

static int expand(void **state, enum cipher cipher, const uint8_t *key, bool sealing)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    *state = context;
    if (!context)
        return -ENOMEM;
    EVP_CIPHER *fetched = EVP_CIPHER_fetch(NULL, name_of(cipher), NULL);
    bool ready = fetched && EVP_CipherInit_ex2(context, fetched, key, NULL, sealing, NULL);
    EVP_CIPHER_free(fetched);
    if (ready)
        return 0;
    destroy(context);
    *state = NULL;
    return -ENOTSUP;
}

/* Authenticate and transform. */
static bool run(EVP_CIPHER_CTX *context, const struct aead_message *message)
{
    struct span authenticated = message->authenticated, from = message->from, to = message->to;
    int size;
    return EVP_CipherUpdate(context, NULL, &size, authenticated.at, (int)authenticated.size) &&
           EVP_CipherUpdate(context, to.at, &size, from.at, (int)from.size) && (size_t)size == to.size;
}

static bool seal_message(void *state, const struct aead_message *message)
{
    uint8_t nothing[EVP_MAX_BLOCK_LENGTH];
    int size;
    OSSL_PARAM tag[] = {TAG_OF(message), OSSL_PARAM_END};
    return EVP_EncryptInit_ex2(state, NULL, NULL, message->nonce, NULL) && run(state, message) &&
           EVP_EncryptFinal_ex(state, nothing, &size) && EVP_CIPHER_CTX_get_params(state, tag);
}

static bool open_message(void *state, const struct aead_message *message)
{
    uint8_t nothing[EVP_MAX_BLOCK_LENGTH];
    int size;
    OSSL_PARAM tag[] = {TAG_OF(message), OSSL_PARAM_END};
    return EVP_DecryptInit_ex2(state, NULL, NULL, message->nonce, tag) && run(state, message) &&
           EVP_DecryptFinal_ex(state, nothing, &size);
}

const struct aead_backend AEAD_LIBCRYPTO = {
    .name = "libcrypto",
    .expand = expand,
    .destroy = destroy,
    .seal = seal_message,
    .open_untrusted = open_message,
};
