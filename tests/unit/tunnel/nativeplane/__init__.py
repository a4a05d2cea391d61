"""Tests of the native core, file by file, through ctypes: nothing stands between a test and what it calls."""
