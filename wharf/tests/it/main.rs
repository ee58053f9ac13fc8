//! wharf as a user meets it: processes, sockets, files.

mod amend;
mod by_hand;
mod cli;
mod garbage;
mod import;
mod kill;
mod node;
mod proxy;
mod sources;
mod sync;
