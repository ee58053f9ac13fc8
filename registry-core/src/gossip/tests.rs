//! Gossip by packet script, by property, and in a small network.

mod attacks;
mod bench;
mod network;
mod properties;
mod scripts;
