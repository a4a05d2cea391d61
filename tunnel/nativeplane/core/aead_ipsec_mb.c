/* The AEADs of Intel's Multi-Buffer Crypto for IPsec: AES-GCM in a third, ChaCha20-Poly1305 in two thirds of libcrypto's
 * time where there is AVX-512. Owns the library and the expanded keys; knows no packets.
 *
 * It is used where its header was there when this was compiled (and WITHOUT_IPSEC_MB was not said), and the same version of
 * it is there now: it is loaded, not linked, so that what was compiled here runs where it is not installed.
 *
 * Threads: its manager is asked once for the functions that suit the processor, and given back. They take no manager, only
 * read the expanded key, and keep a message's state in a context of the caller's (lib/include/gcm.h and
 * lib/x86_64/chacha20_poly1305.c of the library), so one key serves all threads. What they share is `imb_errno`, which each
 * call sets to 0 (lib/include/error.inc); across threads it says nothing, so nobody looks at it after loading.
 *
 * Errors: a function that finds a parameter wrong returns without doing anything, and says so there only: pointers that
 * are NULL, more than 64 GB of text, a tag of no or more than 16 octets. `struct aead_message` rules them out, and a tag
 * that was not computed would never be the right one.
 */
#include "aead_backend.h"

#if !__has_include(<intel-ipsec-mb.h>) || defined(WITHOUT_IPSEC_MB)

const struct aead_backend *aead_ipsec_mb(void)
{
    return NULL;
}

#else

#include <dlfcn.h>
#include <errno.h>
#include <intel-ipsec-mb.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define ALIGNMENT 64 /* of `struct gcm_key_data`, which its header asks of some compilers only */
#define CHACHA20_KEY 32

/* Written by whoever is the first to ask, before `pthread_once` lets anybody read. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct {
    bool usable;
    aes_gcm_pre_t expand_256, expand_128;
    aes_gcm_enc_dec_t encrypt_256, decrypt_256, encrypt_128, decrypt_128;
    chacha_poly_init_t begin_chacha;
    chacha_poly_enc_dec_update_t encrypt_chacha, decrypt_chacha;
    chacha_poly_finalize_t finish_chacha;
} library;

/* One direction of a key. Nobody changes it once it is made. */
struct expanded_key {
    _Alignas(ALIGNMENT) union {
        struct gcm_key_data gcm;
        uint8_t chacha[CHACHA20_KEY];
    };
    aes_gcm_enc_dec_t run_gcm; /* or, where it is NULL, */
    chacha_poly_enc_dec_update_t run_chacha;
};

static void take_functions(const IMB_MGR *manager)
{
    library.expand_256 = manager->gcm256_pre;
    library.expand_128 = manager->gcm128_pre;
    library.encrypt_256 = manager->gcm256_enc;
    library.decrypt_256 = manager->gcm256_dec;
    library.encrypt_128 = manager->gcm128_enc;
    library.decrypt_128 = manager->gcm128_dec;
    library.begin_chacha = manager->chacha20_poly1305_init;
    library.encrypt_chacha = manager->chacha20_poly1305_enc_update;
    library.decrypt_chacha = manager->chacha20_poly1305_dec_update;
    library.finish_chacha = manager->chacha20_poly1305_finalize;
    library.usable = true;
}

/* The declarations of its header, found by name. */
#define FIND(handle, function) __typeof__(&function) find_##function = (__typeof__(&function))dlsym(handle, #function)

static void use(void *handle)
{
    FIND(handle, imb_get_version);
    FIND(handle, imb_get_errno);
    FIND(handle, alloc_mb_mgr);
    FIND(handle, init_mb_mgr_auto);
    FIND(handle, free_mb_mgr);
    if (!find_imb_get_version || !find_imb_get_errno || !find_alloc_mb_mgr || !find_init_mb_mgr_auto || !find_free_mb_mgr)
        return;
    /* The manager's layout is only certain within a version. */
    IMB_MGR *manager = find_imb_get_version() == IMB_VERSION_NUM ? find_alloc_mb_mgr(0) : NULL;
    if (!manager)
        return;
    IMB_ARCH processor = IMB_ARCH_NONE;
    find_init_mb_mgr_auto(manager, &processor); /* tests itself with known answers, and leaves an error if they differ */
    if (find_imb_get_errno(manager) == 0 && processor >= IMB_ARCH_AVX2)
        take_functions(manager); /* without AVX2 there is not enough in it */
    find_free_mb_mgr(manager);
}

static void load(void)
{
    char name[32];
    snprintf(name, sizeof name, "libIPSec_MB.so.%u", (unsigned)IMB_VERSION_NUM >> 16);
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return;
    use(handle);
    if (!library.usable)
        dlclose(handle);
}

static int expand(void **state, enum cipher cipher, const uint8_t *key, bool sealing)
{
    struct expanded_key *expanded = aligned_alloc(ALIGNMENT, sizeof *expanded);
    *state = expanded;
    if (!expanded)
        return -ENOMEM;
    memset(expanded, 0, sizeof *expanded);
    switch (cipher) {
    case AES_256_GCM:
        library.expand_256(key, &expanded->gcm);
        expanded->run_gcm = sealing ? library.encrypt_256 : library.decrypt_256;
        break;
    case AES_128_GCM:
        library.expand_128(key, &expanded->gcm);
        expanded->run_gcm = sealing ? library.encrypt_128 : library.decrypt_128;
        break;
    default:
        memcpy(expanded->chacha, key, CHACHA20_KEY);
        expanded->run_chacha = sealing ? library.encrypt_chacha : library.decrypt_chacha;
    }
    return 0;
}

static void destroy(void *state)
{
    if (state)
        OPENSSL_cleanse(state, sizeof(struct expanded_key));
    free(state);
}

static void run_gcm(const struct expanded_key *key, const struct aead_message *message, uint8_t *tag)
{
    struct gcm_context_data context;
    key->run_gcm(&key->gcm, &context, message->to.at, message->from.at, message->from.size, message->nonce,
                 message->authenticated.at, message->authenticated.size, tag, AEAD_TAG);
    OPENSSL_cleanse(&context, sizeof context); /* some of the functions leave the hash in it, before it is encrypted */
}

static void run_chacha(const struct expanded_key *key, const struct aead_message *message, uint8_t *tag)
{
    struct chacha20_poly1305_context_data context;
    library.begin_chacha(key->chacha, &context, message->nonce, message->authenticated.at, message->authenticated.size);
    key->run_chacha(key->chacha, &context, message->to.at, message->from.at, message->from.size);
    library.finish_chacha(&context, tag, AEAD_TAG);
    OPENSSL_cleanse(&context, sizeof context);
}

static void run(const struct expanded_key *key, const struct aead_message *message, uint8_t *tag)
{
    if (key->run_gcm)
        run_gcm(key, message, tag);
    else
        run_chacha(key, message, tag);
}

static bool seal_message(void *state, const struct aead_message *message)
{
    run(state, message, message->tag.at);
    return true;
}

static bool open_message(void *state, const struct aead_message *message)
{
    uint8_t tag[AEAD_TAG];
    for (size_t i = 0; i < AEAD_TAG; i++)
        tag[i] = (uint8_t)~load8(message->tag, i); /* wrong in every bit, until it has been computed */
    run(state, message, tag);
    return CRYPTO_memcmp(tag, message->tag.at, AEAD_TAG) == 0;
}

static const struct aead_backend IPSEC_MB = {
    .name = "intel-ipsec-mb",
    .is_shared = true,
    .expand = expand,
    .destroy = destroy,
    .seal = seal_message,
    .open_untrusted = open_message,
};

const struct aead_backend *aead_ipsec_mb(void)
{
    pthread_once(&once, load);
    return library.usable ? &IPSEC_MB : NULL;
}

#endif
