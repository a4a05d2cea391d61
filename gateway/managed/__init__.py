"""Between the store and the fleet: what the store asks for is carried out, and what happens is written back."""
