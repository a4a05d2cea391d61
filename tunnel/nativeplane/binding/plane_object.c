/* The type `Plane` of the extension: plane.h in Python's terms, call by call.
 *
 * Owns the copies of key material that pass through here, which are cleansed. Decides nothing: what Python may hand over is
 * checked in convert.c, what it means is the plane's.
 */
#include "objects.h"

#include <errno.h>
#include <openssl/crypto.h>

#define PLANE(self) (((struct plane_object *)(self))->plane)

static PyObject *none_or_refuse_peer(int failed, uint32_t peer_id)
{
    if (failed)
        return refuse_peer(failed, peer_id);
    Py_RETURN_NONE;
}

/* Making and ending it. */

static PyObject *plane_make(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"workers",          "network",       "prefix",      "gateway",         "mtu",
                            "udp_offload",      "tun_offload",   "worn_packets", "worn_octets",    "backlog",
                            "control_backlog",  "close_timeout_ms", "udp",      "tun",             "wake", NULL};
    struct plane_settings settings = {0};
    struct descriptors udp, tun;
    int udp_offload, tun_offload, wake;
    if (!PyArg_ParseTupleAndKeywords(
            arguments, keywords, "$O&O&O&O&O&ppO&O&O&O&O&O&O&O&:Plane", names, to_count, &settings.workers, to_u32,
            &settings.network, to_count, &settings.prefix, to_u32, &settings.gateway, to_size, &settings.mtu, &udp_offload,
            &tun_offload, to_u64, &settings.wear.packets, to_u64, &settings.wear.octets, to_size, &settings.streams.backlog,
            to_size, &settings.streams.control_backlog, to_count, &settings.streams.close_timeout_ms, to_descriptors, &udp,
            to_descriptors, &tun, to_fd, &wake))
        return NULL;
    if (settings.prefix < LEAST_PREFIX || settings.prefix > MOST_PREFIX)
        return PyErr_Format(PyExc_ValueError, "the prefix of a client range is %d to %d", LEAST_PREFIX, MOST_PREFIX);
    settings.udp_offload = udp_offload;
    settings.tun_offload = tun_offload;
    bool is_alone = udp.count == 1 && settings.workers == 1;
    if (udp.count && udp.count != settings.workers + CONTROL_SOCKETS && !is_alone)
        return PyErr_Format(PyExc_ValueError, "%u workers and control take a UDP socket each, or there is none: not %u",
                            settings.workers, udp.count);
    if (settings.workers < 1 || settings.workers > MOST_WORKERS || tun.count < 1 || tun.count > settings.workers)
        return PyErr_Format(PyExc_ValueError, "a plane has 1 to %d workers, and a queue of the device for each, or fewer",
                            MOST_WORKERS);
    struct plane *plane;
    struct plane_descriptors descriptors = {udp.fd, tun.fd, udp.count, tun.count, wake};
    int failed = plane_new(&settings, &descriptors, &plane);
    if (failed)
        return refuse(failed, "the native data plane cannot be set up");
    struct plane_object *object = PyObject_New(struct plane_object, type);
    if (!object)
        plane_free(plane);
    else
        object->plane = plane;
    return (PyObject *)object;
}

static void plane_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    plane_free(PLANE(self));
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *plane_do_start(PyObject *self, PyObject *unused)
{
    (void)unused;
    int failed = plane_start(PLANE(self));
    if (failed)
        return refuse(failed, "the worker threads of the native data plane cannot be started");
    Py_RETURN_NONE;
}

static PyObject *plane_do_stop(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_BEGIN_ALLOW_THREADS
    plane_stop(PLANE(self));
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* Peers and keys. */

static PyObject *plane_do_add_peer(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"peer_id",         "inside", "path", "access", "ping_interval_ms", "idle_timeout_ms",
                            "data_v2",         "mss",    "tag",  "moved",  NULL};
    struct module_state *state = PyType_GetModuleState(Py_TYPE(self));
    struct peer_settings peer = {0};
    struct traffic_totals moved = {0};
    PyObject *table;
    int data_v2;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O&O&O&O!O&O&pO&|O&O&:add_peer", names, to_u32, &peer.id, to_u32,
                                     &peer.inside, to_path, &peer.path, state->table_type, &table, to_u32,
                                     &peer.ping_interval_ms, to_u32, &peer.idle_timeout_ms, &data_v2, to_u16, &peer.mss,
                                     to_u8, &peer.tag, to_totals, &moved))
        return NULL;
    peer.access = ((struct table_object *)table)->table;
    peer.data_v2 = data_v2;
    return none_or_refuse_peer(plane_add_peer(PLANE(self), &peer, &moved), peer.id);
}

static PyObject *plane_do_remove_peer(PyObject *self, PyObject *arguments)
{
    uint32_t id;
    struct traffic_totals moved;
    if (!PyArg_ParseTuple(arguments, "O&:remove_peer", to_u32, &id))
        return NULL;
    int failed = plane_remove_peer(PLANE(self), id, &moved);
    return failed ? refuse_peer(failed, id) : from_totals(&moved);
}

static PyObject *install_key(struct plane *plane, PyObject *arguments, PyObject *keywords, struct key_settings *key)
{
    static char *names[] = {"peer_id", "key_id", "cipher", "auth", "send", "receive", "progress", NULL};
    uint32_t id;
    uint8_t cipher, auth;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O&O&O&O&O&O&|O&:install_key", names, to_u32, &id, to_u8,
                                     &key->key_id, to_u8, &cipher, to_u8, &auth, to_key_half, &key->send, to_key_half,
                                     &key->receive, to_progress, &key->progress))
        return NULL;
    if (cipher > AES_128_CBC || auth > DIGEST_SHA512)
        return PyErr_Format(PyExc_ValueError, "there is no cipher %d, or no digest %d", (int)cipher, (int)auth);
    key->cipher = (enum cipher)cipher;
    key->auth = (enum digest)auth;
    return none_or_refuse_peer(plane_install_key(plane, id, key), id);
}

static PyObject *plane_do_install_key(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    struct key_settings key = {0};
    PyObject *result = install_key(PLANE(self), arguments, keywords, &key);
    OPENSSL_cleanse(&key, sizeof key);
    return result;
}

static PyObject *plane_do_activate_key(PyObject *self, PyObject *arguments)
{
    uint32_t id;
    uint8_t key_id;
    if (!PyArg_ParseTuple(arguments, "O&O&:activate_key", to_u32, &id, to_u8, &key_id))
        return NULL;
    return none_or_refuse_peer(plane_activate_key(PLANE(self), id, key_id), id);
}

static PyObject *plane_do_drop_key(PyObject *self, PyObject *arguments)
{
    uint32_t id;
    uint8_t key_id;
    if (!PyArg_ParseTuple(arguments, "O&O&:drop_key", to_u32, &id, to_u8, &key_id))
        return NULL;
    return none_or_refuse_peer(plane_drop_key(PLANE(self), id, key_id), id);
}

static PyObject *plane_do_set_access(PyObject *self, PyObject *arguments)
{
    struct module_state *state = PyType_GetModuleState(Py_TYPE(self));
    uint32_t id;
    PyObject *table;
    if (!PyArg_ParseTuple(arguments, "O&O!:set_access", to_u32, &id, state->table_type, &table))
        return NULL;
    return none_or_refuse_peer(plane_set_access(PLANE(self), id, ((struct table_object *)table)->table), id);
}

static PyObject *plane_do_traffic(PyObject *self, PyObject *arguments)
{
    uint32_t id;
    struct traffic_totals moved;
    if (!PyArg_ParseTuple(arguments, "O&:traffic", to_u32, &id))
        return NULL;
    int failed = plane_traffic(PLANE(self), id, &moved);
    return failed ? refuse_peer(failed, id) : from_totals(&moved);
}

static PyObject *from_frozen(const struct frozen_peer *frozen)
{
    PyObject *keys = PyDict_New();
    for (unsigned i = 0; keys && i < KEY_IDS; i++) {
        if (!(frozen->key_ids & 1u << i))
            continue;
        PyObject *id = PyLong_FromUnsignedLong(i), *progress = from_progress(&frozen->progress[i]);
        if (!id || !progress || PyDict_SetItem(keys, id, progress) < 0)
            Py_CLEAR(keys);
        Py_XDECREF(id);
        Py_XDECREF(progress);
    }
    return keys ? Py_BuildValue("(NiNN)", from_path(&frozen->path), frozen->sending, from_totals(&frozen->moved), keys) : NULL;
}

static PyObject *plane_do_freeze_peer(PyObject *self, PyObject *arguments)
{
    uint32_t id;
    struct frozen_peer frozen;
    if (!PyArg_ParseTuple(arguments, "O&:freeze_peer", to_u32, &id))
        return NULL;
    int failed = plane_freeze_peer(PLANE(self), id, &frozen);
    return failed ? refuse_peer(failed, id) : from_frozen(&frozen);
}

/* Access tables. */

/* Makes `table` the object's own. */
static PyObject *wrap_table(PyObject *plane, struct access_table *table)
{
    struct module_state *state = PyType_GetModuleState(Py_TYPE(plane));
    struct table_object *object = PyObject_New(struct table_object, state->table_type);
    if (!object) {
        plane_release_access(PLANE(plane), table);
        return NULL;
    }
    object->owner = (struct plane_object *)Py_NewRef(plane);
    object->table = table;
    return (PyObject *)object;
}

/* `starts` are addresses in network order. */
static int new_table(const Py_buffer *starts, const Py_buffer *verdicts, uint32_t gateway, uint32_t broadcast,
                     struct access_table **table)
{
    size_t count = (size_t)verdicts->len;
    if (!count || (size_t)starts->len != 4 * count)
        return -EINVAL;
    uint32_t *host_order = PyMem_Malloc((size_t)starts->len);
    if (!host_order)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        host_order[i] = load32(span_of(starts->buf, (size_t)starts->len), 4 * i);
    int failed = access_table_new(host_order, verdicts->buf, count, gateway, broadcast, table);
    PyMem_Free(host_order);
    return failed;
}

static PyObject *plane_access_table(PyObject *self, PyObject *arguments)
{
    Py_buffer starts, verdicts;
    uint32_t gateway, broadcast;
    if (!PyArg_ParseTuple(arguments, "y*y*O&O&:access_table", &starts, &verdicts, to_u32, &gateway, to_u32, &broadcast))
        return NULL;
    struct access_table *table;
    int failed = new_table(&starts, &verdicts, gateway, broadcast, &table);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&verdicts);
    if (failed == -EINVAL)
        return PyErr_Format(PyExc_ValueError, "an access table has ascending starts from 0.0.0.0 on, and a verdict for each");
    return failed ? refuse(failed, "the access table cannot be made") : wrap_table(self, table);
}

/* Packets, streams, events. */

static PyObject *plane_do_send_control(PyObject *self, PyObject *arguments)
{
    struct path path;
    Py_buffer packet;
    if (!PyArg_ParseTuple(arguments, "O&y*:send_control", to_path, &path, &packet))
        return NULL;
    plane_send_control(PLANE(self), &path, span_of(packet.buf, (size_t)packet.len));
    PyBuffer_Release(&packet);
    Py_RETURN_NONE;
}

static PyObject *plane_do_add_stream(PyObject *self, PyObject *arguments)
{
    int fd;
    struct path path;
    if (!PyArg_ParseTuple(arguments, "O&O&:add_stream", to_fd, &fd, to_path, &path))
        return NULL;
    int failed = plane_add_stream(PLANE(self), fd, &path);
    if (failed)
        return refuse(failed, "the TCP connection cannot be served");
    Py_RETURN_NONE;
}

static PyObject *with_stream(PyObject *self, PyObject *arguments, void (*act)(struct plane *, uint64_t))
{
    uint64_t stream;
    if (!PyArg_ParseTuple(arguments, "O&", to_u64, &stream))
        return NULL;
    act(PLANE(self), stream);
    Py_RETURN_NONE;
}

static PyObject *plane_do_close_stream(PyObject *self, PyObject *arguments)
{
    return with_stream(self, arguments, plane_close_stream);
}

static PyObject *plane_do_abort_stream(PyObject *self, PyObject *arguments)
{
    return with_stream(self, arguments, plane_abort_stream);
}

static PyObject *plane_do_forget_stream(PyObject *self, PyObject *arguments)
{
    return with_stream(self, arguments, plane_forget_stream);
}

static PyObject *plane_do_take_events(PyObject *self, PyObject *arguments)
{
    unsigned most;
    if (!PyArg_ParseTuple(arguments, "O&:take_events", to_count, &most))
        return NULL;
    PyObject *list = PyList_New(0);
    struct event event;
    for (unsigned i = 0; list && i < most && plane_next_event(PLANE(self), &event); i++) {
        PyObject *item = from_event(&event);
        if (!item || PyList_Append(list, item) < 0)
            Py_CLEAR(list);
        Py_XDECREF(item);
    }
    return list;
}

/* What it says about itself. */

static PyObject *plane_do_drops(PyObject *self, PyObject *unused)
{
    (void)unused;
    uint64_t drops[DROP_CAUSES];
    plane_drops(PLANE(self), drops);
    return from_numbers(drops, DROP_CAUSES);
}

static PyObject *plane_do_facts(PyObject *self, PyObject *unused)
{
    (void)unused;
    struct plane_facts facts;
    plane_facts(PLANE(self), &facts);
    return Py_BuildValue("{sIsIsNsNsNsssKsKsNsN}", "workers", facts.workers, "tun_queues", facts.tun_queues, "udp_gso",
                         PyBool_FromLong(facts.udp_gso), "tun_tso", PyBool_FromLong(facts.tun_tso), "tun_uso",
                         PyBool_FromLong(facts.tun_uso), "aead", facts.aead, "gso_refusals",
                         (unsigned long long)facts.gso_refusals, "lost_control_packets",
                         (unsigned long long)facts.lost_control_packets, "batches",
                         from_numbers(facts.batches, facts.workers), "cpu_ns", from_numbers(facts.cpu_ns, facts.workers));
}

static PyMethodDef plane_methods[] = {
    METHOD("start", plane_do_start, METH_NOARGS),
    METHOD("stop", plane_do_stop, METH_NOARGS),
    METHOD("access_table", plane_access_table, METH_VARARGS),
    METHOD("add_peer", plane_do_add_peer, METH_VARARGS | METH_KEYWORDS),
    METHOD("remove_peer", plane_do_remove_peer, METH_VARARGS),
    METHOD("install_key", plane_do_install_key, METH_VARARGS | METH_KEYWORDS),
    METHOD("activate_key", plane_do_activate_key, METH_VARARGS),
    METHOD("drop_key", plane_do_drop_key, METH_VARARGS),
    METHOD("set_access", plane_do_set_access, METH_VARARGS),
    METHOD("traffic", plane_do_traffic, METH_VARARGS),
    METHOD("freeze_peer", plane_do_freeze_peer, METH_VARARGS),
    METHOD("send_control", plane_do_send_control, METH_VARARGS),
    METHOD("add_stream", plane_do_add_stream, METH_VARARGS),
    METHOD("close_stream", plane_do_close_stream, METH_VARARGS),
    METHOD("abort_stream", plane_do_abort_stream, METH_VARARGS),
    METHOD("forget_stream", plane_do_forget_stream, METH_VARARGS),
    METHOD("take_events", plane_do_take_events, METH_VARARGS),
    METHOD("drops", plane_do_drops, METH_NOARGS),
    METHOD("facts", plane_do_facts, METH_NOARGS),
    {0},
};
static PyType_Slot plane_slots[] = {
    {Py_tp_new, plane_make}, {Py_tp_dealloc, plane_dealloc}, {Py_tp_methods, plane_methods}, {0}};

PyType_Spec plane_spec = {
    "tunnel.nativeplane._core.Plane", sizeof(struct plane_object), 0, Py_TPFLAGS_DEFAULT, plane_slots};
