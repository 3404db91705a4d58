//! What the targets share: settings, mail and answers as the fuzzer chooses them, and the order in which the machines may tell
//! events. Everything is small, so that a short input is a whole conversation.

pub mod mail;
pub mod order;
pub mod settings;
