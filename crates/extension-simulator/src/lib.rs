//! extension-simulator
