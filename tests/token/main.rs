//! The OAuth token endpoint by its front door (RFC 8693), and what it mints for others to verify.
