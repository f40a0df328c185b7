"""Images of frozen workloads: packed, described by a manifest, kept in an object store, unpacked again."""
