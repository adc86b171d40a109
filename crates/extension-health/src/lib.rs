//! extension-health
