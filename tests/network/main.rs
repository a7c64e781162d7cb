//! The listener: TLS, limits, floods and drain.
