/* Between Python's values and the core's. Owns every check of what Python hands over; knows nothing of the plane's objects.
 */
#include "convert.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>

#define TOTALS (4 + DROP_CAUSES)

/* Into C. */

static int to_number(PyObject *object, uint64_t most, uint64_t *number)
{
    *number = PyLong_AsUnsignedLongLong(object);
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_OverflowError))
        return 0;
    if (PyErr_Occurred() || *number > most) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "%R is not a number from 0 to %llu", object, (unsigned long long)most);
        return 0;
    }
    return 1;
}

#define CONVERTER(name, type, most)                  \
    int name(PyObject *object, void *number)         \
    {                                                \
        uint64_t value;                              \
        if (!to_number(object, (most), &value))      \
            return 0;                                \
        *(type *)number = (type)value;               \
        return 1;                                    \
    }

CONVERTER(to_u8, uint8_t, UINT8_MAX)
CONVERTER(to_u16, uint16_t, UINT16_MAX)
CONVERTER(to_u32, uint32_t, UINT32_MAX)
CONVERTER(to_u64, uint64_t, UINT64_MAX)
CONVERTER(to_count, unsigned, UINT_MAX)
CONVERTER(to_size, size_t, SIZE_MAX)
CONVERTER(to_fd, int, INT_MAX)

/* A tuple, or TypeError: PyArg_ParseTuple calls anything else a fault of the interpreter. */
static bool is_tuple(PyObject *object, const char *of)
{
    if (!PyTuple_Check(object))
        PyErr_Format(PyExc_TypeError, "expected a tuple (%s), not %R", of, object);
    return PyTuple_Check(object);
}

static bool copy_exactly(const char *octets, Py_ssize_t size, uint8_t *to, size_t expected, const char *what)
{
    if ((size_t)size != expected) {
        PyErr_Format(PyExc_ValueError, "%s takes %zu octets, not %zd", what, expected, size);
        return false;
    }
    memcpy(to, octets, expected);
    return true;
}

int to_path(PyObject *object, void *result)
{
    struct path *path = result;
    const char *remote, *local;
    Py_ssize_t remote_size, local_size;
    *path = (struct path){0};
    return is_tuple(object, "remote, port, local, scope, stream") &&
           PyArg_ParseTuple(object, "y#O&y#O&O&", &remote, &remote_size, to_u16, &path->port, &local, &local_size, to_u32,
                            &path->scope, to_u64, &path->stream) &&
           copy_exactly(remote, remote_size, path->remote, sizeof path->remote, "a remote address") &&
           copy_exactly(local, local_size, path->local, sizeof path->local, "a local address");
}

int to_key_half(PyObject *object, void *result)
{
    struct key_half *half = result;
    const char *cipher, *hmac;
    Py_ssize_t cipher_size, hmac_size;
    return is_tuple(object, "cipher, hmac") &&
           PyArg_ParseTuple(object, "y#y#", &cipher, &cipher_size, &hmac, &hmac_size) &&
           copy_exactly(cipher, cipher_size, half->cipher, KEY_HALF_SIZE, "the cipher half of a key") &&
           copy_exactly(hmac, hmac_size, half->hmac, KEY_HALF_SIZE, "the HMAC half of a key");
}

int to_progress(PyObject *object, void *result)
{
    struct key_progress *progress = result;
    const char *window;
    Py_ssize_t size;
    *progress = (struct key_progress){0};
    if (object == Py_None)
        return 1;
    if (!is_tuple(object, "sealed packets, sealed octets, opened octets, failures, greatest opened, window") ||
        !PyArg_ParseTuple(object, "O&O&O&O&O&y#", to_u64, &progress->sealed_packets, to_u64, &progress->sealed_octets,
                          to_u64, &progress->opened_octets, to_u64, &progress->failures, to_u32,
                          &progress->greatest_opened, &window, &size) ||
        !copy_exactly(window, size, (uint8_t *)progress->window, sizeof progress->window, "a replay window"))
        return 0;
    for (size_t i = 0; i < REPLAY_WORDS; i++)
        progress->window[i] = le64toh(progress->window[i]);
    return 1;
}

int to_totals(PyObject *object, void *result)
{
    struct traffic_totals *totals = result;
    *totals = (struct traffic_totals){0};
    if (object == Py_None)
        return 1;
    if (!is_tuple(object, "ingress packets, octets, egress packets, octets, drops …"))
        return 0;
    uint64_t numbers[TOTALS];
    if (PyTuple_Size(object) != TOTALS) {
        PyErr_Format(PyExc_ValueError, "totals are %d numbers, not %zd", (int)TOTALS, PyTuple_Size(object));
        return 0;
    }
    for (Py_ssize_t i = 0; i < TOTALS; i++)
        if (!to_u64(PyTuple_GetItem(object, i), &numbers[i]))
            return 0;
    *totals = (struct traffic_totals){numbers[0], numbers[1], numbers[2], numbers[3], {0}};
    memcpy(totals->drops, &numbers[4], sizeof totals->drops);
    return 1;
}

static bool to_item(PyObject *sequence, Py_ssize_t i, int *fd)
{
    PyObject *item = PySequence_GetItem(sequence, i);
    bool is_fd = item && to_fd(item, fd);
    Py_XDECREF(item);
    return is_fd;
}

int to_descriptors(PyObject *object, void *result)
{
    struct descriptors *descriptors = result;
    Py_ssize_t count = PySequence_Size(object);
    if (count < 0)
        return 0;
    if (count > MOST_DESCRIPTORS) {
        PyErr_Format(PyExc_ValueError, "%zd descriptors are more than the %d that there may be", count, MOST_DESCRIPTORS);
        return 0;
    }
    descriptors->count = (unsigned)count;
    for (Py_ssize_t i = 0; i < count; i++)
        if (!to_item(object, i, &descriptors->fd[i]))
            return 0;
    return 1;
}

/* Out of C. */

PyObject *from_numbers(const uint64_t *numbers, size_t count)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++) {
        PyObject *number = PyLong_FromUnsignedLongLong(numbers[i]);
        /* It takes the reference, also when it fails. */
        if (!number || PyTuple_SetItem(tuple, (Py_ssize_t)i, number) < 0)
            Py_CLEAR(tuple);
    }
    return tuple;
}

PyObject *from_path(const struct path *path)
{
    return Py_BuildValue("(y#Iy#IK)", path->remote, (Py_ssize_t)sizeof path->remote, (unsigned)path->port, path->local,
                         (Py_ssize_t)sizeof path->local, (unsigned)path->scope, (unsigned long long)path->stream);
}

PyObject *from_progress(const struct key_progress *progress)
{
    uint64_t window[REPLAY_WORDS];
    for (size_t i = 0; i < REPLAY_WORDS; i++)
        window[i] = htole64(progress->window[i]);
    return Py_BuildValue("(KKKKIy#)", (unsigned long long)progress->sealed_packets,
                         (unsigned long long)progress->sealed_octets, (unsigned long long)progress->opened_octets,
                         (unsigned long long)progress->failures, (unsigned)progress->greatest_opened, window,
                         (Py_ssize_t)sizeof window);
}

PyObject *from_totals(const struct traffic_totals *totals)
{
    uint64_t numbers[TOTALS] = {totals->ingress_packets, totals->ingress_octets, totals->egress_packets,
                                totals->egress_octets};
    memcpy(&numbers[4], totals->drops, sizeof totals->drops);
    return from_numbers(numbers, TOTALS);
}

PyObject *from_event(const struct event *event)
{
    const void *packet = event->packet.at ? event->packet.at : (const void *)"";
    return Py_BuildValue("(iINy#)", (int)event->kind, (unsigned)event->peer_id, from_path(&event->path), packet,
                         (Py_ssize_t)event->packet.size);
}

/* Refusals. */

PyObject *refuse(int failed, const char *what)
{
    if (failed == -ENOMEM)
        return PyErr_NoMemory();
    PyObject *text = PyUnicode_FromFormat("%s: %s", what, strerror(-failed));
    PyObject *error = text ? PyObject_CallFunction(PyExc_OSError, "iO", -failed, text) : NULL;
    if (error)
        PyErr_SetObject(PyExc_OSError, error);
    Py_XDECREF(error);
    Py_XDECREF(text);
    return NULL;
}

PyObject *refuse_peer(int failed, uint32_t peer_id)
{
    unsigned id = peer_id;
    switch (failed) {
    case -ENOENT:
        return PyErr_Format(PyExc_KeyError, "peer %u is not there, or has no such key", id);
    case -EEXIST:
        return PyErr_Format(PyExc_ValueError, "peer %u: its id or inside address belongs to another peer", id);
    case -EINVAL:
        return PyErr_Format(PyExc_ValueError, "peer %u: a value is out of range", id);
    case -ENOTSUP:
        return refuse(failed, "libcrypto does not offer the cipher or the digest of this key");
    default:
        return refuse(failed, "the peer cannot be changed");
    }
}
