/* AEAD data packets. Owns the cipher context and the nonce; knows no counters, no replay window, and no threads.
 *
 * The context keeps the expanded key; a packet only brings a nonce. The tag travels as a parameter (with the nonce where
 * there is one to check), since EVP_CIPHER_CTX_ctrl finds its way to the same place in 20 to 120 ns more.
 */
#include "aead.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>

#define NONCE_SIZE (4 + NONCE_TAIL)

_Static_assert(AEAD_TAG == EVP_GCM_TLS_TAG_LEN && AEAD_TAG == EVP_CHACHAPOLY_TLS_TAG_LEN, "every AEAD has the same tag");

static const char *name_of(enum cipher cipher)
{
    switch (cipher) {
    case AES_256_GCM: return "AES-256-GCM";
    case AES_128_GCM: return "AES-128-GCM";
    default: return "ChaCha20-Poly1305";
    }
}

int aead_init(struct aead *aead, enum cipher cipher, const struct key_half *half, bool sealing)
{
    memcpy(aead->nonce_tail, half->hmac, NONCE_TAIL);
    aead->context = EVP_CIPHER_CTX_new();
    if (!aead->context)
        return -ENOMEM;
    EVP_CIPHER *fetched = EVP_CIPHER_fetch(NULL, name_of(cipher), NULL);
    bool ready = fetched && EVP_CipherInit_ex2(aead->context, fetched, half->cipher, NULL, sealing, NULL);
    EVP_CIPHER_free(fetched);
    return ready ? 0 : -ENOTSUP;
}

void aead_destroy(struct aead *aead)
{
    EVP_CIPHER_CTX_free(aead->context); /* cleanses the expanded key */
    OPENSSL_cleanse(aead, sizeof *aead);
}

/* Where everything is in a packet. */
struct layout {
    struct span packet_id, authenticated, tag, text;
};

static struct layout layout_of(size_t head, struct span packet)
{
    size_t covered = head == DATA_V2_HEAD ? 0 : head; /* DATA_V1 leaves its head out */
    return (struct layout){
        .packet_id = part(packet, head, 4),
        .authenticated = part(packet, covered, head + 4 - covered),
        .tag = part(packet, head + 4, AEAD_TAG),
        .text = rest(packet, head + AEAD_ADDED),
    };
}

struct nonce {
    uint8_t octets[NONCE_SIZE];
};

static struct nonce nonce_of(const struct aead *aead, uint32_t packet_id)
{
    struct nonce nonce;
    store32(span_of(nonce.octets, NONCE_SIZE), 0, packet_id);
    memcpy(nonce.octets + 4, aead->nonce_tail, NONCE_TAIL);
    return nonce;
}

/* Authenticate and transform: `from` to `to`, which are the same or apart. */
static bool run(EVP_CIPHER_CTX *context, struct span authenticated, struct span from, struct span to)
{
    int size;
    return EVP_CipherUpdate(context, NULL, &size, authenticated.at, (int)authenticated.size) &&
           EVP_CipherUpdate(context, to.at, &size, from.at, (int)from.size) && (size_t)size == to.size;
}

bool aead_seal(const struct aead *aead, size_t head, uint32_t packet_id, struct span payload, struct span packet)
{
    struct layout at = layout_of(head, packet);
    struct nonce nonce = nonce_of(aead, packet_id);
    uint8_t nothing[EVP_MAX_BLOCK_LENGTH];
    int size;
    OSSL_PARAM tag[] = {OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, at.tag.at, at.tag.size), OSSL_PARAM_END};

    store32(at.packet_id, 0, packet_id);
    return EVP_EncryptInit_ex2(aead->context, NULL, NULL, nonce.octets, NULL) &&
           run(aead->context, at.authenticated, payload, at.text) &&
           EVP_EncryptFinal_ex(aead->context, nothing, &size) && EVP_CIPHER_CTX_get_params(aead->context, tag);
}

bool aead_open_untrusted(const struct aead *aead, size_t head, struct span packet, uint32_t *packet_id, struct span *payload)
{
    if (packet.size <= head + AEAD_ADDED)
        return false;
    struct layout at = layout_of(head, packet);
    *packet_id = load32(at.packet_id, 0);
    *payload = at.text;

    struct nonce nonce = nonce_of(aead, *packet_id);
    uint8_t nothing[EVP_MAX_BLOCK_LENGTH];
    int size;
    OSSL_PARAM tag[] = {OSSL_PARAM_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, at.tag.at, at.tag.size), OSSL_PARAM_END};
    return EVP_DecryptInit_ex2(aead->context, NULL, NULL, nonce.octets, tag) &&
           run(aead->context, at.authenticated, at.text, at.text) && EVP_DecryptFinal_ex(aead->context, nothing, &size);
}
