/* Between Python's values and the core's. Ranges and types are checked here; what passes is sound. */
#ifndef PORTWAY_CONVERT_H
#define PORTWAY_CONVERT_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>

#include "plane.h"

/* For "O&" of PyArg_ParseTuple: 1, or 0 with TypeError or ValueError set. The second argument points to the type named. */
int to_u8(PyObject *object, void *number);      /* uint8_t */
int to_u16(PyObject *object, void *number);     /* uint16_t */
int to_u32(PyObject *object, void *number);     /* uint32_t */
int to_u64(PyObject *object, void *number);     /* uint64_t */
int to_count(PyObject *object, void *number);   /* unsigned */
int to_size(PyObject *object, void *number);    /* size_t */
int to_fd(PyObject *object, void *number);      /* int, not negative */
int to_path(PyObject *object, void *path);      /* struct path; (remote, port, local, scope, stream) */
int to_key_half(PyObject *object, void *half);  /* struct key_half; (cipher, hmac) of KEY_HALF_SIZE octets each */
int to_progress(PyObject *object, void *value); /* struct key_progress; a tuple as from_progress gives it, or None */
int to_totals(PyObject *object, void *totals);  /* struct traffic_totals; a tuple as from_totals gives it, or None */

#define MOST_DESCRIPTORS (MOST_WORKERS + CONTROL_SOCKETS) /* one for each worker and, of UDP sockets, one for control */

struct descriptors {
    unsigned count;
    int fd[MOST_DESCRIPTORS];
};
int to_descriptors(PyObject *object, void *descriptors); /* a sequence of at most MOST_DESCRIPTORS */

/* New references, or NULL with an exception set. */
PyObject *from_numbers(const uint64_t *numbers, size_t count); /* a tuple */
PyObject *from_path(const struct path *path);
PyObject *from_progress(const struct key_progress *progress); /* five numbers, and the window as octets, bit 0 first */
PyObject *from_totals(const struct traffic_totals *totals);   /* four numbers, then the drops by cause */
PyObject *from_event(const struct event *event);              /* (kind, peer id, path, packet) */

/* Set the exception for a negative errno, and give NULL: OSError with a sentence, or MemoryError. */
PyObject *refuse(int failed, const char *what);
/* The same for what concerns a peer: KeyError when it, or its key, is not there; ValueError when that cannot be. */
PyObject *refuse_peer(int failed, uint32_t peer_id);

#endif
