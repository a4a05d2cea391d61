"""The OpenVPN protocol and its data plane, and nothing else: no users, no policy, no configuration files."""
