/* The Python objects of the extension, as its files share them. */
#ifndef PORTWAY_OBJECTS_H
#define PORTWAY_OBJECTS_H

#include "convert.h"

struct module_state {
    PyTypeObject *plane_type, *table_type;
};

/* plane_object.c. Control is one thread, and holds the interpreter's lock in every call, but for the wait in `stop`. */
struct plane_object {
    PyObject_HEAD
    struct plane *plane;
};
extern PyType_Spec plane_spec;

/* module.c. Holds one reference to a table, and the plane whose workers may be reading it. */
struct table_object {
    PyObject_HEAD
    struct plane_object *owner;
    struct access_table *table;
};

#define METHOD(name, function, flags) {name, (PyCFunction)(void (*)(void))(function), flags, NULL}

#endif
