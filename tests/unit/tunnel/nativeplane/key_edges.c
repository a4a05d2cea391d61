/* Keys at the edges of memory that nobody may touch, and what is left in memory that they gave back.
 *
 * A program of its own, because a mistake of a cipher written in assembly is nothing that a sanitizer sees, but the end of
 * the process; linked with --wrap=free. It prints what must not be.
 */
#include <stdio.h>
#include <stdlib.h>
#include <malloc.h>
#include <sys/mman.h>

#include "data_key.h"

#define PAGE 4096
#define MOST_PAYLOAD 1700
#define SECRET 16 /* of the cipher key; an expanded key begins with it */

static struct key_settings settings = {.workers = 2};
static int mistakes;

void __real_free(void *memory);
void __wrap_free(void *memory);

void __wrap_free(void *memory)
{
    if (memory && memmem(memory, malloc_usable_size(memory), settings.send.cipher, SECRET))
        mistakes += printf("cipher %d: a key is left behind\n", (int)settings.cipher) > 0;
    __real_free(memory);
}

/* A page between two that nobody may touch. */
static struct span lone_page(void)
{
    struct span pages = span_of(mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 3 * PAGE);
    struct span page = part(pages, PAGE, PAGE);
    if (pages.at == MAP_FAILED || mprotect(page.at, page.size, PROT_READ | PROT_WRITE))
        abort();
    return page;
}

static struct span at_edge(struct span page, size_t size, bool at_end)
{
    return part(page, at_end ? page.size - size : 0, size);
}

static void must_move(struct data_key *key, struct span text, struct span packet)
{
    struct span payload;
    bool opened = seal(key, 0, text, packet) == packet.size && open_untrusted(key, 1, packet, &payload) == OPENED;
    if (!opened || !same(payload, text))
        mistakes += printf("cipher %d, %zu octets: not moved\n", (int)settings.cipher, text.size) > 0;
}

int main(void)
{
    struct span from = lone_page(), to = lone_page();
    for (size_t i = 0; i < SECRET; i++)
        settings.send.cipher[i] = settings.receive.cipher[i] = (uint8_t)(i * 11 + 5);
    for (int variant = 0; variant <= 2 * AES_128_CBC + 1; variant++) {
        settings.cipher = (enum cipher)(variant / 2);
        settings.data_v2 = variant % 2;
        struct data_key *key;
        if (data_key_new(&settings, &key))
            abort();
        for (size_t size = 1; size <= MOST_PAYLOAD; size++) {
            for (int edge = 0; edge < 2; edge++)
                must_move(key, at_edge(from, size, edge), at_edge(to, sealed_size(key, size), edge));
        }
        data_key_free(key);
    }
    return mistakes != 0;
}
