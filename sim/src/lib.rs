//! The seeded world: the real core and storage over a disk, clocks and clients that are drawn from a seed, and a slow
//! obvious model that says what every client must see. One seed is one run, byte for byte.

mod agenda;
pub mod answer;
pub mod cluster;
pub mod disk;
pub mod gateway;
pub mod group;
pub mod hunt;
pub mod locks;
pub mod oracle;
pub mod script;
pub mod tally;
pub mod workload;
pub mod world;
