/* The driver of the fuzz targets: `driver SECONDS SEED [FILE…]`.
 *
 * The files are the first inputs. Before an input is run it is written to the file `current` in the working directory, which
 * is removed at the end. When a target fails, that file has what it failed on: `driver 0 0 COPY-OF-IT` does it again.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MOST_OCTETS 66000
#define MOST_KEPT 4096
#define PLACES (1u << 16)

static uint8_t reached[PLACES], reached_before[PLACES];
static struct span kept[MOST_KEPT];
static unsigned kept_count;
static uint64_t state;
static struct { size_t size; uint8_t octets[MOST_OCTETS]; } *current;

/* Called by instrumented code at each branch. */
void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
    static uintptr_t last;
    uintptr_t here = (uintptr_t)__builtin_return_address(0);
    reached[(here ^ last) % PLACES] = 1;
    last = here >> 1;
}

static uint32_t roll(uint32_t sides)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return sides ? (uint32_t)(state >> 16) % sides : 0;
}

static bool found_something(void)
{
    bool found = false;
    for (unsigned i = 0; i < PLACES; i++) {
        found |= reached[i] && !reached_before[i];
        reached_before[i] |= reached[i];
    }
    return found;
}

static void keep(struct span input)
{
    struct span copy = span_of(malloc(input.size + 1), input.size);
    if (!copy.at)
        return;
    put(copy, 0, input);
    if (kept_count < MOST_KEPT) {
        kept[kept_count++] = copy;
        return;
    }
    unsigned place = roll(MOST_KEPT);
    free(kept[place].at);
    kept[place] = copy;
}

static void change(struct span room, size_t *size)
{
    static const uint32_t telling[] = {0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 20, 40, 64, 1400, 1500};
    size_t at = *size ? roll((uint32_t)*size) : 0;
    uint32_t value = telling[roll(sizeof telling / sizeof *telling)];
    switch (roll(8)) {
    case 0: /* a bit */
        if (*size)
            store8(room, at, load8(room, at) ^ (uint8_t)(1u << roll(8)));
        break;
    case 1: /* an octet */
        if (*size)
            store8(room, at, (uint8_t)roll(256));
        break;
    case 2: /* a telling number, in either order */
        if (holds(room, at, 2) && at + 2 <= *size)
            store16(room, at, (uint16_t)(roll(2) ? value : __builtin_bswap16((uint16_t)value)));
        break;
    case 3: /* cut the end off */
        *size = at;
        break;
    case 4: /* take something out */
        if (at < *size) {
            size_t gone = 1 + roll((uint32_t)(*size - at));
            put(room, at, part(room, at + gone, *size - at - gone));
            *size -= gone;
        }
        break;
    case 5: { /* a piece of another input, here */
        struct span other = kept[roll(kept_count)];
        size_t from = roll((uint32_t)other.size + 1), length = roll((uint32_t)(other.size - from) + 1);
        if (holds(room, at, length)) {
            put(room, at, part(other, from, length));
            *size = at + length > *size ? at + length : *size;
        }
        break;
    }
    case 6: { /* the same again, behind it */
        size_t length = *size - at;
        if (holds(room, *size, length)) {
            put(room, *size, part(room, at, length));
            *size += length;
        }
        break;
    }
    default: /* some more */
        for (uint32_t more = roll(32); more && *size < room.size; more--)
            store8(room, (*size)++, (uint8_t)roll(256));
    }
}

static void run(void)
{
    struct span input = span_of(current->octets, current->size);
    memset(reached, 0, sizeof reached);
    /* A copy of its own size: a sanitizer sees the first octet too many. */
    struct span exact = span_of(malloc(input.size ? input.size : 1), input.size);
    if (!exact.at)
        return;
    put(exact, 0, input);
    fuzz_one(exact);
    free(exact.at);
    if (found_something())
        keep(input);
}

/* An input, or what was left of a run that failed. */
static bool load(const char *name)
{
    FILE *file = fopen(name, "rb");
    if (!file)
        return false;
    if (fseek(file, 0, SEEK_END) == 0 && (size_t)ftell(file) == sizeof *current) {
        rewind(file);
        size_t read = fread(current, sizeof *current, 1, file);
        current->size = read && current->size <= sizeof current->octets ? current->size : 0;
    } else {
        rewind(file);
        current->size = fread(current->octets, 1, sizeof current->octets, file);
    }
    fclose(file);
    return true;
}

static bool open_current(void)
{
    int fd = open("current", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *current) < 0)
        return false;
    current = mmap(NULL, sizeof *current, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return current != MAP_FAILED;
}

int main(int count, char **arguments)
{
    if (count < 3) {
        fprintf(stderr, "usage: %s SECONDS SEED [FILE...]\n", arguments[0]);
        return 2;
    }
    long seconds = strtol(arguments[1], NULL, 10);
    state = strtoull(arguments[2], NULL, 10) * 2654435769u + 88172645463325252u;
    if (!open_current())
        return 2;
    for (int i = 3; i < count; i++) {
        if (!load(arguments[i])) {
            fprintf(stderr, "cannot read %s\n", arguments[i]);
            return 2;
        }
        keep(span_of(current->octets, current->size));
        run();
    }
    if (!kept_count)
        keep(span_of(current->octets, 0));
    unsigned long long runs = 0;
    for (time_t end = time(NULL) + seconds; time(NULL) < end; runs++) {
        struct span from = kept[roll(kept_count)];
        struct span room = span_of(current->octets, sizeof current->octets);
        put(room, 0, from);
        current->size = from.size;
        for (uint32_t changes = 1 + roll(6); changes; changes--)
            change(room, &current->size);
        run();
    }
    unsigned places = 0;
    for (unsigned i = 0; i < PLACES; i++)
        places += reached_before[i];
    printf("%llu runs, %u inputs kept, %u places reached\n", runs, kept_count, places);
    unlink("current");
    return 0;
}
