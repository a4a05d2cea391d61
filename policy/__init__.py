"""Who may reach what. Pure: values in, values out; no files, sockets, clocks or devices."""
