"""What a trainer may do, enforced by the kernel. Linux only; elsewhere a run is marked `unprotected`."""
