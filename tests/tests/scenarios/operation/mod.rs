//! Starting, stopping, breaking.
