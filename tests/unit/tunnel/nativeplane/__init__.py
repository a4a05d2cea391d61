"""Tests of the native core, file by file, through ctypes: no interpreter stands between a test and the function that it calls."""
