"""The sandbox of a trainer, enforced by the Linux kernel. On other systems a run is marked `unprotected`."""
