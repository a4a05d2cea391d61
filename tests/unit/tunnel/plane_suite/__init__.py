"""What every data plane must do: the suite runs against each factory named in `conftest.PLANES`."""
