/* CBC data packets: encrypt, then HMAC. Owns the cipher context; knows no counters, no replay window, and no threads.
 *
 * The contexts keep their keys; a packet brings an IV, or nothing. Padding is ours, not libcrypto's, so that a packet is
 * encrypted in one call where it lies, and looked at only after the HMAC, so that it tells a forger nothing.
 */
#include "cbc.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#define BLOCK 16
#define ID_SIZE 4

_Static_assert(4 + 64 + BLOCK + ID_SIZE + BLOCK <= MOST_OVERHEAD, "the longest HMAC fits");

/* PKCS#7 (RFC 5652 6.3): always at least one octet. */
static size_t padded_size(size_t payload_size)
{
    return (ID_SIZE + payload_size) / BLOCK * BLOCK + BLOCK;
}

size_t cbc_sealed_size(enum digest digest, size_t payload_size)
{
    return hmac_size(digest) + BLOCK + padded_size(payload_size);
}

static int init_cipher(struct cbc *cbc, enum cipher cipher, const struct key_half *half, bool sealing)
{
    cbc->cipher = EVP_CIPHER_CTX_new();
    if (!cbc->cipher)
        return -ENOMEM;
    EVP_CIPHER *fetched = EVP_CIPHER_fetch(NULL, cipher == AES_128_CBC ? "AES-128-CBC" : "AES-256-CBC", NULL);
    bool ready = fetched && EVP_CipherInit_ex2(cbc->cipher, fetched, half->cipher, NULL, sealing, NULL) &&
                 EVP_CIPHER_CTX_set_padding(cbc->cipher, 0);
    EVP_CIPHER_free(fetched);
    return ready ? 0 : -ENOTSUP;
}

int cbc_init(struct cbc *cbc, enum cipher cipher, enum digest digest, const struct key_half *half, bool sealing)
{
    int error = init_cipher(cbc, cipher, half, sealing);
    return error ? error : hmac_init(&cbc->hmac, digest, half->hmac);
}

void cbc_destroy(struct cbc *cbc)
{
    EVP_CIPHER_CTX_free(cbc->cipher); /* cleanses the expanded key */
    hmac_destroy(&cbc->hmac);
}

/* Where everything is in a packet. */
struct layout {
    struct span tag, iv, text, covered; /* the HMAC covers the IV and the text */
};

static struct layout layout_of(const struct cbc *cbc, size_t head, struct span packet)
{
    struct span covered = rest(packet, head + cbc->hmac.size);
    return (struct layout){
        .tag = part(packet, head, cbc->hmac.size),
        .iv = part(covered, 0, BLOCK),
        .text = rest(covered, BLOCK),
        .covered = covered,
    };
}

/* Encrypt or decrypt whole blocks where they lie. */
static bool transform(const struct cbc *cbc, struct span iv, struct span text)
{
    int size;
    return EVP_CipherInit_ex2(cbc->cipher, NULL, NULL, iv.at, -1, NULL) &&
           EVP_CipherUpdate(cbc->cipher, text.at, &size, text.at, (int)text.size) && (size_t)size == text.size;
}

static void put_padding(struct span text, size_t used)
{
    size_t count = text.size - used;
    memset(part(text, used, count).at, (int)count, count);
}

bool cbc_seal(const struct cbc *cbc, size_t head, uint32_t packet_id, struct span payload, struct span packet)
{
    struct layout at = layout_of(cbc, head, packet);
    store32(at.text, 0, packet_id);
    put(at.text, ID_SIZE, payload);
    put_padding(at.text, ID_SIZE + payload.size);
    return RAND_bytes(at.iv.at, (int)at.iv.size) == 1 && transform(cbc, at.iv, at.text) &&
           hmac_compute(&cbc->hmac, at.covered, at.tag);
}

static bool is_authentic(const struct cbc *cbc, struct layout at)
{
    uint8_t expected[EVP_MAX_MD_SIZE];
    return hmac_compute(&cbc->hmac, at.covered, span_of(expected, at.tag.size)) &&
           CRYPTO_memcmp(expected, at.tag.at, at.tag.size) == 0;
}

/* Take the padding off; false when it is none. */
static bool strip_padding(struct span *text)
{
    size_t count = load8(*text, text->size - 1);
    if (count == 0 || count > BLOCK)
        return false;
    for (size_t i = text->size - count; i < text->size; i++) {
        if (load8(*text, i) != count)
            return false;
    }
    *text = part(*text, 0, text->size - count);
    return true;
}

bool cbc_open_untrusted(const struct cbc *cbc, size_t head, struct span packet, uint32_t *packet_id, struct span *payload)
{
    size_t before_text = head + cbc->hmac.size + BLOCK;
    if (packet.size < before_text + BLOCK || (packet.size - before_text) % BLOCK)
        return false;
    struct layout at = layout_of(cbc, head, packet);
    if (!is_authentic(cbc, at) || !transform(cbc, at.iv, at.text) || !strip_padding(&at.text))
        return false;
    /* Shorter than a packet id and one octet: sealed by the right key, but no data packet. */
    if (at.text.size <= ID_SIZE)
        return false;
    *packet_id = load32(at.text, 0);
    *payload = rest(at.text, ID_SIZE);
    return true;
}
