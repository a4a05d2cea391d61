/* What keys do when libcrypto gets no memory: they are not made, or a packet is refused, or nobody needed any.
 *
 * A program of its own, because libcrypto takes an allocator only before its first allocation. It prints what must not be.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "data_key.h"

#define WORKERS 3
#define PACKETS 100

static long granted = -1; /* allocations that still succeed; -1: all */
static long live;         /* what is allocated now */
static int mistakes;

static bool is_granted(void)
{
    if (granted > 0)
        granted--;
    else if (granted == 0)
        return false;
    return true;
}

static void *grant(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    void *memory = is_granted() ? malloc(size) : NULL;
    live += memory != NULL;
    return memory;
}

static void take_back(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    live -= memory != NULL;
    free(memory);
}

static void *regrant(void *memory, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    if (!memory)
        return grant(size, file, line);
    return is_granted() ? realloc(memory, size) : NULL;
}

static void must(bool right, const struct key_settings *settings, const char *what)
{
    if (!right)
        mistakes += printf("cipher %d, digest %d: %s\n", (int)settings->cipher, (int)settings->auth, what) > 0;
}

/* Grant one allocation more each time, until there are enough. */
static void make_with_too_little(const struct key_settings *settings)
{
    int error = -ENOMEM;
    for (long count = 0; error; count++) {
        long before = live;
        struct data_key *key = NULL;
        granted = count;
        error = data_key_new(settings, &key);
        granted = -1;
        must(error == 0 || error == -ENOMEM || error == -ENOTSUP, settings, "another error");
        must(!error == !!key, settings, "an error and a key, or neither");
        data_key_free(key);
        must(live == before, settings, "something was left behind");
    }
}

/* Whether a packet goes through two keys, both told to make do with `count` allocations. */
static bool moves_packet(struct data_key *sender, struct data_key *receiver, long count)
{
    uint8_t octets[] = "payload", memory[sizeof octets + MOST_OVERHEAD];
    struct span out = span_of(memory, sizeof memory), payload;
    granted = count;
    size_t size = seal(sender, 0, span_of(octets, sizeof octets), out);
    bool opened = size && open_untrusted(receiver, 0, part(out, 0, size), &payload) == OPENED;
    granted = -1;
    return opened && same(payload, span_of(octets, sizeof octets));
}

static void move_packets(const struct key_settings *settings, bool is_aead)
{
    struct data_key *sender, *receiver;
    if (data_key_new(settings, &sender) || data_key_new(settings, &receiver))
        abort();
    must(moves_packet(sender, receiver, -1), settings, "no packet moves");
    for (long i = 0; i < PACKETS; i++)
        must(moves_packet(sender, receiver, 0) == is_aead, settings, "AEAD packets need no memory, others do");
    for (long count = 0; !moves_packet(sender, receiver, count); count++)
        must(count < PACKETS, settings, "memory does not help");
    must(moves_packet(sender, receiver, -1), settings, "no packet moves after a shortage");
    data_key_free(sender);
    data_key_free(receiver);
}

int main(void)
{
    if (!CRYPTO_set_mem_functions(grant, regrant, take_back))
        return 2;
    for (int cipher = AES_256_GCM; cipher <= AES_128_CBC; cipher++) {
        for (int digest = DIGEST_SHA1; digest <= DIGEST_SHA512; digest++) {
            struct key_settings settings = {.cipher = (enum cipher)cipher, .auth = (enum digest)digest, .workers = WORKERS};
            move_packets(&settings, cipher < AES_256_CBC); /* first: libcrypto keeps what it loads once */
            make_with_too_little(&settings);
        }
    }
    return mistakes != 0;
}
