"""The disposable lab: real servers on loopback, each lab in a directory and an address block of its own."""
