//! receiver-session-buddy
