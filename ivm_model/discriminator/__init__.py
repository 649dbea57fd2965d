"""Stage I: who drew this mask? The network, what it looks at, how it is trained, audited and asked."""
