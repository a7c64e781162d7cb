//! Evidence that is no token, and asks that are sent twice.
