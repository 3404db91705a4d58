//! Starting, stopping, breaking.

mod damaged_journal;
mod graceful_shutdown;
mod long_walks;
mod restart;
mod two_engines;
mod unwritable_data_dir;
