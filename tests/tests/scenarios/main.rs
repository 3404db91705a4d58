//! The real engine, in this process, among good and bad neighbours. One behaviour a file, named for it; each ends in a
//! clear answer and nothing lost ([`world::World::finish`] does the sum).

mod account;
mod certificates;
mod injector;
mod relay;
mod world;

mod delivery;
mod ingest;
mod operation;
