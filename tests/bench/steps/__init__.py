"""What each step of a packet's way costs in the native plane."""
