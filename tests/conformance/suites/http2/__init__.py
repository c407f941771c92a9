"""HTTP/2 with a frame writer of its own, which can write what a library would refuse to."""
