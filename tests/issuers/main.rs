//! Issuers as they are and as they should not be: presets, keys, outages, the evil IdP.
