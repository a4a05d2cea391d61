/* The extension `tunnel.nativeplane._core`: its types and its constants. tunnel/nativeplane/_core.pyi says what there is.
 *
 * The files here put the core into Python's terms, by Python's limited API alone: what is compiled for 3.11 goes on to work.
 */
#include "objects.h"

/* `AccessTable`, which `Plane.access_table` makes. */

static void table_dealloc(PyObject *self)
{
    struct table_object *object = (struct table_object *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (object->table)
        plane_release_access(object->owner->plane, object->table);
    Py_XDECREF((PyObject *)object->owner);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyObject *table_verdict(PyObject *self, PyObject *arguments)
{
    uint32_t destination;
    if (!PyArg_ParseTuple(arguments, "O&:verdict", to_u32, &destination))
        return NULL;
    return PyLong_FromLong((long)access_verdict(((struct table_object *)self)->table, destination));
}

static PyMethodDef table_methods[] = {METHOD("verdict", table_verdict, METH_VARARGS), {0}};
static PyType_Slot table_slots[] = {{Py_tp_dealloc, table_dealloc}, {Py_tp_methods, table_methods}, {0}};
static PyType_Spec table_spec = {"tunnel.nativeplane._core.AccessTable", sizeof(struct table_object), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, table_slots};

/* The module. */

static int add_types(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);
    state->plane_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &plane_spec, NULL);
    state->table_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &table_spec, NULL);
    if (!state->plane_type || !state->table_type || PyModule_AddType(module, state->plane_type) < 0)
        return -1;
    return PyModule_AddType(module, state->table_type);
}

/* What the numbers mean that go between Python and the core, in OpenVPN's words and those of tunnel/plane.py. */
static const char *const CIPHERS[] = {
    [AES_256_GCM] = "AES-256-GCM",
    [AES_128_GCM] = "AES-128-GCM",
    [CHACHA20_POLY1305] = "CHACHA20-POLY1305",
    [AES_256_CBC] = "AES-256-CBC",
    [AES_128_CBC] = "AES-128-CBC",
};
static const char *const DIGESTS[] = {
    [DIGEST_SHA1] = "SHA1",
    [DIGEST_SHA256] = "SHA256",
    [DIGEST_SHA512] = "SHA512",
};
static const char *const EVENTS[] = {
    [EVENT_CONTROL] = "control",
    [EVENT_FLOATED] = "floated",
    [EVENT_IDLE] = "idle",
    [EVENT_EXITED] = "exited",
    [EVENT_WORN] = "worn",
    [EVENT_STREAM_ENDED] = "stream-ended",
    [EVENT_FAILED] = "failed",
};
static const char *const DROPS[DROP_CAUSES] = {
    [DROP_NOT_OPENVPN] = "not-openvpn",
    [DROP_UNKNOWN_PEER] = "unknown-peer",
    [DROP_UNKNOWN_KEY] = "unknown-key",
    [DROP_AUTHENTICATION] = "authentication",
    [DROP_REPLAY] = "replay",
    [DROP_FLOAT_REFUSED] = "float-refused",
    [DROP_NOT_IPV4] = "not-ipv4",
    [DROP_BAD_HEADER] = "bad-header",
    [DROP_SPOOFED_SOURCE] = "spoofed-source",
    [DROP_MULTICAST] = "multicast",
    [DROP_OVERSIZE] = "oversize",
    [DROP_NO_ROUTE] = "no-route",
    [DROP_NO_RULE] = "no-rule",
    [DROP_NO_PEER] = "no-peer",
    [DROP_NO_KEY] = "no-key",
    [DROP_TUN_REFUSED] = "tun-refused",
    [DROP_SEND_FAILED] = "send-failed",
    [DROP_BACKLOG] = "backlog",
};

static int add_names(PyObject *module, const char *constant, const char *const *names, size_t count)
{
    PyObject *tuple = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; tuple && i < count; i++) {
        PyObject *name = PyUnicode_FromString(names[i]);
        /* It takes the reference, also when it fails. */
        if (!name || PyTuple_SetItem(tuple, (Py_ssize_t)i, name) < 0)
            Py_CLEAR(tuple);
    }
    int failed = tuple ? PyModule_AddObjectRef(module, constant, tuple) : -1;
    Py_XDECREF(tuple);
    return failed;
}

#define ADD_NAMES(module, names) add_names(module, #names, names, sizeof names / sizeof *names)

static int add_constants(PyObject *module)
{
    if (ADD_NAMES(module, CIPHERS) < 0 || ADD_NAMES(module, DIGESTS) < 0 || ADD_NAMES(module, EVENTS) < 0 ||
        ADD_NAMES(module, DROPS) < 0 || PyModule_AddIntConstant(module, "MOST_WORKERS", MOST_WORKERS) < 0 ||
        PyModule_AddIntConstant(module, "CONTROL_SOCKETS", CONTROL_SOCKETS) < 0)
        return -1;
    return PyModule_AddIntConstant(module, "REPLAY_WINDOW", REPLAY_WINDOW);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, add_types}, {Py_mod_exec, add_constants}, {0}};

static int traverse_module(PyObject *module, visitproc visit, void *arg)
{
    struct module_state *state = PyModule_GetState(module);
    Py_VISIT(state->plane_type);
    Py_VISIT(state->table_type);
    return 0;
}

static int clear_module(PyObject *module)
{
    struct module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->plane_type);
    Py_CLEAR(state->table_type);
    return 0;
}

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "tunnel.nativeplane._core",
    .m_size = sizeof(struct module_state),
    .m_slots = module_slots,
    .m_traverse = traverse_module,
    .m_clear = clear_module,
};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
