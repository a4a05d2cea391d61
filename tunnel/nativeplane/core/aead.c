/* AEAD data packets. Owns their layout, the nonce, and the choice of what does the cryptography; knows no counters, no
 * replay window, and no threads.
 */
#include "aead.h"

#include <openssl/crypto.h>

#include "aead_backend.h"

static const struct aead_backend *chosen(void)
{
    const struct aead_backend *faster = aead_ipsec_mb();
    return faster ? faster : &AEAD_LIBCRYPTO;
}

const char *aead_backend(void)
{
    return chosen()->name;
}

bool aead_is_shared(void)
{
    return chosen()->is_shared;
}

int aead_init(struct aead *aead, enum cipher cipher, const struct key_half *half, bool sealing)
{
    memcpy(aead->nonce_tail, half->hmac, NONCE_TAIL);
    aead->backend = chosen();
    return aead->backend->expand(&aead->state, cipher, half->cipher, sealing);
}

void aead_destroy(struct aead *aead)
{
    if (aead->backend)
        aead->backend->destroy(aead->state);
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

static struct aead_message message_of(const struct aead *aead, uint32_t packet_id, const struct layout *at, struct span from)
{
    struct aead_message message = {.authenticated = at->authenticated, .from = from, .to = at->text, .tag = at->tag};
    struct span nonce = span_of(message.nonce, NONCE_SIZE);
    store32(nonce, 0, packet_id);
    memcpy(rest(nonce, 4).at, aead->nonce_tail, NONCE_TAIL);
    return message;
}

bool aead_seal(const struct aead *aead, size_t head, uint32_t packet_id, struct span payload, struct span packet)
{
    struct layout at = layout_of(head, packet);
    if (payload.size == 0 || payload.size != at.text.size)
        return false;
    store32(at.packet_id, 0, packet_id);
    struct aead_message message = message_of(aead, packet_id, &at, payload);
    return aead->backend->seal(aead->state, &message);
}

bool aead_open_untrusted(const struct aead *aead, size_t head, struct span packet, uint32_t *packet_id, struct span *payload)
{
    if (packet.size <= head + AEAD_ADDED)
        return false;
    struct layout at = layout_of(head, packet);
    *packet_id = load32(at.packet_id, 0);
    *payload = at.text;
    struct aead_message message = message_of(aead, *packet_id, &at, at.text);
    return aead->backend->open_untrusted(aead->state, &message);
}
